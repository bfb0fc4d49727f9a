//! A queue of waiting tasks, which everything else here is built on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::task::{Interrupted, take_interrupt};

/// Waiting tasks in the order in which they came. Tickets only grow, so the queue is sorted by them.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next_ticket: Cell<u64>,
}

impl WaitQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Takes out and wakes the task that waits longest; false when none waits.
    pub(super) fn wake_one(&self) -> bool {
        let first = self.waiting.borrow_mut().pop_front();
        first.is_some_and(|(_, waker)| {
            waker.wake();
            true
        })
    }

    /// Takes out and wakes all tasks that wait now.
    pub(super) fn wake_all(&self) {
        let until = self.next_ticket.get();
        loop {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.front().is_none_or(|(ticket, _)| *ticket >= until) {
                return;
            }
            let first = waiting.pop_front();
            drop(waiting);
            first.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    /// Waits to be woken. `pass_on` is called when the wait was given up after it had been woken.
    pub(super) fn wait<F: Fn()>(&self, pass_on: F) -> Wait<'_, F> {
        Wait { queue: self, ticket: None, pass_on }
    }

    fn enter(&self, waker: &Waker) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.waiting.borrow_mut().push_back((ticket, waker.clone()));
        ticket
    }

    /// Keeps the waker of a waiting task up to date; false when it has been woken.
    fn still_waits(&self, ticket: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let Ok(index) = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else { return false };
        let known = &mut waiting[index].1;
        if !known.will_wake(waker) {
            let old = std::mem::replace(known, waker.clone());
            drop(waiting);
            drop(old);
        }
        true
    }

    /// Takes a task out; false when it has been woken.
    fn leave(&self, ticket: u64) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let left = found.ok().and_then(|index| waiting.remove(index));
        drop(waiting);
        left.is_some()
    }
}

/// See [`WaitQueue::wait`].
pub(super) struct Wait<'a, F: Fn()> {
    queue: &'a WaitQueue,
    ticket: Option<u64>,
    pass_on: F,
}

impl<F: Fn()> Unpin for Wait<'_, F> {}

impl<F: Fn()> Future for Wait<'_, F> {
    type Output = Result<(), Interrupted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = self.ticket else {
            if take_interrupt() {
                return Poll::Ready(Err(Interrupted));
            }
            self.ticket = Some(self.queue.enter(context.waker()));
            return Poll::Pending;
        };
        if !self.queue.still_waits(ticket, context.waker()) {
            self.ticket = None;
            return Poll::Ready(Ok(()));
        }
        if take_interrupt() {
            self.queue.leave(ticket);
            self.ticket = None;
            return Poll::Ready(Err(Interrupted));
        }
        Poll::Pending
    }
}

impl<F: Fn()> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && !self.queue.leave(ticket)
        {
            (self.pass_on)();
        }
    }
}
