//! A change is made whole, or the process ends.
//!
//! A server contains panics: one costs a connection, and the shard goes on. But one in the middle of a change would
//! leave the store half changed, with a bucket locked for ever, an item in two places or memory on no list, and a store
//! like that must not answer. So whatever changes the store in more than one step says that it does, for its thread,
//! and a panic that comes then ends the process before anything is unwound, and any lock released.
//!
//! A guard that ends the process when it is dropped would do so too, but what has a guard to drop is compiled worse: it
//! cost forty instructions of a write. This costs three. (Decision 0026.)

use std::cell::Cell;
use std::io::Write;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

use mm_base::gap;

thread_local! {
    /// This thread is changing a store.
    static IS_CHANGING: Cell<bool> = const { Cell::new(false) };
}

/// Makes a change. A panic in it ends the process.
#[inline(always)]
pub(crate) fn whole<R>(change: impl FnOnce() -> R) -> R {
    let was_changing = IS_CHANGING.replace(true);
    let result = change();
    IS_CHANGING.set(was_changing);
    result
}

/// Between two steps of a change, under no lock: what a test has others do here is a change of its own.
#[inline(always)]
pub(crate) fn between_steps() {
    if gap::ARE_THERE {
        let was_changing = IS_CHANGING.replace(false);
        gap::pass();
        IS_CHANGING.set(was_changing);
    }
}

/// Whether this thread is making a change.
#[inline]
pub(crate) fn is_changing() -> bool {
    // A panic may come when the thread's own data are gone already.
    IS_CHANGING.try_with(Cell::get).unwrap_or(false)
}

/// Ends the process where a change was left in its middle: somebody has put another hook in the place of ours, and
/// contained what panicked. To be called where no change can be under way.
#[inline]
pub(crate) fn assert_whole() {
    if is_changing() {
        end_process();
    }
}

/// Sees to it that panics in changes end the process. What else is to be done on a panic is done before.
pub(crate) fn watch_panics() {
    static WATCHED: Once = Once::new();
    // While a panic unwinds nobody may say what is to be done on one; the next store sees to it.
    if std::thread::panicking() {
        return;
    }
    WATCHED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            before(panic);
            if is_changing() {
                end_process();
            }
        }));
    });
}

/// Ends the process, because the store is half changed. What went wrong has been told.
#[cold]
fn end_process() -> ! {
    // Where nobody listens there is nothing else to be done.
    let _told = writeln!(
        std::io::stderr(),
        "mm-store: a panic while the store was being changed: it is half changed and must not answer, so the process \
         ends"
    );
    std::process::abort()
}
