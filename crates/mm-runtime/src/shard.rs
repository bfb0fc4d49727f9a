//! A shard: one thread, its driver, and what it does with the driver's events.

use std::io;

use mm_base::Now;

use crate::driver::{Driver, Event, Owner};
use crate::limits::EVENTS_MAX;

/// What a shard does besides running tasks: the staged service of connections.
///
/// In each turn the shard gives it all events of its sources, then calls [`serve`](Work::serve) once, then,
/// when tasks and timers have had their share, [`finish`](Work::finish) once.
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
pub struct Shard<D> {
    driver: D,
    events: Vec<Event>,
    next: Next,
    now: Now,
}

impl<D: Driver> Shard<D> {
    /// A shard around a driver.
    pub fn new(mut driver: D) -> Self {
        let now = driver.now();
        Self { driver, events: Vec::with_capacity(EVENTS_MAX), next: Next::Now, now }
    }

    /// The driver, to add listeners to before the first turn.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// The time of the current turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Takes turns until the work says to stop.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn run<W: Work<D>>(&mut self, work: &mut W) -> io::Result<()> {
        while self.turn(work)? != Next::Stop {}
        Ok(())
    }

    /// One turn: waits for events unless there is work left, takes all, serves them, and does what else is
    /// due.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn turn<W: Work<D>>(&mut self, work: &mut W) -> io::Result<Next> {
        let timeout_ms = match self.next {
            Next::Now | Next::Stop => Some(0),
            Next::At(time) => Some(time.saturating_sub(self.now.monotonic_ms)),
            Next::Never => None,
        };
        self.driver.poll(timeout_ms, &mut self.events)?;
        self.now = self.driver.now();
        for event in self.events.drain(..) {
            match event.owner {
                Owner::Work(_) => work.event(&event),
                Owner::Task => {}
            }
        }
        work.serve(&mut self.driver, self.now);
        self.next = work.finish(&mut self.driver, self.now);
        Ok(self.next)
    }
}
