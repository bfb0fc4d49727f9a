//! A shard's connections, and what is done with them in a turn.
//!
//! A connection that something has happened to is queued once. [`serve`](Work::serve) takes the queued ones
//! in batches through the stages ([`turn`]): receive for all, prepare all, run all, send for all. What a
//! batch is bounded by, and what a turn is, stands in [`limits`](crate::limits); whoever has more to do is
//! queued again for the next turn, behind the others.

mod accept;
mod balance;
mod contain;
mod datagrams;
mod drain;
mod dump;
mod hand_over;
mod handled;
mod linger;
mod outputs;
mod pace;
mod share;
mod stop;
mod sweep;
mod turn;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::slab::{Key, Slab};
use mm_runtime::driver::{Driver, Event, Owner, SourceId};
use mm_runtime::shard::{Next, Work};

use crate::connection::Machine;
use crate::control::Control;
use crate::exchange::{Arrival, Exchange};
use crate::origin::Origin;
use crate::ready::Wakes;
use crate::signals::Signals;
use crate::{Config, Peer, Ready, Service, Stats, Token};
use accept::Listeners;
use balance::Balance;
use datagrams::Datagrams;
use hand_over::HandingOver;
use handled::Handled;
use outputs::Outputs;
use pace::Pace;
use share::Company;
use sweep::Sweep;
use turn::Batch;

/// One shard's service, connections and listeners. What every request needs comes first, to lie in few cache lines.
#[repr(C)]
pub(crate) struct Engine<S: Service, D: Driver> {
    connections: Slab<Connection<S::Connection>>,
    batch: Batch,
    outputs: Outputs,
    /// Connections to be served, each at most once.
    queue: VecDeque<Key>,
    company: Company,
    pool: Pool,
    /// Connections are to finish what they have begun.
    drains: bool,
    service: S,
    /// Connections that the service has no part in.
    handled: Option<Handled>,
    /// Connections that are marked as queued and wait for connection memory.
    starved: Vec<Key>,
    /// Connections that have ended and are kept until this time, the earliest first.
    lingering: VecDeque<(u64, Key)>,
    listeners: Listeners<D::Socket>,
    datagrams: Datagrams,
    sweep: Sweep,
    balance: Balance,
    ready: Ready,
    wakes: Wakes,
    config: Config,
    control: Arc<Control>,
    exchange: Arc<Exchange<D::Socket>>,
    shard: usize,
    /// When a stop began, on the monotonic clock.
    drain_since_ms: Option<u64>,
    handing_over: HandingOver,
    /// What happens on a signal, on the shard that gets them.
    signals: Option<Signals>,
    /// Whether it has taken up connections from another server.
    has_begun: bool,
    /// Dumps that have been written.
    dumps: u32,
    /// When the service may do its own work, on the monotonic clock.
    background_from_ms: u64,
    /// When the next fault may be told of, on the monotonic clock.
    fault_told_from_ms: u64,
}

/// A connection between two turns.
struct Connection<C> {
    machine: Machine<C>,
    stream: SourceId,
    /// Unsent bytes. `None` when there are none.
    output: Option<Box<Output>>,
    /// When bytes last went in the direction that is waited for, on the monotonic clock.
    progress_ms: u64,
    /// Of what it sends into the service's space.
    pace: Pace,
    marks: Marks,
    /// Through which listener it came.
    listener: u32,
    origin: Option<Origin>,
}

/// A few truths about a connection, in a byte.
#[derive(Clone, Copy, Default)]
struct Marks(u8);

impl Marks {
    /// It is in the queue.
    const QUEUED: u8 = 1;
    /// It has been woken since it last ran.
    const WOKEN: u8 = 2;
    /// The kernel takes no more of its output for now.
    const BLOCKED: u8 = 4;
    /// The peer has finished sending.
    const ENDED: u8 = 8;
    /// It has ended; what its peer still sends is dropped.
    const LINGERS: u8 = 16;
    /// It has finished what it had begun when a graceful stop began.
    const FINISHED: u8 = 32;
    /// Its last value did not come whole with the request, so that the next may not either.
    const LARGE: u8 = 64;
    /// It waits for memory, among the starved.
    const STARVED: u8 = 128;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn set(&mut self, mark: u8) {
        self.0 |= mark;
    }

    /// Takes a mark away and says whether it was there.
    fn clear(&mut self, mark: u8) -> bool {
        let had = self.has(mark);
        self.0 &= !mark;
        had
    }

    /// Marks it as queued. Says whether it is to be put into the queue, where it is not yet.
    fn enlist(&mut self) -> bool {
        let is_new = !self.has(Self::QUEUED);
        self.set(Self::QUEUED);
        is_new
    }
}

impl<C> Connection<C> {
    fn has_output(&self) -> bool {
        self.output.is_some()
    }

