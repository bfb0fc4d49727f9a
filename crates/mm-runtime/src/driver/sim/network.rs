//! The simulated network: what lies between the streams of [`SimDriver`](super::SimDriver)s and their peers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;

use mm_base::Now;
use mm_base::choice::Choices;
use mm_base::slab::{Key, Slab};
use rustix::io::Errno;

use super::datagrams::Datagrams;
use super::observe::Happened;
use super::{SimDriver, SimKernel};
use crate::driver::{Address, Received};

/// When the simulation begins, in seconds since 1970.
const UNIX_START_S: u64 = 1_000_000_000;

/// When the simulation begins on the monotonic clock.
const MONOTONIC_START_MS: u64 = 1_000;

/// What goes wrong, and how often. Nothing, by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The longest time that bytes, connections and ends of streams are under way, in milliseconds.
    pub delay_ms_max: u64,
    /// What a stream holds in each direction before it takes no more.
    pub capacity_bytes: usize,
    /// One receive in so many returns less than it could. 0: none does.
    pub short_receives: u64,
    /// One send in so many takes less than it could. 0: none does.
    pub short_sends: u64,
    /// One poll in so many reports something that is not so. 0: none does.
    pub spurious_events: u64,
    /// One accept in so many fails for want of descriptors. 0: none does.
    pub failed_accepts: u64,
    /// One send in so many finds its stream reset. 0: none does.
    pub resets: u64,
    /// One datagram in so many is lost. 0: none is.
    pub lost_datagrams: u64,
    /// One datagram in so many arrives twice. 0: none does.
    pub doubled_datagrams: u64,
}

/// A kind of fault that happens by chance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    ShortReceive,
    ShortSend,
    SpuriousEvent,
    FailedAccept,
    Reset,
    LostDatagram,
    DoubledDatagram,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delay_ms_max: 0,
            capacity_bytes: 256 * 1024,
            short_receives: 0,
            short_sends: 0,
            spurious_events: 0,
            failed_accepts: 0,
            resets: 0,
            lost_datagrams: 0,
            doubled_datagrams: 0,
        }
    }
}

/// A network in virtual time, the same for the same seed. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    pub(super) state: Rc<RefCell<State>>,
}

/// A port that a listener can be made for and peers can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub(super) number: usize,
    pub(super) takes_datagrams: bool,
}

/// The far end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(pub(super) Key);

pub(super) struct State {
    now_ms: u64,
    /// How far the wall clock has been set forward or back.
    pub(super) clock_offset_s: i64,
    /// Events made, and bytes and ends sent.
    pub(super) activity: u64,
    pub(super) choices: Choices,
    pub(super) faults: Faults,
    pub(super) happened: Happened,
    pub(super) links: Slab<Link>,
    pub(super) ports: Vec<Queue>,
    /// The datagrams of each port that takes some.
    pub(super) datagrams: Vec<Datagrams>,
}

/// Connections on their way to a listener.
#[derive(Default)]
pub(super) struct Queue {
    /// When each arrives, and which it is.
    waiting: VecDeque<(u64, Key)>,
    /// Drivers that listen.
    listeners: usize,
}

/// One stream: both of its directions.
#[derive(Default)]
pub(super) struct Link {
    pub(super) to_server: Direction,
    pub(super) to_peer: Direction,
    pub(super) reset: bool,
    pub(super) near: Near,
    /// The peer has let go of its end.
    pub(super) far_closed: bool,
}

/// What has become of the server's end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Near {
    #[default]
    Waiting,
    Accepted,
    Closed,
}

/// What goes one way.
#[derive(Default)]
pub(super) struct Direction {
    /// When each piece arrives; in order.
    under_way: VecDeque<(u64, Vec<u8>)>,
    pub(super) under_way_bytes: usize,
    pub(super) arrived: VecDeque<u8>,
    /// Bytes that have ever arrived.
    pub(super) arrived_total: u64,
    /// When the end arrives.
    end_ms: Option<u64>,
    pub(super) ended: bool,
}

impl Direction {
    /// Takes in what has arrived by now.
    fn settle(&mut self, now_ms: u64) {
        while let Some((_, bytes)) = self.under_way.pop_front_if(|(time, _)| *time <= now_ms) {
            self.under_way_bytes -= bytes.len();
            self.arrived_total += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.arrived.extend(bytes);
        }
        self.ended |= self.under_way.is_empty() && self.end_ms.is_some_and(|time| time <= now_ms);
    }

    /// When the next piece or the end arrives.
    fn next_ms(&self) -> Option<u64> {
        let piece = self.under_way.front().map(|(time, _)| *time);
        let end = self.end_ms.filter(|_| !self.ended);
        piece.or(end)
    }

