//! A driver on a network that exists in memory only, in virtual time.
//!
//! The same seed gives the same bytes, cut in the same places, at the same times. [`Faults`] say how unkind the network
//! is: what the contract allows a driver to do, this one does, more often than a kernel would.

mod datagrams;
mod network;
mod observe;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_base::Now;
use mm_base::slab::Key;
use rustix::io::Errno;

use super::readiness::{Kernel, News, Outlook, ReadinessDriver, Role, Source, Table};
use super::{Address, Event, Kind, Unsent, Waker};
use crate::limits::{EVENTS_MAX, GATHER_MAX};

use network::{Fault, Link, State};
pub use network::{Faults, Network, PeerId, Port};
pub use observe::{Happened, Progress};

/// One shard's end of a simulated [`Network`].
pub type SimDriver = ReadinessDriver<SimKernel>;

/// What takes the place of an operating system.
pub struct SimKernel {
    network: Network,
    /// Events found by [`SimDriver::is_ready`] that no wait has told yet.
    early: Vec<Event>,
    woken: Arc<AtomicBool>,
    alone: bool,
}

/// The near end of a stream that has been accepted.
#[derive(Debug)]
pub struct SimSocket(Key);

/// What a simulated source is made of.
#[derive(Debug)]
pub struct SimHandle {
    of: Of,
    /// Bytes or connections that had arrived when the last event was made.
    announced: u64,
    /// The end or a reset has been announced.
    hung_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Port(usize),
    Datagrams(usize),
    Stream(Key),
}

impl From<SimSocket> for SimHandle {
    fn from(socket: SimSocket) -> Self {
        Self { of: Of::Stream(socket.0), announced: 0, hung_up: false }
    }
}

impl From<Port> for SimHandle {
    fn from(port: Port) -> Self {
        let of = if port.takes_datagrams { Of::Datagrams(port.number) } else { Of::Port(port.number) };
        Self { of, announced: 0, hung_up: false }
    }
}

impl SimHandle {
    /// The stream that it is.
    fn stream(&self) -> Result<Key, Errno> {
        match self.of {
            Of::Stream(key) => Ok(key),
            Of::Port(_) | Of::Datagrams(_) => Err(Errno::NOTCONN),
        }
    }

    /// The port for datagrams that it is.
    fn datagrams(&self) -> Result<usize, Errno> {
        match self.of {
            Of::Datagrams(port) => Ok(port),
            Of::Port(_) | Of::Stream(_) => Err(Errno::INVAL),
        }
    }
}

impl SimDriver {
    /// Whether a wait for events would return at once: something has happened, or the driver has been woken. A shard
    /// for which this is false sleeps.
    pub fn is_ready(&mut self) -> bool {
        let (kernel, table) = self.parts();
        let mut early = std::mem::take(&mut kernel.early);
        if early.is_empty() {
            kernel.collect(table, &mut early);
        }
        kernel.early = early;
        !kernel.early.is_empty() || kernel.woken.load(Ordering::Relaxed)
    }
}

impl SimKernel {
    pub(super) fn new(network: Network, alone: bool) -> Self {
        Self { network, early: Vec::new(), woken: Arc::new(AtomicBool::new(false)), alone }
    }

    /// Finds out what has become possible since the last time, looking from a random place on.
    fn collect(&self, table: &mut Table<SimHandle>, events: &mut Vec<Event>) {
        let mut state = self.network.state.borrow_mut();
        let places = table.places();
        let first = state.choices.index(places);
        let spurious = state.happens(Fault::SpuriousEvent).then(|| state.choices.index(places));
        for place in (first..places).chain(0..first) {
            if events.len() >= EVENTS_MAX {
                return;
            }
            let Some((key, source)) = table.at(place) else { continue };
            let (mut readable, mut writable) = edges(source, &mut state);
            if spurious == Some(place) {
                (readable, writable) = (true, true);
            }
            if readable || writable {
                state.activity += 1;
                let outlook = if source.handle().hung_up { Outlook::HungUp } else { Outlook::Open };
                table.tell(key, News { readable, writable, outlook }, events);
            }
        }
    }
}

/// What has become possible since the last event: to receive or accept, and to send.
fn edges(source: &mut Source<SimHandle>, state: &mut State) -> (bool, bool) {
    let (awaits_input, awaits_room) = (source.awaits_input(), source.awaits_room());
    let handle = source.handle_mut();
    match handle.of {
        Of::Port(port) => (awaits_input && state.has_arrivals(port), false),
        Of::Datagrams(port) => (awaits_input && state.has_datagrams(port), false),
        Of::Stream(key) => {
            let capacity = state.faults.capacity_bytes;
            let Some(link) = state.link(key) else { return (false, false) };
            let Link { to_server, to_peer, reset, .. } = link;
            let over = *reset || to_server.ended;
            let readable = to_server.arrived_total > handle.announced || (over && !handle.hung_up);
            handle.announced = to_server.arrived_total;
            handle.hung_up |= over;
            (readable, awaits_room && (*reset || to_peer.room(capacity) > 0))
        }
    }
}

impl Kernel for SimKernel {
    const KIND: Kind = Kind::Sim;

    type Socket = SimSocket;
    type Listener = Port;
    type Handle = SimHandle;

