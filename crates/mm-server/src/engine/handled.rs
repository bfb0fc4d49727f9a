//! Connections that are served by a handler: sequential code, a task for each.
//!
//! They are accepted, counted, limited, timed out and drained like those of a service. The engine keeps of each
//! what that needs: a view of its stream, and the task. A connection lives as long as its stream is open, and is found
//! by the stream's place with the driver.

use std::rc::Rc;

use mm_base::Now;
use mm_runtime::driver::{Driver, Owner, SourceId};
use mm_runtime::net::{Ledger, Watch};
use mm_runtime::shard::Next;
use mm_runtime::task::Control;

use super::Engine;
use crate::Service;
use crate::exchange::Arrival;
use crate::handler::{Outcomes, Spawn};
use crate::limits::{ENDING_MS, PLACES_KEPT, STARVED_MS};
use crate::origin::Origin;

/// A shard's connections of handlers.
pub(super) struct Handled {
    pub(super) entries: Entries,
    ledger: Ledger,
    spawn: Spawn,
    outcomes: Rc<Outcomes>,
    /// When the last of them were told to end.
    ended_ms: Option<u64>,
}

/// One connection, as the engine sees it.
pub(super) struct Entry {
    pub(super) watch: Watch,
    task: Control,
    origin: Option<Origin>,
}

/// The connections, each in the place that its stream has with the driver.
#[derive(Default)]
pub(super) struct Entries {
    places: Vec<Option<Entry>>,
    len: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of places, taken or vacant.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn at(&self, place: usize) -> Option<&Entry> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten()
    }

    fn insert(&mut self, stream: SourceId, entry: Entry) {
        let place = stream.index();
        if place >= self.places.len() {
            self.places.resize_with(place + 1, || None);
        }
        self.places[place] = Some(entry);
        self.len += 1;
    }

    fn remove(&mut self, stream: SourceId) -> Option<Entry> {
        let entry = self.places.get_mut(stream.index())?.take()?;
        self.len -= 1;
        if self.len == 0 && self.places.len() > PLACES_KEPT {
            self.places = Vec::new();
        }
        Some(entry)
    }
}

impl Entry {
    /// Ends the connection and its handler. False: that has been done.
    pub(super) fn end(&self) -> bool {
        let ended = self.watch.end();
        if ended {
            self.task.cancel();
        }
        ended
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Has the connections served by a handler from now on, and none by the service. To be called within the
    /// shard's executor.
    pub(crate) fn set_handler(&mut self, spawn: Spawn) -> std::io::Result<()> {
        let ledger = Ledger::new(self.config.linger_ms)?;
        let outcomes = Rc::default();
        self.handled = Some(Handled { entries: Entries::default(), ledger, spawn, outcomes, ended_ms: None });
        Ok(())
    }

    /// Starts a task for an accepted connection that has been counted.
    pub(super) fn open_handled(&mut self, driver: &mut D, arrival: Arrival<D::Socket>) {
        // A waker that is no task's may have closed a stream since the last turn, whose place this one may get.
        self.forget_closed();
        let Arrival { socket, peer: address, origin, .. } = arrival;
        let Some(handled) = &mut self.handled else { return };
        let opened = driver.add_stream(socket, Owner::Task).ok().filter(|stream| {
            let has_room = mm_runtime::task::has_room();
            if !has_room {
                driver.close(*stream);
            }
            has_room
        });
        let Some(stream) = opened else {
            self.stats().accept_errors.add(1);
            self.left(origin);
            return;
        };
        let (served, watch) = handled.ledger.adopt(stream, address);
        let task = (handled.spawn)(served, Rc::clone(&handled.outcomes));
        handled.entries.insert(stream, Entry { watch, task, origin });
        self.stats().connections.add(1);
        self.stats().connections_total.add(1);
    }

    /// Takes note of what the handlers have done since the last turn.
    pub(super) fn note_handled(&mut self) {
        let Some(handled) = &self.handled else { return };
        let (read, written) = handled.ledger.take_bytes();
        let stats = self.stats();
        if read | written != 0 {
            stats.bytes_read.add(read);
            stats.bytes_written.add(written);
        }
        match handled.ledger.take_lingered() {
            0 => {}
            more => stats.lingered.add(more),
        }
        handled.outcomes.count(stats);
        self.forget_closed();
    }

    /// Forgets the connections whose streams have been closed. True: there were some.
    pub(super) fn forget_closed(&mut self) -> bool {
        let mut found = false;
        while let Some(stream) = self.handled.as_ref().and_then(|handled| handled.ledger.take_closed()) {
            let removed = self.handled.as_mut().and_then(|handled| handled.entries.remove(stream));
            if let Some(entry) = removed {
                self.stats().connections.sub(1);
                self.left(entry.origin);
            }
            found = true;
        }
        found
    }

    /// A graceful stop has begun: those between two requests are at their end.
    pub(super) fn drain_handled(&mut self) {
        let Some(handled) = &self.handled else { return };
        handled.ledger.drain();
        handled.entries.iter().for_each(|entry| entry.watch.nudge());
    }

    /// Ends all at once. Gives how many there were the first time.
    pub(super) fn end_handled(&mut self, now: Now) -> usize {
        let Some(handled) = &mut self.handled else { return 0 };
        if handled.ended_ms.is_some() {
            return 0;
        }
        handled.ended_ms = Some(now.monotonic_ms);
        handled.entries.iter().filter(|entry| entry.end()).count()
    }

    /// Whether none is left, or those that are do not listen. Those that linger are the [drain](Self::drain)'s affair.
    pub(super) fn handled_is_done(&self, now: Now) -> bool {
        self.handled.as_ref().is_none_or(|handled| {
            let waited_ms = handled.ended_ms.map_or(0, |since| now.monotonic_ms - since);
            handled.entries.len() == 0 || waited_ms >= ENDING_MS
        })
    }

    /// While connection memory is used up: as [`relieve`](Self::relieve) does for a service's connections.
    pub(super) fn relieve_handled(&mut self, now: Now) -> Next {
        let Some(handled) = &self.handled else { return Next::Never };
        let rank = |entry: &Entry| {
            let (blocked, busy) = (entry.watch.is_blocked(), entry.watch.is_busy());
            let progress_ms = entry.watch.progress_ms().filter(|_| blocked || busy)?;
            Some((!blocked, progress_ms))
        };
        let ranked = handled.entries.iter().filter_map(|entry| Some((rank(entry)?, entry)));
        let slowest = ranked.min_by_key(|(rank, _)| *rank);
        let Some(((_, progress_ms), entry)) = slowest else { return Next::At(now.monotonic_ms + STARVED_MS) };
        let due = progress_ms + STARVED_MS;
        if due > now.monotonic_ms {
            return Next::At(due);
        }
        if entry.end() {
            self.stats().memory_timeouts.add(1);
        }
        Next::At(now.monotonic_ms + 1)
    }

    /// When the next turn must come while the handlers' connections end.
    pub(super) fn next_handled(&self, now: Now) -> Next {
        let ended_ms = self.handled.as_ref().and_then(|handled| handled.ended_ms);
        let end_ms = ended_ms.map(|since| since + ENDING_MS).filter(|end_ms| *end_ms > now.monotonic_ms);
        end_ms.map_or(Next::Never, Next::At)
    }
}
