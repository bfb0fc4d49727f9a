//! How much one poll of a task may do before others get their turn.
//!
//! A call that need not wait does not let others run, and a task whose sockets all have something may go from one to
//! the next for ever, and so may one whose channels do. So a poll has a budget of such calls, of all its sockets and of
//! what tasks wait for each other by together. It belongs to the thread, which polls one task at a time: so the sockets
//! need no word for it.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use crate::limits::CALLS_PER_POLL;
use crate::task::raw::{is_held, set_spent, spent, with_task};

/// A poll begins.
#[inline]
pub(crate) fn begin() {
    set_spent(0);
}

/// Notes a call that need not wait.
#[inline]
pub(crate) fn spend() {
    set_spent(spent() + 1);
}

/// Whether there were so many that the task is to let others go on before the next.
#[inline]
pub(super) fn is_spent() -> bool {
    spent() >= CALLS_PER_POLL
}

/// Pending where the task is to let others go on first; it is polled again after them. Never outside tasks, where
/// nobody begins a new budget.
#[inline]
pub(crate) fn poll_turn(context: &Context<'_>) -> Poll<()> {
    if is_spent() { give_way(context) } else { Poll::Ready(()) }
}

/// Whether the future that has just been polled lets others go on though it may be ready: then the task is polled
/// again. Before a write it does so in every second poll at most; for what it has done it is believed once.
pub(crate) fn gives_way(context: &Context<'_>, gave_way: &mut bool) -> bool {
    if is_held(context.waker()) {
        return true;
    }
    if *gave_way || poll_turn(context).is_ready() {
        return false;
    }
    *gave_way = true;
    true
}

#[cold]
fn give_way(context: &Context<'_>) -> Poll<()> {
    if with_task(|task| task.is_none()) {
        return Poll::Ready(());
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Waits until the task need not let others go on first.
pub(crate) fn turn() -> impl Future<Output = ()> {
    poll_fn(|context| poll_turn(context))
}
