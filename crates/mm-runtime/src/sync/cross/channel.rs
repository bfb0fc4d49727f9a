//! A bounded queue between tasks of any shards.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::super::{Closed, SendError, TrySendError};
use crate::net::share;
use crate::task::take_interrupt;

#[cfg(test)]
mod tests;

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receiving: bool,
    /// The receiving task, while it waits.
    receiver: Option<Waker>,
    /// Senders that wait for room, in the order of their tickets, which only grow.
    waiting: VecDeque<(u64, Waker)>,
    last_ticket: u64,
}

type Shared<T> = Arc<Mutex<State<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side that sends, on any shard; clone it for more.
pub struct Sender<T> {
    shared: Shared<T>,
}

/// The side that receives, on any shard.
pub struct Receiver<T> {
    shared: Shared<T>,
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// Makes a channel between shards that holds at most `capacity` messages, at least one. Messages of one sender come in
/// the order it sent them; senders that wait for room are let in first-in first-out.
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        capacity: capacity.max(1),
        senders: 1,
        receiving: true,
        receiver: None,
        waiting: VecDeque::new(),
        last_ticket: 0,
    }));
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.shared).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.senders -= 1;
        let woken = if state.senders == 0 { state.receiver.take() } else { None };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receiving = false;
        let unread = (std::mem::take(&mut state.queue), state.receiver.take());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        drop(unread);
    }
}

impl<T> State<T> {
    /// Puts a message in if there is room; who is to be woken comes back.
    fn put(&mut self, message: T) -> Result<Option<Waker>, TrySendError<T>> {
        if !self.receiving {
            return Err(TrySendError::Closed(message));
        }
        if self.queue.len() >= self.capacity {
            return Err(TrySendError::Full(message));
        }
        self.queue.push_back(message);
        Ok(self.receiver.take())
    }

    /// The oldest message, and who may come in for it.
    fn take(&mut self) -> Option<(T, Option<Waker>)> {
        let message = self.queue.pop_front()?;
        Some((message, self.admit()))
    }

    /// Who may come in now: the first that waits, if there is room.
    fn admit(&self) -> Option<Waker> {
        let (_, waker) = self.waiting.front().filter(|_| self.queue.len() < self.capacity)?;
        Some(waker.clone())
    }

    fn place_of(&self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }
}

impl<T: Send> Sender<T> {
    /// Puts a message in if there is room and nobody waits for it.
    ///
    /// # Errors
    /// The message comes back when the channel is full or closed.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut state = lock(&self.shared);
        if state.receiving && !state.waiting.is_empty() {
            return Err(TrySendError::Full(message));
        }
        let woken = state.put(message)?;
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Puts a message in, waiting for room.
    ///
    /// # Errors
    /// The message comes back when the task is interrupted or the receiver is gone.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        share::turn().await;
        let mut message = match self.try_send(message) {
            Ok(()) => {
                share::spend();
                return Ok(());
            }
            Err(TrySendError::Closed(message)) => return Err(SendError::Closed(message)),
            Err(TrySendError::Full(message)) => Some(message),
        };
        let mut place = Waiting { shared: &self.shared, ticket: None };
        poll_fn(move |context| place.poll(&mut message, context)).await
    }
}

/// A sender's place in the queue for room; given up when dropped.
struct Waiting<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<u64>,
}

impl<T> Waiting<'_, T> {
    fn poll(&mut self, message: &mut Option<T>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Some(offered) = message.take() else { return Poll::Pending };
        let mut state = lock(self.shared);
        let first = state.waiting.front().is_none_or(|(ticket, _)| Some(*ticket) == self.ticket);
        let in_turn = first || !state.receiving;
        let offered = match if in_turn { state.put(offered) } else { Err(TrySendError::Full(offered)) } {
            Ok(receiver) => {
                drop(state);
                receiver.into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(()));
            }
            Err(TrySendError::Closed(offered)) => return Poll::Ready(Err(SendError::Closed(offered))),
            Err(TrySendError::Full(offered)) => offered,
        };
        if take_interrupt() {
            return Poll::Ready(Err(SendError::Interrupted(offered)));
        }
        *message = Some(offered);
        let ticket = *self.ticket.get_or_insert_with(|| {
            state.last_ticket += 1;
            state.last_ticket
        });
        let waker = context.waker().clone();
        let old = match state.place_of(ticket) {
            Ok(index) => Some(std::mem::replace(&mut state.waiting[index].1, waker)),
            Err(index) => {
                state.waiting.insert(index, (ticket, waker));
                None
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = lock(self.shared);
        let left = state.place_of(ticket).ok().and_then(|index| state.waiting.remove(index));
        // The next takes what room there is, whether this one has used its turn or given it up.
        let next = state.admit();
        drop(state);
        drop(left);
        next.into_iter().for_each(Waker::wake);
    }
}

impl<T: Send> Receiver<T> {
    /// Takes a message if there is one.
    pub fn try_receive(&mut self) -> Option<T> {
        let taken = lock(&self.shared).take();
        taken.map(|(message, next)| {
            next.into_iter().for_each(Waker::wake);
            message
        })
    }

    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    /// All senders are gone and nothing is left, or the task was interrupted.
    pub async fn receive(&mut self) -> Result<T, Closed> {
        poll_fn(|context| {
            if share::poll_turn(context).is_pending() {
                return Poll::Pending;
            }
            if let Some(message) = self.try_receive() {
                share::spend();
                return Poll::Ready(Ok(message));
            }
            let mut state = lock(&self.shared);
            if !state.queue.is_empty() {
                // It came between the two looks.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if state.senders == 0 {
                return Poll::Ready(Err(Closed::Gone));
            }
            if take_interrupt() {
                return Poll::Ready(Err(Closed::Interrupted));
            }
            let old = state.receiver.replace(context.waker().clone());
            drop(state);
            drop(old);
            Poll::Pending
        })
        .await
    }
}
