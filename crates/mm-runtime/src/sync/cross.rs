//! From one thread to a task of another shard.

mod channel;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Closed;
use crate::task::take_interrupt;

pub use channel::{Receiver, Sender, channel};

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    waiting: Option<Waker>,
    /// One of the two sides is gone.
    closed: bool,
}

/// The lock is held for a few instructions, and two threads want it at once only in the moment of the handing over.
type Shared<T> = Arc<Mutex<Slot<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Slot<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side that sends, from any thread.
pub struct OneshotSender<T> {
    shared: Shared<T>,
}

/// The side that receives, by being awaited on any shard.
pub struct OneshotReceiver<T> {
    shared: Shared<T>,
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneshotSender")
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneshotReceiver")
    }
}

/// Makes a channel for one value that may cross threads.
#[must_use]
pub fn oneshot<T: Send>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Arc::new(Mutex::new(Slot { value: None, waiting: None, closed: false }));
    (OneshotSender { shared: Arc::clone(&shared) }, OneshotReceiver { shared })
}

impl<T: Send> OneshotSender<T> {
    /// Sends the value and wakes the receiver.
    ///
    /// # Errors
    /// The value comes back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut slot = lock(&self.shared);
        if slot.closed {
            return Err(value);
        }
        slot.value = Some(value);
        Ok(())
    }

    /// Whether the receiver is gone, so that the work for it may be saved.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).closed
    }
}

impl<T> OneshotReceiver<T> {
    /// Receives nothing more: what is sent from now on goes back to its sender. Gives what has been sent by now and was
    /// not received. So nothing is lost where the receiver gives up, while its mere drop loses what has just been sent.
    pub fn close(&mut self) -> Option<T> {
        let mut slot = lock(&self.shared);
        slot.closed = true;
        slot.value.take()
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.shared);
        slot.closed = true;
        let waiting = slot.waiting.take();
        drop(slot);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.shared);
        slot.closed = true;
        let unread = (slot.value.take(), slot.waiting.take());
        drop(slot);
        drop(unread);
    }
}

impl<T: Send> Future for OneshotReceiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.shared);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if slot.closed {
            return Poll::Ready(Err(Closed::Gone));
        }
        if take_interrupt() {
            return Poll::Ready(Err(Closed::Interrupted));
        }
        let old = slot.waiting.replace(context.waker().clone());
        drop(slot);
        drop(old);
        Poll::Pending
    }
}