    fn now(&mut self) -> Now {
        self.network.now()
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Relaxed))
    }

    fn wait(
        &mut self,
        timeout_ms: Option<u64>,
        table: &mut Table<SimHandle>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let woken = self.woken.swap(false, Ordering::Relaxed);
        events.append(&mut self.early);
        self.collect(table, events);
        if woken || !self.alone {
            return Ok(());
        }
        let end = timeout_ms.map(|timeout| self.network.now().monotonic_ms.saturating_add(timeout));
        while events.is_empty() {
            let next = [self.network.next_ms(), end].into_iter().flatten().min();
            let Some(next) = next else { return Ok(()) };
            self.network.advance_to(next);
            self.collect(table, events);
            if Some(next) == end {
                return Ok(());
            }
        }
        Ok(())
    }

    fn watch(&mut self, handle: &SimHandle, _key: Key, _role: Role) -> io::Result<()> {
        if let Of::Port(port) = handle.of {
            self.network.state.borrow_mut().listen(port);
        }
        Ok(())
    }

    fn unwatch(&mut self, _handle: &SimHandle, _key: Key, _role: Role) {}

    fn forget(&mut self, stream: &SimHandle, _key: Key) -> Option<Address> {
        stream.stream().ok().map(|key| PeerId(key).address())
    }

    fn to_socket(&mut self, stream: SimHandle) -> Option<SimSocket> {
        stream.stream().ok().map(SimSocket)
    }

    fn accept(&mut self, listener: &mut SimHandle) -> Result<(SimSocket, Address), Errno> {
        let Of::Port(port) = listener.of else { return Err(Errno::INVAL) };
        let accepted = self.network.state.borrow_mut().accept(port)?;
        accepted.map(|(key, address)| (SimSocket(key), address)).ok_or(Errno::AGAIN)
    }

    fn receive(&mut self, stream: &mut SimHandle, space: &mut [u8]) -> Result<usize, Errno> {
        self.receive_past(stream, space, &mut [])
    }

    fn receive_past(
        &mut self,
        stream: &mut SimHandle,
        space: &mut [u8],
        past: &mut [u8],
    ) -> Result<usize, Errno> {
        let key = stream.stream()?;
        let mut state = self.network.state.borrow_mut();
        let short = state.happens(Fault::ShortReceive);
        let cut = state.choices.next_u64();
        let link = state.link(key).filter(|link| !link.reset).ok_or(Errno::CONNRESET)?;
        let there = (space.len() + past.len()).min(link.to_server.arrived.len());
        if there == 0 {
            return if link.to_server.ended { Ok(0) } else { Err(Errno::AGAIN) };
        }
        let there_u64 = u64::try_from(there).unwrap_or(u64::MAX);
        let part = if short { 1 + usize::try_from(cut % there_u64).unwrap_or(0) } else { there };
        for (place, byte) in space.iter_mut().chain(past).zip(link.to_server.arrived.drain(..part)) {
            *place = byte;
        }
        if !link.to_server.arrived.is_empty() {
            // What was held back arrives, as it were, later.
            stream.announced = stream.announced.saturating_sub(1);
        }
        Ok(part)
    }

    fn send(&mut self, stream: &mut SimHandle, output: &impl Unsent) -> Result<usize, Errno> {
        let key = stream.stream()?;
        let mut state = self.network.state.borrow_mut();
        if state.happens(Fault::Reset)
            && let Some(link) = state.link(key)
        {
            link.reset = true;
        }
        if state.link(key).is_none_or(|link| link.reset) {
            return Err(Errno::PIPE);
        }
        let mut slices = [IoSlice::new(&[]); GATHER_MAX];
        let count = output.gather(&mut slices);
        let mut bytes = Vec::new();
        for slice in &slices[..count] {
            // More than the network ever takes at once need not be copied.
            let part = slice.len().min(state.faults.capacity_bytes.saturating_sub(bytes.len()));
            bytes.extend_from_slice(&slice[..part]);
        }
        match state.send(key, true, &bytes) {
            0 => Err(Errno::AGAIN),
            sent => Ok(sent),
        }
    }

    fn receive_datagram(
        &mut self,
        socket: &mut SimHandle,
        space: &mut [u8],
    ) -> Result<(usize, SocketAddr), Errno> {
        let port = socket.datagrams()?;
        self.network.state.borrow_mut().receive_datagram(port, space).ok_or(Errno::AGAIN)
    }

    fn send_datagram(&mut self, socket: &mut SimHandle, bytes: &[u8], to: SocketAddr) -> Result<(), Errno> {
        let port = socket.datagrams()?;
        self.network.state.borrow_mut().send_datagram(port, bytes, to);
        Ok(())
    }

    fn shutdown_output(&mut self, stream: &mut SimHandle) -> Result<(), Errno> {
        self.network.state.borrow_mut().end(stream.stream()?, true);
        Ok(())
    }

    fn close(&mut self, handle: SimHandle) {
        let mut state = self.network.state.borrow_mut();
        let key = match handle.of {
            Of::Stream(key) => key,
            Of::Port(port) => return state.stop_listening(port),
            Of::Datagrams(_) => return,
        };
        let unread = state.link(key).is_some_and(|link| !link.to_server.arrived.is_empty());
        if unread && let Some(link) = state.link(key) {
            link.reset = true;
        }
        state.end(key, true);
        state.close_near(key);
    }

    fn reset(&mut self, stream: SimHandle) {
        let Of::Stream(key) = stream.of else { return };
        let mut state = self.network.state.borrow_mut();
        if let Some(link) = state.link(key) {
            link.reset = true;
        }
        state.close_near(key);
    }
}

impl fmt::Debug for SimKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimKernel").field("network", &self.network).finish_non_exhaustive()
    }
}