    /// How many more bytes it takes.
    pub(super) fn room(&self, capacity: usize) -> usize {
        capacity.saturating_sub(self.under_way_bytes + self.arrived.len())
    }

    /// Nothing arrives before what was sent before it.
    fn in_order(&self, time: u64) -> u64 {
        self.under_way.back().map_or(time, |(last, _)| time.max(*last))
    }

    fn send(&mut self, bytes: Vec<u8>, time: u64) {
        let time = self.in_order(time);
        self.under_way_bytes += bytes.len();
        self.under_way.push_back((time, bytes));
    }

    fn end(&mut self, time: u64) {
        let time = self.in_order(time);
        self.end_ms.get_or_insert(time);
    }
}

impl State {
    pub(super) fn now(&self) -> Now {
        let passed_s = (self.now_ms - MONOTONIC_START_MS) / 1000;
        let unix_s = (UNIX_START_S + passed_s).saturating_add_signed(self.clock_offset_s);
        Now { monotonic_ms: self.now_ms, unix_s }
    }

    /// The reading of the monotonic clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether a fault happens now.
    pub(super) fn happens(&mut self, fault: Fault) -> bool {
        let (faults, happened) = (&self.faults, &mut self.happened);
        let (rate, count) = match fault {
            Fault::ShortReceive => (faults.short_receives, &mut happened.short_receives),
            Fault::ShortSend => (faults.short_sends, &mut happened.short_sends),
            Fault::SpuriousEvent => (faults.spurious_events, &mut happened.spurious_events),
            Fault::FailedAccept => (faults.failed_accepts, &mut happened.failed_accepts),
            Fault::Reset => (faults.resets, &mut happened.resets),
            Fault::LostDatagram => (faults.lost_datagrams, &mut happened.lost_datagrams),
            Fault::DoubledDatagram => (faults.doubled_datagrams, &mut happened.doubled_datagrams),
        };
        let happens = self.choices.one_in(rate);
        *count += u64::from(happens);
        happens
    }

    /// When something sent now arrives.
    pub(super) fn arrival_ms(&mut self) -> u64 {
        self.now_ms + self.choices.between(0, self.faults.delay_ms_max)
    }

    /// A stream, with what has arrived taken in.
    pub(super) fn link(&mut self, key: Key) -> Option<&mut Link> {
        let now_ms = self.now_ms;
        let link = self.links.get_mut(key)?;
        link.to_server.settle(now_ms);
        link.to_peer.settle(now_ms);
        Some(link)
    }

    /// Sends to one side as much of `bytes` as there is room for. Returns how much.
    pub(super) fn send(&mut self, key: Key, to_peer: bool, bytes: &[u8]) -> usize {
        let capacity = self.faults.capacity_bytes;
        let short = self.happens(Fault::ShortSend);
        let time = self.arrival_ms();
        let Some(link) = self.links.get_mut(key) else { return 0 };
        let direction = if to_peer { &mut link.to_peer } else { &mut link.to_server };
        let mut taken = bytes.len().min(direction.room(capacity));
        if short && taken > 1 {
            taken = 1 + self.choices.index(taken - 1);
        }
        if taken > 0 {
            self.activity += 1;
            direction.send(bytes[..taken].to_vec(), time);
        }
        taken
    }

    /// Ends one direction.
    pub(super) fn end(&mut self, key: Key, to_peer: bool) {
        let time = self.arrival_ms();
        self.activity += 1;
        if let Some(link) = self.links.get_mut(key) {
            let direction = if to_peer { &mut link.to_peer } else { &mut link.to_server };
            direction.end(time);
        }
    }

    /// Whether a connection waits to be accepted.
    pub(super) fn has_arrivals(&self, port: usize) -> bool {
        self.ports[port].waiting.front().is_some_and(|(time, _)| *time <= self.now_ms)
    }

    /// The next connection of a port.
    pub(super) fn accept(&mut self, port: usize) -> Result<Option<(Key, Address)>, Errno> {
        if !self.has_arrivals(port) {
            return Ok(None);
        }
        if self.happens(Fault::FailedAccept) {
            return Err(Errno::MFILE);
        }
        let queue = &mut self.ports[port];
        let Some((_, key)) = queue.waiting.pop_front() else { return Ok(None) };
        if let Some(link) = self.links.get_mut(key) {
            link.near = Near::Accepted;
        }
        Ok(Some((key, PeerId(key).address())))
    }

    /// A driver listens.
    pub(super) fn listen(&mut self, port: usize) {
        self.ports[port].listeners += 1;
    }

