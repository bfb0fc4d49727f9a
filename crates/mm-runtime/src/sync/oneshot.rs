//! One value, from one task to another of the shard.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::task::{Interrupted, take_interrupt};

/// Why nothing was received. An interrupt is one reason, so it ends a loop such as
/// `while let Ok(message) = receiver.receive().await`, though senders are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The other side is gone.
    Gone,
    /// The waiting task was interrupted; it can wait again.
    Interrupted,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the other side of the channel is gone",
            Self::Interrupted => "interrupted",
        })
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> Self {
        let kind = match closed {
            Closed::Gone => io::ErrorKind::Other,
            Closed::Interrupted => io::ErrorKind::Interrupted,
        };
        Self::new(kind, closed)
    }
}

impl From<Interrupted> for Closed {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

#[derive(Debug)]
struct Shared<T> {
    value: RefCell<Option<T>>,
    waiting: RefCell<Option<Waker>>,
}

/// The side that sends.
#[derive(Debug)]
pub struct OneshotSender<T> {
    shared: Rc<Shared<T>>,
}

/// The side that receives, by being awaited.
#[derive(Debug)]
pub struct OneshotReceiver<T> {
    shared: Rc<Shared<T>>,
}

/// Makes a channel for one value.
#[must_use]
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Rc::new(Shared { value: RefCell::new(None), waiting: RefCell::new(None) });
    (OneshotSender { shared: Rc::clone(&shared) }, OneshotReceiver { shared })
}

impl<T> OneshotSender<T> {
    /// Sends the value.
    ///
    /// # Errors
    /// The value comes back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if Rc::strong_count(&self.shared) == 1 {
            return Err(value);
        }
        *self.shared.value.borrow_mut() = Some(value);
        Ok(())
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let waiting = self.shared.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.shared.value.borrow_mut().take() {
            return Poll::Ready(Ok(value));
        }
        if Rc::strong_count(&self.shared) == 1 {
            return Poll::Ready(Err(Closed::Gone));
        }
        if take_interrupt() {
            return Poll::Ready(Err(Closed::Interrupted));
        }
        let old = self.shared.waiting.replace(Some(context.waker().clone()));
        drop(old);
        Poll::Pending
    }
}
