//! A driver on a network that exists in memory only, in virtual time.
//!
//! The same seed gives the same bytes, cut in the same places, at the same times. [`Faults`] say how unkind the network
//! is: what the contract allows a driver to do, this one does, more often than a kernel would.

mod network;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_base::Now;
use mm_base::buffer::Output;
use mm_base::slab::{Key, Slab};

use super::inbox::Inbox;
use super::{Address, Driver, Event, Kind, Owner, Received, Sent, SourceId, Span, Waker};
use crate::limits::{EVENTS_MAX, GATHER_MAX};

pub use network::{Faults, Network, PeerId, Port};
use network::{Link, State};

/// One shard's end of a simulated [`Network`].
pub struct SimDriver {
    network: Network,
    sources: Slab<Source>,
    inbox: Inbox,
    woken: Arc<AtomicBool>,
    alone: bool,
}

/// The near end of a stream that has been accepted.
#[derive(Debug)]
pub struct SimSocket(Key);

#[derive(Debug)]
struct Source {
    of: Of,
    owner: Owner,
    readable: bool,
    blocked: bool,
    /// Bytes or connections that had arrived when the last event was made.
    announced: u64,
    /// The end or a reset has been announced.
    hung_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Port(usize),
    Stream(Key),
}

impl SimDriver {
    fn new(network: Network, alone: bool) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        Self { network, sources: Slab::new(), inbox: Inbox::new(), woken, alone }
    }

    /// Finds out what has become possible since the last time, looking from a random place on.
    fn collect(&mut self, events: &mut Vec<Event>) {
        let Self { network, sources, .. } = self;
        let mut state = network.state.borrow_mut();
        let places = sources.places();
        let first = state.choices.index(places);
        let spurious = state.happens(|faults| faults.spurious_events).then(|| state.choices.index(places));
        for place in (first..places).chain(0..first) {
            if events.len() >= EVENTS_MAX {
                return;
            }
            let Some(key) = sources.key_at(place) else { continue };
            let Some(source) = sources.get_mut(key) else { continue };
            let (mut readable, mut writable) = source.edges(&mut state);
            if spurious == Some(place) {
                (readable, writable) = (true, true);
            }
            source.readable |= readable;
            source.blocked &= !writable;
            if readable || writable {
                state.activity += 1;
                events.push(Event { source: SourceId(key), owner: source.owner, readable, writable });
            }
        }
    }

    /// The stream of a source, and the network it is in.
    fn stream(&self, id: SourceId) -> io::Result<Key> {
        match self.sources.get(id.0) {
            Some(Source { of: Of::Stream(key), .. }) => Ok(*key),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn add(&mut self, of: Of, owner: Owner) -> io::Result<SourceId> {
        let source = Source { of, owner, readable: false, blocked: false, announced: 0, hung_up: false };
        self.sources.insert(source).map(SourceId).map_err(|_source| io::ErrorKind::OutOfMemory.into())
    }

    fn receive_part(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        let key = self.stream(stream)?;
        let Some(source) = self.sources.get_mut(stream.0) else { return Ok(Received::Blocked) };
        if !source.readable {
            return Ok(Received::Blocked);
        }
        let mut state = self.network.state.borrow_mut();
        let short = state.happens(|faults| faults.short_receives);
        let cut = state.choices.next_u64();
        let link = state.link(key).filter(|link| !link.reset).ok_or(io::ErrorKind::ConnectionReset)?;
        let there = space.len().min(link.to_server.arrived.len());
        if there == 0 {
            source.readable = link.to_server.ended;
            return Ok(if link.to_server.ended { Received::End } else { Received::Blocked });
        }
        let there_u64 = u64::try_from(there).unwrap_or(u64::MAX);
        let part = if short { 1 + usize::try_from(cut % there_u64).unwrap_or(0) } else { there };
        for (place, byte) in space.iter_mut().zip(link.to_server.arrived.drain(..part)) {
            *place = byte;
        }
        source.readable = part == space.len() || source.hung_up;
        if !link.to_server.arrived.is_empty() {
            // What was held back arrives, as it were, later.
            source.announced = source.announced.saturating_sub(1);
        }
        Ok(Received::Bytes(part))
    }
}

impl Source {
    /// What has become possible since the last event: to receive or accept, and to send.
    fn edges(&mut self, state: &mut State) -> (bool, bool) {
        match self.of {
            Of::Port(port) => (!self.readable && state.has_arrivals(port), false),
            Of::Stream(key) => {
                let capacity = state.faults.capacity_bytes;
                let Some(link) = state.link(key) else { return (false, false) };
                let Link { to_server, to_peer, reset } = link;
                let over = *reset || to_server.ended;
                let readable = to_server.arrived_total > self.announced || (over && !self.hung_up);
                self.announced = to_server.arrived_total;
                self.hung_up |= over;
                (readable, self.blocked && (*reset || to_peer.room(capacity) > 0))
            }
        }
    }
}

impl Driver for SimDriver {
    type Socket = SimSocket;
    type Listener = Port;

    fn kind(&self) -> Kind {
        Kind::Sim
    }

    fn now(&mut self) -> Now {
        self.network.now()
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Relaxed))
    }

    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        let woken = self.woken.swap(false, Ordering::Relaxed);
        self.collect(events);
        if woken || !self.alone {
            return Ok(());
        }
        let end = timeout_ms.map(|timeout| self.network.now().monotonic_ms.saturating_add(timeout));
        while events.is_empty() {
            let next = [self.network.next_ms(), end].into_iter().flatten().min();
            let Some(next) = next else { return Ok(()) };
            self.network.advance_to(next);
            self.collect(events);
            if Some(next) == end {
                return Ok(());
            }
        }
        Ok(())
    }

    fn add_listener(&mut self, listener: Port, owner: Owner) -> io::Result<SourceId> {
        self.add(Of::Port(listener.0), owner)
    }

    fn accept(&mut self, listener: SourceId) -> io::Result<Option<(SimSocket, Address)>> {
        let Some(Source { of: Of::Port(port), readable, .. }) = self.sources.get_mut(listener.0) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if !*readable {
            return Ok(None);
        }
        let accepted = self.network.state.borrow_mut().accept(*port)?;
        *readable = accepted.is_some();
        Ok(accepted.map(|(key, address)| (SimSocket(key), address)))
    }

    fn add_stream(&mut self, socket: SimSocket, owner: Owner) -> io::Result<SourceId> {
        self.add(Of::Stream(socket.0), owner)
    }

    fn receive(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::empty());
        let received = self.receive_part(stream, inbox.room());
        let received = received.map(|received| received.map(|bytes| inbox.take(bytes)));
        self.inbox = inbox;
        received
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.inbox.bytes(span)
    }

    fn inbox_has_room(&self) -> bool {
        self.inbox.has_room()
    }

    fn clear_inbox(&mut self) {
        self.inbox.clear();
    }

    fn receive_into(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        self.receive_part(stream, space)
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.sources.get(stream.0).is_some_and(|source| source.readable)
    }

    fn send(&mut self, stream: SourceId, output: &mut Output) -> io::Result<Sent> {
        let key = self.stream(stream)?;
        let Some(source) = self.sources.get_mut(stream.0) else { return Ok(Sent::Blocked) };
        let mut state = self.network.state.borrow_mut();
        if state.happens(|faults| faults.resets)
            && let Some(link) = state.link(key)
        {
            link.reset = true;
        }
        if state.link(key).is_none_or(|link| link.reset) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while !output.is_empty() && !source.blocked {
            let mut slices = [IoSlice::new(&[]); GATHER_MAX];
            let count = output.gather(&mut slices);
            let offered = output.gathered_len(GATHER_MAX);
            let mut bytes = Vec::new();
            for slice in &slices[..count] {
                // More than the network ever takes at once need not be copied.
                let part = slice.len().min(state.faults.capacity_bytes.saturating_sub(bytes.len()));
                bytes.extend_from_slice(&slice[..part]);
            }
            let sent = state.send(key, true, &bytes);
            output.advance(sent);
            source.blocked = sent < offered;
        }
        Ok(if output.is_empty() { Sent::All } else { Sent::Blocked })
    }

    fn shutdown_output(&mut self, stream: SourceId) -> io::Result<()> {
        let key = self.stream(stream)?;
        self.network.state.borrow_mut().end(key, true);
        Ok(())
    }

    fn close(&mut self, source: SourceId) {
        let Some(Source { of: Of::Stream(key), .. }) = self.sources.remove(source.0) else { return };
        let mut state = self.network.state.borrow_mut();
        let unread = state.link(key).is_some_and(|link| !link.to_server.arrived.is_empty());
        if unread && let Some(link) = state.link(key) {
            link.reset = true;
        }
        state.end(key, true);
    }

    fn reset(&mut self, stream: SourceId) {
        if let Some(Source { of: Of::Stream(key), .. }) = self.sources.remove(stream.0)
            && let Some(link) = self.network.state.borrow_mut().link(key)
        {
            link.reset = true;
        }
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDriver")
            .field("network", &self.network)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