    fn has_unsent(&self) -> bool {
        self.output.as_ref().is_some_and(|output| !output.is_empty())
    }

    fn output_is_full(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.is_full())
    }
}

/// The parts that an engine is made of.
pub(crate) struct Parts<S, T> {
    pub(crate) service: S,
    pub(crate) pool: Pool,
    pub(crate) ready: Ready,
    pub(crate) config: Config,
    pub(crate) control: Arc<Control>,
    pub(crate) exchange: Arc<Exchange<T>>,
    pub(crate) shard: usize,
}

impl<S: Service, D: Driver> Engine<S, D> {
    pub(crate) fn new(parts: Parts<S, D::Socket>) -> Self {
        let Parts { service, pool, ready, config, control, exchange, shard } = parts;
        Self {
            service,
            connections: Slab::new(),
            handled: None,
            queue: VecDeque::new(),
            company: Company::default(),
            starved: Vec::new(),
            lingering: VecDeque::new(),
            batch: Batch::default(),
            outputs: Outputs::new(&pool, config.output_cap_bytes),
            pool,
            listeners: Listeners::default(),
            datagrams: Datagrams::default(),
            sweep: Sweep::new(&config),
            balance: Balance::new(control.shards()),
            ready,
            wakes: Wakes::default(),
            config,
            control,
            exchange,
            shard,
            drain_since_ms: None,
            handing_over: HandingOver::default(),
            drains: false,
            signals: None,
            has_begun: false,
            dumps: 0,
            background_from_ms: 0,
            fault_told_from_ms: 0,
        }
    }

    pub(crate) fn service(&self) -> &S {
        &self.service
    }

    /// Bytes that the connections hold in buffers.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.pool.used_bytes()
    }

    /// Whether its connection memory is used up.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        !self.pool.has_room()
    }

    /// Connections that it serves.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Has this shard act on the process's signals.
    pub(crate) fn set_signals(&mut self, signals: Signals) {
        self.signals = Some(signals);
    }

    fn stats(&self) -> &Stats {
        &self.control.stats[self.shard]
    }

    /// Takes over an accepted connection that has been counted.
    fn open(&mut self, driver: &mut D, arrival: Arrival<D::Socket>, now: Now) {
        if self.handled.is_some() {
            return self.open_handled(driver, arrival);
        }
        let Arrival { socket, peer: address, origin, listener, luggage, packed } = arrival;
        let opened = self.connections.next_key().and_then(|key| {
            let stream = driver.add_stream(socket, Owner::Work(key)).ok()?;
            Some((key, stream))
        });
        let has_moved = luggage.is_some();
        let peer = |key| Peer { token: Token(key), address, listener, is_datagram: false };
        let Some((key, stream)) = opened else {
            self.stats().accept_errors.add(1);
            if let Some(luggage) = luggage {
                self.lose(&peer(Key::reserved(0)), luggage);
            }
            self.left(origin);
            return;
        };
        let (service, pool) = (&mut self.service, &self.pool);
        let begun = catch_unwind(AssertUnwindSafe(|| match (luggage, &packed) {
            (Some(luggage), _) => Some(Machine::new(service.arrive(&peer(key), luggage))),
            (None, Some(packed)) => {
                let state = service.unpack(&peer(key), &packed.state)?;
                Some(Machine::resumed(state, &packed.input, pool))
            }
            (None, None) => Some(Machine::new(service.connect(&peer(key)))),
        }));
        let Ok(Some(machine)) = begun else {
            self.stats().panics.add(u64::from(begun.is_err()));
            driver.close(stream);
            self.left(origin);
            return;
        };
        let connection = Connection {
            machine,
            stream,
            output: None,
            progress_ms: now.monotonic_ms,
            pace: Pace::default(),
            marks: Marks::default(),
            listener: u32::try_from(listener).unwrap_or(u32::MAX),
            origin,
        };
        // The table has room: it has just named the key.
        let inserted = self.connections.insert(connection).is_ok();
        debug_assert!(inserted, "a slab refused the key it had announced");
        self.stats().connections.add(1);
        if has_moved {
            self.stats().connections_moved.add(1);
        } else if packed.is_none() || !self.control.counts_on && self.drain_since_ms.is_none() {
            // What comes from another server comes before a stop has begun; what had been sent off comes back in one.
            self.stats().connections_total.add(1);
        }
        if let Some(packed) = packed {
            mm_base::mark!("connection taken over");
            self.go_on(key, &packed.output);
        }
    }

    /// Ends a connection. What the driver has taken it sends, if it has the time.
    fn close(&mut self, driver: &mut D, key: Key) {
        self.remove(driver, key, false);
    }

    /// Ends a connection before its time: by a reset, unless all of its output has reached the kernel.
    fn cut(&mut self, driver: &mut D, key: Key) {
        let has_rest = self.connections.get(key).is_some_and(|connection| driver.has_rest(connection.stream));
        self.remove(driver, key, has_rest);
    }

    /// Gives back the memory of a connection and the service's state of it. One with unsent output is reset: its peer
    /// would take an end for that of the answer.
    fn remove(&mut self, driver: &mut D, key: Key, is_cut: bool) {
        let Some(connection) = self.connections.remove(key) else { return };
        if is_cut || connection.has_unsent() {
            driver.reset(connection.stream);
        } else {
            driver.close(connection.stream);
        }
        if let Some(output) = connection.output {
            self.outputs.put(output);
        }
        self.disconnect(connection.machine.into_state());
        self.stats().connections.sub(1);
        self.left(connection.origin);
    }

    /// A connection has ended, so that there may be a place for another.
    fn left(&mut self, origin: Option<Origin>) {
        self.control.forget(origin);
        let was_full = self.control.leave(self.config.connections_max, self.shard);
        if was_full && self.config.refusal.is_none() {
            self.listeners.place_free();
            if self.control.shards() > 1 {
                self.control.wake(None);
            }
        }
        if self.drain_since_ms.is_some() {
            self.control.lost_while_closed(self.shard);
        }
    }

    /// Has a connection looked at in the next batch.
    fn enqueue(&mut self, key: Key, mark: u8) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.marks.set(mark);
            if connection.marks.enlist() {
                self.queue.push_back(key);
            }
        }
    }

    /// Queues those that have waited for memory, if there is some again.
    fn feed_starved(&mut self) {
        if self.starved.is_empty() || !self.pool.has_room() {
            return;
        }
        let mut starved = std::mem::take(&mut self.starved);
        for key in starved.drain(..) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.marks.clear(Marks::STARVED);
            }
            self.enqueue(key, 0);
        }
        self.starved = starved;
    }

    /// Queues the connections that the service has woken.
    fn deliver_wakes(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let mut wakes = std::mem::take(&mut self.wakes);
        self.ready.swap(&mut wakes);
        if wakes.all {
            wakes.tokens.clear();
            wakes.tokens.extend(self.connections.iter().map(|(key, _)| Token(key)));
        }
        for token in &wakes.tokens {
            self.enqueue(token.0, Marks::WOKEN);
        }
        self.wakes = wakes;
    }

    /// Ends every connection now.
    fn cut_all(&mut self, driver: &mut D) {
        for place in 0..self.connections.places() {
            if let Some(key) = self.connections.key_at(place) {
                self.cut(driver, key);
            }
        }
    }
}

