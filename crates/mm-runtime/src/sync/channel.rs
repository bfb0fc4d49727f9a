//! A bounded queue between the tasks of a shard.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;

use super::Closed;
use super::wait::WaitQueue;
use crate::net::share;
use crate::task::Interrupted;

#[derive(Debug)]
struct Shared<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receiving: Cell<bool>,
    /// Places that senders have been woken for and have not yet taken: nobody else may.
    promised: Cell<usize>,
    for_space: WaitQueue,
    for_message: WaitQueue,
}

/// The side that sends; clone it for more.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

/// The side that receives.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

/// Makes a channel that holds at most `capacity` messages, at least one.
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        queue: RefCell::new(VecDeque::new()),
        capacity: capacity.max(1),
        senders: Cell::new(1),
        receiving: Cell::new(true),
        promised: Cell::new(0),
        for_space: WaitQueue::default(),
        for_message: WaitQueue::default(),
    });
    (Sender { shared: Rc::clone(&shared) }, Receiver { shared })
}

/// Why [`Sender::try_send`] did not take a message; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// Why [`Sender::send`] did not take a message; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// The task was interrupted while the channel was full.
    Interrupted(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted(_) => "interrupted",
            Self::Closed(_) => "the channel's receiver is gone",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for io::Error {
    /// Without the message, which may be bound to this thread.
    fn from(error: SendError<T>) -> Self {
        let kind = match error {
            SendError::Interrupted(_) => io::ErrorKind::Interrupted,
            SendError::Closed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full",
            Self::Closed(_) => "the channel's receiver is gone",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for TrySendError<T> {}

impl<T> From<TrySendError<T>> for io::Error {
    /// Without the message, which may be bound to this thread.
    fn from(error: TrySendError<T>) -> Self {
        let kind = match error {
            TrySendError::Full(_) => io::ErrorKind::WouldBlock,
            TrySendError::Closed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.senders.set(self.shared.senders.get() - 1);
        if self.shared.senders.get() == 0 {
            self.shared.for_message.wake_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiving.set(false);
        let unread = self.shared.queue.take();
        while !self.shared.for_space.is_empty() {
            self.shared.promise();
        }
        drop(unread);
    }
}

impl<T> Sender<T> {
    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.shared.receiving.get()
    }

    /// Puts a message in if there is room and nobody waits for it.
    ///
    /// # Errors
    /// The message comes back when the channel is full or closed.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let shared = &*self.shared;
        if !shared.receiving.get() {
            return Err(TrySendError::Closed(message));
        }
        let taken = shared.queue.borrow().len() + shared.promised.get();
        if taken >= shared.capacity || !shared.for_space.is_empty() {
            return Err(TrySendError::Full(message));
        }
        shared.put(message);
        Ok(())
    }

    /// Puts a message in, waiting for room.
    ///
    /// # Errors
    /// The message comes back when the task is interrupted or the receiver is gone.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        share::turn().await;
        let message = match self.try_send(message) {
            Ok(()) => {
                share::spend();
                return Ok(());
            }
            Err(TrySendError::Closed(message)) => return Err(SendError::Closed(message)),
            Err(TrySendError::Full(message)) => message,
        };
        let shared = &*self.shared;
        let waited = shared.for_space.wait(|| {
            shared.promised.set(shared.promised.get() - 1);
            shared.promise();
        });
        if let Err(Interrupted) = waited.await {
            return Err(SendError::Interrupted(message));
        }
        shared.promised.set(shared.promised.get() - 1);
        if !shared.receiving.get() {
            return Err(SendError::Closed(message));
        }
        shared.put(message);
        Ok(())
    }
}

impl<T> Shared<T> {
    fn put(&self, message: T) {
        self.queue.borrow_mut().push_back(message);
        self.for_message.wake_one();
    }

    /// A place is free: whoever waits longest has it.
    fn promise(&self) {
        // Counted first, since a wake may run what looks at it.
        self.promised.set(self.promised.get() + 1);
        if !self.for_space.wake_one() {
            self.promised.set(self.promised.get() - 1);
        }
    }
}

impl<T> Receiver<T> {
    /// Takes a message if there is one.
    pub fn try_receive(&mut self) -> Option<T> {
        let message = self.shared.queue.borrow_mut().pop_front()?;
        self.shared.promise();
        Some(message)
    }

    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    /// All senders are gone and nothing is left, or the task was interrupted.
    pub async fn receive(&mut self) -> Result<T, Closed> {
        loop {
            share::turn().await;
            if let Some(message) = self.try_receive() {
                share::spend();
                return Ok(message);
            }
            if self.shared.senders.get() == 0 {
                return Err(Closed::Gone);
            }
            self.shared.for_message.wait(|| {}).await?;
        }
    }
}
