//! Several shards that give each other work.
//!
//! [`meet`] makes a [`Place`] for each shard. A task of the shard takes its place by [`Place::join`], and can then have
//! work done on any shard by [`Shards::submit_to`]. Work travels through one bounded mailbox per shard; a shard that
//! runs is not woken for it. A sender that finds the mailbox full lets its own shard go on and tries again, so two
//! shards that flood each other cannot block each other.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use mm_base::doorbell::Doorbell;
use mm_base::mailbox::{Receiver, SendError, Sender, mailbox};

use crate::limits::{MESSAGES_PER_TURN, SHARD_MAILBOX_MESSAGES};
use crate::sync::Closed;
use crate::sync::cross::oneshot;
use crate::task::{Name, Options, raw, spawn, spawn_with, yield_now};
use crate::timers::sleep;

mod sharded;

pub use sharded::Sharded;

type Message = Box<dyn FnOnce() + Send>;

/// Why work submitted to another shard gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// There is no shard of this number, or it has ended.
    Gone,
    /// The work panicked or was cancelled there.
    Failed,
    /// The waiting task was interrupted. The work may still be done.
    Interrupted,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the shard is gone",
            Self::Failed => "the work failed on its shard",
            Self::Interrupted => "interrupted while waiting for another shard",
        })
    }
}

impl std::error::Error for SubmitError {}

impl From<SubmitError> for io::Error {
    fn from(error: SubmitError) -> Self {
        let kind = match error {
            SubmitError::Gone | SubmitError::Failed => io::ErrorKind::Other,
            SubmitError::Interrupted => io::ErrorKind::Interrupted,
        };
        Self::new(kind, error)
    }
}

/// One shard's place among the others, to be taken on its thread.
pub struct Place {
    index: usize,
    receiver: Receiver<Message>,
    doorbell: Arc<Doorbell>,
    /// Whom the doorbell wakes: locked only when the shard falls asleep or is woken.
    sleeper: Arc<Mutex<Option<Waker>>>,
    senders: Arc<[Sender<Message>]>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Makes the places of `count` shards.
#[must_use]
pub fn meet(count: usize) -> Vec<Place> {
    let made: Vec<_> = (0..count)
        .map(|_| {
            let sleeper = Arc::new(Mutex::new(None::<Waker>));
            let woken = Arc::clone(&sleeper);
            let doorbell = Arc::new(Doorbell::new(move || {
                let waker = woken.lock().unwrap_or_else(PoisonError::into_inner).take();
                waker.into_iter().for_each(Waker::wake);
            }));
            let (sender, receiver) = mailbox(SHARD_MAILBOX_MESSAGES, Arc::clone(&doorbell));
            (sender, (receiver, doorbell, sleeper))
        })
        .collect();
    let (senders, rest): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let senders: Arc<[Sender<Message>]> = senders.into();
    let place = |(index, (receiver, doorbell, sleeper))| Place {
        index,
        receiver,
        doorbell,
        sleeper,
        senders: Arc::clone(&senders),
    };
    rest.into_iter().enumerate().map(place).collect()
}

impl Place {
    /// Takes the place for the present executor, which from now on does what is submitted to it.
    #[must_use]
    pub fn join(self) -> Shards {
        let shards = Shards { index: self.index, senders: Arc::clone(&self.senders) };
        raw::with_current(|local| {
            if let Some(local) = local {
                *local.shards.borrow_mut() = Some(shards.clone());
            }
        });
        let name = Options::new().name(Name::new("shard-mailbox"));
        spawn_with(name, self.serve()).detach();
        shards
    }

    async fn serve(mut self) {
        loop {
            for _ in 0..MESSAGES_PER_TURN {
                let Some(message) = self.receiver.receive() else { break };
                message();
            }
            if self.receiver.has_message() {
                yield_now().await;
                continue;
            }
            poll_fn(|context| {
                *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
                if self.doorbell.try_sleep(|| !self.receiver.has_message()) {
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        }
    }
}

/// All shards, as one of them sees them.
#[derive(Clone)]
pub struct Shards {
    index: usize,
    senders: Arc<[Sender<Message>]>,
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("index", &self.index).field("count", &self.count()).finish()
    }
}

/// The shards that the present one has met; None where it has met none.
#[must_use]
pub fn current() -> Option<Shards> {
    raw::with_current(|local| local.and_then(|local| local.shards.borrow().clone()))
}

impl Shards {
    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.senders.len()
    }

    /// The number of the present one, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Has `work` done as a task of another shard, or of this one, and waits for the result. Submissions of one task to
    /// one shard begin in their order.
    ///
    /// When the wait is given up, work that has been submitted goes on, and its result is dropped. What must not be
    /// lost is sent by [`oneshot`] instead, from the work to a receiver that
    /// [closes](crate::sync::cross::OneshotReceiver::close) when it gives up: then the work's `send` gives it back, or
    /// `close` does.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit_to<T, W, F>(&self, shard: usize, work: W) -> Result<T, SubmitError>
    where
        T: Send + 'static,
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let to = self.senders.get(shard).ok_or(SubmitError::Gone)?;
        let (sender, mut receiver) = oneshot();
        let mut message: Message = Box::new(move || {
            let work = async move {
                // Nobody waits any more when this fails.
                drop(sender.send(work().await));
            };
            spawn(work).detach();
        });
        loop {
            match to.send(message) {
                Ok(()) => break,
                Err(SendError::Closed(_)) => return Err(SubmitError::Gone),
                Err(SendError::Full(refused)) => message = refused,
            }
            to.ring();
            sleep(1).await.map_err(|_interrupted| SubmitError::Interrupted)?;
        }
        to.ring();
        let result = poll_fn(|context| {
            // Asked first: what has not come when the shard has ended will not come any more.
            let has_ended = to.is_closed();
            match Pin::new(&mut receiver).poll(context) {
                Poll::Pending if has_ended => Poll::Ready(Err(Closed::Gone)),
                polled => polled,
            }
        });
        result.await.map_err(|closed| match closed {
            Closed::Gone if to.is_closed() => SubmitError::Gone,
            Closed::Gone => SubmitError::Failed,
            Closed::Interrupted => SubmitError::Interrupted,
        })
    }
}

#[cfg(test)]
mod tests;