impl<S: Service, D: Driver> Work<D> for Engine<S, D> {
    fn event(&mut self, event: &Event) {
        let Owner::Work(key) = event.owner else { return };
        match key.as_reserved() {
            None => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                let is_news = event.readable || connection.marks.has(Marks::BLOCKED);
                if is_news && connection.marks.enlist() {
                    self.queue.push_back(key);
                }
            }
            Some(crate::signals::SOURCE) => {
                if let Some(signals) = &mut self.signals {
                    signals.arrived();
                }
            }
            Some(socket @ datagrams::FIRST..) => self.datagrams.arrived(socket),
            Some(listener) => self.listeners.arrived(listener),
        }
    }

    fn serve(&mut self, driver: &mut D, now: Now) {
        self.stats().turns.add(1);
        self.act_on_signals(driver);
        self.dump_if_asked(driver, now);
        self.accept(driver, now);
        if !std::mem::replace(&mut self.has_begun, true) || self.control.shards() > 1 {
            while let Some(arrival) = self.exchange.take(self.shard) {
                self.open(driver, arrival, now);
            }
        }
        self.deliver_wakes();
        self.serve_queue(driver, now);
        self.serve_datagrams(driver, now);
        self.move_leaving(driver);
    }

    fn finish(&mut self, driver: &mut D, now: Now) -> Next {
        let background = self.run_background(now);
        self.note_handled();
        self.compare_load(now);
        let lingering = self.end_lingering(driver, now);
        let swept = self.sweep(driver, now);
        let drained = self.stop_if_asked(driver, now);
        if drained == Next::Stop {
            return Next::Stop;
        }
        // Those that have been ended just now: in the next turn, others may take their places with the driver.
        let drained = if self.forget_closed() { Next::Now } else { drained };
        self.feed_starved();
        let served = if self.queue.is_empty() && self.ready.is_empty() { Next::Never } else { Next::Now };
        let drained = drained.min(self.next_handled(now)).min(lingering);
        let arrivals = self.listeners.next(now).min(self.datagrams.next(now));
        background.min(swept).min(drained).min(served).min(arrivals).min(self.balance.next())
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Ends every connection, after the shard's last turn.
    pub(crate) fn end(mut self, driver: &mut D) -> S {
        self.close_listeners(driver);
        self.datagrams.close_all(driver);
        self.cut_all(driver);
        self.service
    }
}
