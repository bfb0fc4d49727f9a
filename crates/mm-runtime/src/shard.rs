//! A shard: one thread, its driver, its tasks, and what else it does with the driver's events.
//!
//! A shard takes turns. In each it waits for events (not at all when there is work left), samples the clock, gives the
//! events to their owners, lets its [`Work`] serve what is ready, fires timers, polls tasks, and lets the work finish.
//! Each of these is bounded, so that none starves another: input cannot hold up timers for longer than a turn.

mod io;

use std::cell::RefMut;
use std::io as stdio;
use std::sync::Arc;

use mm_base::Now;
use mm_base::doorbell::Doorbell;

use crate::driver::{Driver, Event, Owner};
use crate::executor::Executor;
use crate::limits::{EVENTS_MAX, POLLS_PER_TURN, TIMER_STEPS_PER_TURN};

pub use io::Io;
pub(crate) use io::Shared;
#[cfg(test)]
pub(crate) use io::WAITING_BYTES;

/// What a shard does besides running tasks: the staged service of connections.
///
/// In each turn the shard gives it all events of its sources, then calls [`serve`](Work::serve) once, then, when tasks
/// and timers have had their share, [`finish`](Work::finish) once. Both have the driver while they run: sockets of
/// tasks must not be used meanwhile, only dropped or reset, and are closed right after.
pub trait Work<D: Driver> {
    /// One of its sources has become ready. To be noted, not acted upon.
    fn event(&mut self, event: &Event);

    /// Serves what is ready, within the bounds of a turn.
    fn serve(&mut self, driver: &mut D, now: Now);

    /// Does a bounded step of other work and says when the next turn must come.
    fn finish(&mut self, driver: &mut D, now: Now) -> Next;
}

/// When a turn must come even if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// At this reading of [`Now::monotonic_ms`].
    At(u64),
    /// Not at all.
    Never,
    /// The shard is to end.
    Stop,
}

impl Next {
    /// The earlier of two; a stop is the earliest.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stop, _) | (_, Self::Stop) => Self::Stop,
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::Never, next) | (next, Self::Never) => next,
        }
    }
}

/// One shard.
#[derive(Debug)]
pub struct Shard<D: Driver> {
    io: Io<D>,
    executor: Executor,
    doorbell: Arc<Doorbell>,
    events: Vec<Event>,
    next: Next,
    now: Now,
}

impl<D: Driver> Shard<D> {
    /// A shard around a driver.
    pub fn new(mut driver: D) -> Self {
        let now = driver.now();
        let waker = driver.waker();
        let doorbell = Arc::new(Doorbell::new(move || waker.wake()));
        Self {
            io: Io::new(driver),
            executor: Executor::new(Arc::clone(&doorbell), now),
            doorbell,
            events: Vec::with_capacity(EVENTS_MAX),
            next: Next::Now,
            now,
        }
    }

    /// The driver, to add listeners to before the first turn.
    pub fn driver(&mut self) -> RefMut<'_, D> {
        self.io.driver()
    }

    /// What tasks need for input and output.
    #[must_use]
    pub fn io(&self) -> Io<D> {
        self.io.clone()
    }

    /// The tasks of this shard.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Whether a task is ready, so that the next turn does not sleep.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.executor.has_work()
    }

    /// What other threads ring after they have left something for this shard.
    #[must_use]
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    /// The time of the current turn.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Takes turns until the work says to stop.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn run<W: Work<D>>(&mut self, work: &mut W) -> stdio::Result<()> {
        while self.turn(work)? != Next::Stop {}
        Ok(())
    }

    /// One turn. Returns when the next must come.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn turn<W: Work<D>>(&mut self, work: &mut W) -> stdio::Result<Next> {
        self.begin_turn(work)?;
        Ok(self.end_turn(work))
    }

    /// The first part of a turn, up to and with [`Work::serve`]. Simulations let other shards go on before the rest.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn begin_turn<W: Work<D>>(&mut self, work: &mut W) -> stdio::Result<()> {
        self.wait()?;
        let Self { io, executor, events, now, .. } = self;
        let stall = executor.stall();
        executor.enter(|| {
            for event in events.drain(..) {
                match event.owner {
                    Owner::Work(_) => work.event(&event),
                    Owner::Task => io.event(&event),
                }
            }
            stall.watch(|| work.serve(&mut *io.driver(), *now));
        });
        io.close_late();
        Ok(())
    }

    /// The rest of a turn. Returns when the next must come.
    pub fn end_turn<W: Work<D>>(&mut self, work: &mut W) -> Next {
        let (io, now) = (&self.io, self.now);
        let tasks = self.run_tasks();
        let stall = self.executor.stall();
        let next = self.executor.enter(|| stall.watch(|| work.finish(&mut *io.driver(), now)));
        io.close_late();
        self.next = next.min(tasks);
        self.next
    }

    /// Has `last` done with the driver, after the last turn: as in a turn, sockets of tasks must not be used meanwhile,
    /// only dropped or reset, and are closed right after.
    pub fn end_with<T>(&mut self, last: impl FnOnce(&mut D) -> T) -> T {
        let io = &self.io;
        let done = self.executor.enter(|| last(&mut *io.driver()));
        io.close_late();
        done
    }

    /// Takes what has happened, after a sleep if there is nothing left to do.
    fn wait(&mut self) -> stdio::Result<()> {
        let timeout_ms = match self.next {
            Next::Now | Next::Stop => Some(0),
            Next::At(time) => Some(time.saturating_sub(self.now.monotonic_ms)),
            Next::Never => None,
        };
        let sleeps = timeout_ms != Some(0) && self.doorbell.try_sleep(|| !self.executor.has_work());
        let timeout_ms = if sleeps { timeout_ms } else { Some(0) };
        let mut driver = self.io.driver();
        let polled = driver.poll(timeout_ms, &mut self.events);
        self.now = driver.now();
        if sleeps {
            self.doorbell.awake();
        }
        polled
    }

    /// Fires the timers that are due and polls tasks, as many as belong in a turn.
    fn run_tasks(&self) -> Next {
        let timers = self.executor.timers();
        let late = self.executor.enter(|| timers.advance(self.now, TIMER_STEPS_PER_TURN));
        if self.executor.has_work() {
            self.executor.run(POLLS_PER_TURN);
        }
        if late || self.executor.has_work() {
            return Next::Now;
        }
        timers.next_deadline_ms().map_or(Next::Never, Next::At)
    }
}
