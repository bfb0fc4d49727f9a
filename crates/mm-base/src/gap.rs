//! Places between two steps, where a test lets others act.
//!
//! Between two steps of one shard another one may do anything. Threads seldom come to that, and never when asked: a
//! test has it done on its own thread, each time a gap is passed. There are none unless the feature `gaps` is on, which
//! only tests ask for.

use std::cell::RefCell;

/// Whether there are gaps.
pub const ARE_THERE: bool = cfg!(feature = "gaps");

/// What is done in a gap.
pub type Act = Box<dyn FnMut()>;

thread_local! {
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// Sets what is done on this thread in each gap from now on, or that nothing is. Gaps that are passed in doing it count
/// for nothing.
pub fn set(act: Option<Act>) {
    ACT.set(act);
}

/// A place where others may act, which is under no lock. Without the feature `gaps` of this crate it is nothing.
#[inline(always)]
pub fn pass() {
    if ARE_THERE {
        act();
    }
}

fn act() {
    let Some(mut act) = ACT.take() else { return };
    act();
    // It may have set something else.
    ACT.with_borrow_mut(|now| {
        now.get_or_insert(act);
    });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_was_set_is_done_in_gaps_and_not_in_those_within() {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        act();
        set(Some(Box::new(move || {
            act();
            counted.set(counted.get() + 1);
        })));
        act();
        act();
        assert_eq!(count.get(), 2);
        set(None);
        act();
        assert_eq!(count.get(), 2);
    }
}
