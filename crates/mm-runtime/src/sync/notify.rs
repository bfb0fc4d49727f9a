//! A signal that waits for its receiver.

use std::cell::Cell;

use super::wait::WaitQueue;
use crate::net::share;
use crate::task::Interrupted;

/// A signal that is kept until somebody takes it, unlike a [`Condition`](super::Condition)'s. It is kept once, however
/// often it was given.
#[derive(Debug, Default)]
pub struct Notify {
    queue: WaitQueue,
    kept: Cell<bool>,
}

impl Notify {
    /// A signal that has not been given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal: to the task that waits longest, or to the next that waits.
    pub fn notify(&self) {
        if !self.queue.wake_one() {
            self.kept.set(true);
        }
    }

    /// Waits for the signal and takes it.
    ///
    /// # Errors
    /// The task was interrupted.
    pub async fn notified(&self) -> Result<(), Interrupted> {
        share::turn().await;
        if self.kept.take() {
            share::spend();
            return Ok(());
        }
        self.queue.wait(|| self.notify()).await
    }
}
