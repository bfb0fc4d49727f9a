//! How much one poll of a task may do before others get their turn.
//!
//! A call that need not wait does not let others run, and a task whose sockets all have something may go from one to
//! the next for ever. So a poll has a budget of such calls, of all its sockets together. It belongs to the thread,
//! which polls one task at a time: so the sockets need no word for it.

use crate::limits::CALLS_PER_POLL;
use crate::task::raw::{set_spent, spent};

/// A poll begins.
#[inline]
pub(crate) fn begin() {
    set_spent(0);
}

/// Notes a call that need not wait.
#[inline]
pub(super) fn spend() {
    set_spent(spent() + 1);
}

/// Whether there were so many that the task is to let others go on before the next.
#[inline]
pub(super) fn is_spent() -> bool {
    spent() >= CALLS_PER_POLL
}