    /// A driver does not listen any more. Connections that no other will accept are reset.
    pub(super) fn stop_listening(&mut self, port: usize) {
        let queue = &mut self.ports[port];
        queue.listeners -= 1;
        if queue.listeners > 0 {
            return;
        }
        for (_, key) in std::mem::take(&mut queue.waiting) {
            if let Some(link) = self.links.get_mut(key) {
                link.reset = true;
            }
            self.close_near(key);
        }
    }

    /// The server has closed its end.
    pub(super) fn close_near(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key) {
            link.near = Near::Closed;
            if link.far_closed {
                self.links.remove(key);
            }
        }
    }

    /// When the next thing arrives anywhere, if something is under way.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let connects = self.ports.iter().filter_map(|queue| queue.waiting.front().map(|(time, _)| *time));
        let directions = self.links.iter().flat_map(|(_, link)| [&link.to_server, &link.to_peer]);
        let datagrams = self.datagrams.iter().flat_map(Datagrams::times_ms);
        let all = connects.chain(directions.filter_map(Direction::next_ms)).chain(datagrams);
        all.filter(|time| *time > self.now_ms).min()
    }

    pub(super) fn advance_to(&mut self, time_ms: u64) {
        self.now_ms = self.now_ms.max(time_ms);
    }
}

impl Network {
    /// A network whose every choice follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            now_ms: MONOTONIC_START_MS,
            clock_offset_s: 0,
            activity: 0,
            choices: Choices::new(seed),
            faults,
            happened: Happened::default(),
            links: Slab::new(),
            ports: Vec::new(),
            datagrams: Vec::new(),
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// A driver for a shard of this network. `alone`: its waits let time pass; else only
    /// [`advance_to`](Self::advance_to) does, and waits return at once.
    #[must_use]
    pub fn driver(&self, alone: bool) -> SimDriver {
        SimDriver::over(SimKernel::new(self.clone(), alone))
    }

    /// A new port.
    #[must_use]
    pub fn port(&self) -> Port {
        let mut state = self.state.borrow_mut();
        state.ports.push(Queue::default());
        Port { number: state.ports.len() - 1, takes_datagrams: false }
    }

    /// Has the port take connections as long as no driver listens, as a listening socket does that goes from one
    /// server to the next.
    pub fn hold(&self, port: Port) {
        self.state.borrow_mut().listen(port.number);
    }

    /// Undoes one [`hold`](Self::hold).
    pub fn let_go(&self, port: Port) {
        self.state.borrow_mut().stop_listening(port.number);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.state.borrow().now()
    }

    /// When the next thing arrives somewhere, on the monotonic clock. `None`: nothing is under way.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.state.borrow().next_ms()
    }

    /// A number that changes whenever an event is made or something is sent: while it does, time need not
    /// pass.
    #[must_use]
    pub fn activity(&self) -> u64 {
        self.state.borrow().activity
    }

    /// Lets time pass until this reading of the monotonic clock.
    pub fn advance_to(&self, time_ms: u64) {
        self.state.borrow_mut().advance_to(time_ms);
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// Connects to a port.
    #[must_use]
    pub fn connect(&self, port: Port) -> PeerId {
        let mut state = self.state.borrow_mut();
        let time = state.arrival_ms();
        let key = state.links.insert(Link::default()).unwrap_or_else(|_| Key::reserved(0));
        let queue = &mut state.ports[port.number];
        let time = queue.waiting.back().map_or(time, |(last, _)| time.max(*last));
        queue.waiting.push_back((time, key));
        PeerId(key)
    }

    /// Sends as much as the stream takes. Returns how much.
    ///
    /// # Errors
    /// The stream was reset.
    pub fn write(&self, peer: PeerId, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        match state.link(peer.0) {
            Some(link) if !link.reset => Ok(state.send(peer.0, false, bytes)),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Receives at most `bytes` bytes of what has arrived. What arrived before a reset can still be received.
    ///
    /// # Errors
    /// The stream was reset.
    pub fn read(&self, peer: PeerId, bytes: usize) -> io::Result<Received<Vec<u8>>> {
        let mut state = self.state.borrow_mut();
        let Some(link) = state.link(peer.0) else { return Err(io::ErrorKind::ConnectionReset.into()) };
        let part = bytes.min(link.to_peer.arrived.len());
        if part > 0 {
            return Ok(Received::Bytes(link.to_peer.arrived.drain(..part).collect()));
        }
        if link.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(if link.to_peer.ended { Received::End } else { Received::Blocked })
    }

    /// Finishes sending.
    pub fn finish(&self, peer: PeerId) {
        self.state.borrow_mut().end(peer.0, false);
    }

    /// Breaks the stream.
    pub fn reset(&self, peer: PeerId) {
        if let Some(link) = self.state.borrow_mut().links.get_mut(peer.0) {
            link.reset = true;
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("seed", &self.state.borrow().choices.seed()).finish_non_exhaustive()
    }
}
