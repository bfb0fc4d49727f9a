//! A condition variable that needs no mutex.

use super::wait::WaitQueue;
use crate::task::Interrupted;

/// A condition variable. Nothing runs between a test and the wait that follows it, so no mutex is needed:
///
/// ```no_run
/// # use std::cell::Cell;
/// # async fn example(ready: Cell<bool>, changed: mm_runtime::sync::Condition)
/// # -> Result<(), mm_runtime::task::Interrupted> {
/// while !ready.get() {
///     changed.wait().await?;
/// }
/// # Ok(()) }
/// ```
///
/// A wait can end without a signal meant for it: when a waiter that had been woken was dropped before it ran,
/// its signal goes to another. Test in a loop.
#[derive(Debug, Default)]
pub struct Condition {
    queue: WaitQueue,
}

impl Condition {
    /// A condition nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a signal that comes after the call's first poll. With a [`timeout`](crate::timers::timeout)
    /// around it the wait can be given up.
    ///
    /// # Errors
    /// The task was interrupted.
    pub async fn wait(&self) -> Result<(), Interrupted> {
        self.queue.wait(|| self.signal()).await
    }

    /// Wakes the task that waits longest, if any waits.
    pub fn signal(&self) {
        self.queue.wake_one();
    }

    /// Wakes all tasks that wait.
    pub fn broadcast(&self) {
        self.queue.wake_all();
    }
}
