//! Mistakes made on purpose, by which a simulation shows that it would find such a one.
//!
//! [`canary!`](crate::canary!) is `false` unless the feature `canaries` is on, which nothing that ships asks for. Even
//! then a mistake is made only when it has been chosen on the thread.

use std::cell::Cell;

thread_local! {
    static CHOSEN: Cell<Option<&'static str>> = const { Cell::new(None) };
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Chooses the mistake that is made on this thread from now on, or none.
pub fn choose(name: Option<&'static str>) {
    CHOSEN.set(name);
    ASKED.set(0);
}

/// Whether the mistake of this name is to be made now: one time in `every` that its place is passed.
#[must_use]
pub fn sings(name: &str, every: u64) -> bool {
    if CHOSEN.get() != Some(name) {
        return false;
    }
    ASKED.set(ASKED.get() + 1);
    ASKED.get().is_multiple_of(every)
}

/// Whether a mistake is to be made on purpose, one time in so many. Without the feature `canaries` of this crate it is
/// `false`.
#[cfg(feature = "canaries")]
#[macro_export]
macro_rules! canary {
    ($name:literal, $every:literal) => {
        $crate::canary::sings($name, $every)
    };
}

/// Whether a mistake is to be made on purpose, one time in so many. Without the feature `canaries` of this crate it is
/// `false`.
#[cfg(not(feature = "canaries"))]
#[macro_export]
macro_rules! canary {
    ($name:literal, $every:literal) => {
        false
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chosen_mistake_is_made_and_only_now_and_then() {
        assert!(!sings("one", 1));
        choose(Some("one"));
        assert!(!sings("two", 1));
        assert_eq!([(); 6].map(|()| sings("one", 3)), [false, false, true, false, false, true]);
        choose(None);
        assert!(!sings("one", 1));
    }
}
