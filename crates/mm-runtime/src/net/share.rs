//! How much one poll of a task may do before others get their turn.
//!
//! A call that need not wait does not let others run, and a task whose sockets all have something may go from one to
//! the next for ever. So a poll has a budget of such calls, of all its sockets together. It belongs to the thread,
//! which polls one task at a time: so the sockets need no word for it.

use std::cell::Cell;

use crate::limits::CALLS_PER_POLL;

thread_local! {
    /// Calls of the driver that need not wait, since a task was last polled on this thread.
    static SPENT: Cell<u32> = const { Cell::new(0) };
}

/// A poll begins.
#[inline]
pub(crate) fn begin() {
    SPENT.set(0);
}

/// Notes a call that need not wait.
#[inline]
pub(super) fn spend() {
    SPENT.set(SPENT.get() + 1);
}

/// Whether there were so many that the task is to let others go on before the next.
#[inline]
pub(super) fn is_spent() -> bool {
    SPENT.get() >= CALLS_PER_POLL
}
