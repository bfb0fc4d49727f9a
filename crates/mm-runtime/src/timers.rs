//! Sleeping and timeouts, on the shard's timer wheel.
//!
//! Time is sampled once per turn by the shard and handed to [`Timers::advance`]; nothing here reads a clock. A sleep
//! lasts at least as long as asked for, counted from the turn's time, and its resolution is a millisecond.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use mm_base::Now;
use mm_base::timer_wheel::{TimerId, TimerWheel};

use crate::limits::TIMERS_MAX;
use crate::net::share;
use crate::task::raw::{self, Task};
use crate::task::{Interrupted, take_interrupt};

/// The timers of one executor. The shard asks for the next deadline and tells the time; the rest is done by
/// [`Sleep`] and [`timeout`].
#[repr(C)]
pub struct Timers {
    now: Cell<Now>,
    wheel: RefCell<TimerWheel<Expiry>>,
}

/// What a timer does.
pub(crate) enum Expiry {
    Wake(Waker),
    EndTask(Task),
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("now", &self.now.get()).finish_non_exhaustive()
    }
}

impl Timers {
    pub(crate) fn new(now: Now) -> Self {
        Self { wheel: RefCell::new(TimerWheel::new(now.monotonic_ms, TIMERS_MAX)), now: Cell::new(now) }
    }

    /// The time of the present turn.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now.get()
    }

    /// How many timers are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wheel.borrow().len()
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When [`advance`](Self::advance) must be called next, as a reading of [`Now::monotonic_ms`]; a time that has
    /// come means at once. None: no timer is armed.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.wheel.borrow().next_deadline_ms()
    }

    /// Tells the time of a new turn and wakes the tasks whose timers are due, in at most `budget` steps. True: there
    /// are more that are due; call it again in the next turn, without sleeping. Call it within
    /// [`Executor::enter`](crate::executor::Executor::enter).
    pub fn advance(&self, now: Now, budget: u32) -> bool {
        self.now.set(now);
        let mut left = budget;
        loop {
            // The wheel is free again before the task is woken, which may run destructors that disarm timers.
            let due = self.wheel.borrow_mut().pop_due(now.monotonic_ms, &mut left);
            match due {
                Some(Expiry::Wake(waker)) => waker.wake(),
                Some(Expiry::EndTask(task)) => task.cancel(true),
                None => return left == 0,
            }
        }
    }

    /// Arms a timer; None when there are too many.
    pub(crate) fn arm(&self, deadline_ms: u64, expiry: Expiry) -> Option<TimerId> {
        self.wheel.borrow_mut().insert(deadline_ms, expiry).ok()
    }

    #[inline]
    pub(crate) fn rearm(&self, timer: TimerId, deadline_ms: u64) -> bool {
        self.wheel.borrow_mut().rearm(timer, deadline_ms)
    }

    pub(crate) fn disarm(&self, timer: TimerId) {
        let expiry = self.wheel.borrow_mut().cancel(timer);
        // After the wheel is free again: it may hold the last reference to a task.
        drop(expiry);
    }

    /// Makes sure that an armed timer wakes this waker; false when it is not armed.
    pub(crate) fn set_waker(&self, timer: TimerId, waker: &Waker) -> bool {
        let mut wheel = self.wheel.borrow_mut();
        match wheel.get_mut(timer) {
            Some(Expiry::Wake(known)) => {
                if !known.will_wake(waker) {
                    let old = std::mem::replace(known, waker.clone());
                    drop(wheel);
                    drop(old);
                }
                true
            }
            _ => false,
        }
    }
}

/// The time of the present turn; the epoch outside an executor.
#[must_use]
pub fn now() -> Now {
    raw::with_current(|local| local.map_or_else(Now::default, |local| local.timers.now()))
}

/// Sleeps for `after_ms` milliseconds, or until the task is interrupted.
pub fn sleep(after_ms: u64) -> Sleep {
    Sleep::until(now().monotonic_ms.saturating_add(after_ms))
}

/// A timer of the present executor that a task waits for.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline_ms: u64,
    timer: Option<TimerId>,
    executor: u64,
}

impl Sleep {
    /// Sleeps until [`Now::monotonic_ms`] reaches `deadline_ms`.
    pub fn until(deadline_ms: u64) -> Self {
        Self { deadline_ms, timer: None, executor: 0 }
    }

    /// When it ends.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    fn is_over(&self) -> bool {
        now().monotonic_ms >= self.deadline_ms
    }

    /// Moves the end; cheap while the sleep is being awaited and the end moves later.
    #[inline]
    pub fn reset(&mut self, deadline_ms: u64) {
        self.deadline_ms = deadline_ms;
        if let Some(timer) = self.timer {
            raw::with_current(|local| {
                if let Some(local) = local.filter(|local| local.id == self.executor) {
                    local.timers.rearm(timer, deadline_ms);
                }
            });
        }
    }

    /// Whether the end has come; if not, wakes the context's task then. Takes no notice of interrupts.
    pub fn poll_elapsed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            self.disarm();
            return Poll::Ready(());
        }
        raw::with_current(|local| {
            // Outside an executor there is no time, and nobody to wake: the sleep never ends.
            let Some(local) = local else { return };
            if let Some(timer) = self.timer
                && self.executor == local.id
                && local.timers.set_waker(timer, context.waker())
            {
                return;
            }
            self.executor = local.id;
            self.timer = local.timers.arm(self.deadline_ms, Expiry::Wake(context.waker().clone()));
            if self.timer.is_none() {
                // No timer to be had: come back in the next turn and look at the time.
                context.waker().wake_by_ref();
            }
        });
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let Some(timer) = self.timer.take() {
            raw::with_current(|local| {
                if let Some(local) = local.filter(|local| local.id == self.executor) {
                    local.timers.disarm(timer);
                }
            });
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), Interrupted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_over() && share::poll_turn(context).is_pending() {
            return Poll::Pending;
        }
        if self.poll_elapsed(context).is_ready() {
            share::spend();
            return Poll::Ready(Ok(()));
        }
        if take_interrupt() {
            self.disarm();
            return Poll::Ready(Err(Interrupted));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// The time of a [`timeout`] was over before its future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for `future`, at most `after_ms` milliseconds, and drops it then. An interrupt goes to the future.
///
/// # Errors
/// [`Elapsed`] when the time was over first; a future that is ready by then wins.
pub async fn timeout<F: Future>(after_ms: u64, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let (mut sleep, mut gave_way) = (sleep(after_ms), false);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // It may be ready and have let others go on first: then it is asked once more.
        if sleep.is_over() && share::gives_way(context, &mut gave_way) {
            return Poll::Pending;
        }
        sleep.poll_elapsed(context).map(|()| Err(Elapsed))
    })
    .await
}
