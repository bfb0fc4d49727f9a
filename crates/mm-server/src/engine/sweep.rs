//! Time-outs, and what is done when connection memory has run out.
//!
//! No connection has a timer. A walk over the table, a bounded part of it per turn and all of it once per
//! period, compares the time of each connection's last progress with the time-outs. That costs a connection
//! eight bytes, a request one store, and ten thousand idle connections some tens of microseconds a second.

use mm_base::Now;
use mm_base::mark;
use mm_base::slab::Key;
use mm_runtime::driver::Driver;
use mm_runtime::shard::Next;

use super::{Connection, Engine, Marks};
use crate::connection::Want;
use crate::limits::{STALLED_MS, STARVED_MS, SWEEP_MS_MAX, SWEEP_PLACES_PER_TURN_MAX};
use crate::{Config, Service};

/// Where the walk is.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Milliseconds from the start of one walk to that of the next. `None`: there are no time-outs.
    period_ms: Option<u64>,
    /// When the present or next walk starts.
    start_ms: u64,
    /// The next place to look at.
    place: usize,
    idle_timeout_ms: u64,
    write_timeout_ms: u64,
    /// Since when memory has been short.
    starved_since_ms: Option<u64>,
    /// When it is next looked who sends too slowly what holds the service's memory.
    stalled_look_ms: u64,
    /// From when on the service is asked again whether it lacks memory.
    pub(super) ask_from_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    Idle,
    Write,
}

impl Sweep {
    pub(super) fn new(config: &Config) -> Self {
        let shortest = [config.idle_timeout_ms, config.write_timeout_ms].into_iter().flatten().min();
        Self {
            period_ms: shortest.map(|timeout| (timeout / 4).clamp(1, SWEEP_MS_MAX)),
            start_ms: 0,
            place: 0,
            idle_timeout_ms: config.idle_timeout_ms.unwrap_or(u64::MAX),
            write_timeout_ms: config.write_timeout_ms.unwrap_or(u64::MAX),
            starved_since_ms: None,
            stalled_look_ms: 0,
            ask_from_ms: 0,
        }
    }

    /// Which of its times a connection has exceeded.
    fn overdue(&self, progress_ms: u64, blocked: bool, now: Now) -> Option<Overdue> {
        let waited_ms = now.monotonic_ms.saturating_sub(progress_ms);
        if blocked {
            (waited_ms >= self.write_timeout_ms).then_some(Overdue::Write)
        } else {
            (waited_ms >= self.idle_timeout_ms).then_some(Overdue::Idle)
        }
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Takes a step of the walk, if one is due.
    pub(super) fn sweep(&mut self, driver: &mut D, now: Now) -> Next {
        self.relieve_service(driver, now);
        let relieved = self.relieve(driver, now);
        let Some(period_ms) = self.sweep.period_ms else { return relieved };
        let places = match &self.handled {
            Some(handled) => handled.entries.places(),
            None => self.connections.places(),
        };
        if places == 0 {
            self.sweep.place = 0;
            return relieved;
        }
        if now.monotonic_ms < self.sweep.start_ms {
            return relieved.min(Next::At(self.sweep.start_ms));
        }
        let end = places.min(self.sweep.place + SWEEP_PLACES_PER_TURN_MAX);
        for place in self.sweep.place..end {
            self.sweep_place(driver, place, now);
        }
        if end < places {
            self.sweep.place = end;
            return Next::Now;
        }
        self.sweep.place = 0;
        self.sweep.start_ms = now.monotonic_ms + period_ms;
        relieved.min(Next::At(self.sweep.start_ms))
    }

    /// Closes the connection at a place of the table if it is overdue.
    fn sweep_place(&mut self, driver: &mut D, place: usize, now: Now) {
        if let Some(handled) = &self.handled {
            let Some(entry) = handled.entries.at(place) else { return };
            let Some(progress_ms) = entry.watch.progress_ms() else { return };
            // One that owes its peer an answer is not idle.
            if let Some(overdue) = self.sweep.overdue(progress_ms, entry.watch.is_blocked(), now)
                && !(overdue == Overdue::Idle && entry.watch.owes_answer())
                && entry.end()
            {
                self.count(overdue);
            }
            return;
        }
        let Some(key) = self.connections.key_at(place) else { return };
        let Some(connection) = self.connections.get(key) else { return };
        let blocked = connection.marks.has(Marks::BLOCKED);
        if let Some(overdue) = self.sweep.overdue(connection.progress_ms, blocked, now) {
            self.count(overdue);
            self.cut(driver, key);
        }
    }

    fn count(&self, overdue: Overdue) {
        match overdue {
            Overdue::Idle => {
                mark!("idle time-out");
                self.stats().idle_timeouts.add(1);
            }
            Overdue::Write => {
                mark!("write time-out");
                self.stats().write_timeouts.add(1);
            }
        }
    }

    /// Where the service lacks memory: closes the connection that is furthest behind the slowest pace with what is
    /// received into such memory, if it is far enough. One per turn; who is refused next has the next one closed.
    fn relieve_service(&mut self, driver: &mut D, now: Now) {
        if !self.service_lacks_memory(now) || now.monotonic_ms < self.sweep.stalled_look_ms {
            return;
        }
        let sends = |(_, connection): &(Key, &Connection<_>)| connection.machine.want() == Want::Space;
        let due_ms = |connection: &Connection<_>| connection.pace.due_ms(connection.progress_ms);
        let sending = self.connections.iter().filter(sends);
        let slowest =
            sending.map(|(key, connection)| (due_ms(connection), key)).min_by_key(|&(due_ms, _)| due_ms);
        match slowest {
            Some((due_ms, key)) if due_ms <= now.monotonic_ms => {
                mark!("slowest sender closed for want of the service's memory");
                self.stats().memory_timeouts.add(1);
                self.cut(driver, key);
            }
            Some((due_ms, _)) => self.sweep.stalled_look_ms = due_ms,
            None => self.sweep.stalled_look_ms = now.monotonic_ms + STALLED_MS,
        }
    }

    /// While connection memory is used up: closes the connection that has been reading nothing for the
    /// longest time, if that is long enough; where none has output, the one that has kept the rest of a
    /// request for the longest. One per turn.
    fn relieve(&mut self, driver: &mut D, now: Now) -> Next {
        if self.pool.has_room() {
            self.sweep.starved_since_ms = None;
            return Next::Never;
        }
        let since = *self.sweep.starved_since_ms.get_or_insert(now.monotonic_ms);
        if now.monotonic_ms.saturating_sub(since) < STARVED_MS {
            return Next::At(since + STARVED_MS);
        }
        if self.handled.is_some() {
            return self.relieve_handled(now);
        }
        let holds = |(_, connection): &(Key, &Connection<_>)| {
            connection.marks.has(Marks::BLOCKED) || connection.machine.has_carry()
        };
        let rank = |(_, connection): &(Key, &Connection<_>)| {
            (!connection.marks.has(Marks::BLOCKED), connection.progress_ms)
        };
        let slowest = self.connections.iter().filter(holds).min_by_key(rank);
        let Some((key, connection)) = slowest else { return Next::At(now.monotonic_ms + STARVED_MS) };
        let due = connection.progress_ms + STARVED_MS;
        if due > now.monotonic_ms {
            return Next::At(due);
        }
        mark!("slowest connection closed for want of memory");
        self.stats().memory_timeouts.add(1);
        self.cut(driver, key);
        Next::Now
    }
}
