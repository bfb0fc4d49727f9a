//! Datagrams of the simulated network: each on its own, late, lost or doubled as the faults say.

use std::net::SocketAddr;

use super::network::{Fault, Network, Port, State};

/// What is under way to and from one port.
#[derive(Default)]
pub(super) struct Datagrams {
    to_server: Vec<Datagram>,
    to_peers: Vec<Datagram>,
}

/// One datagram.
#[derive(Clone)]
struct Datagram {
    arrival_ms: u64,
    /// The peer that it is from or for.
    peer: SocketAddr,
    bytes: Vec<u8>,
}

impl Datagrams {
    /// When each of them arrives.
    pub(super) fn times_ms(&self) -> impl Iterator<Item = u64> {
        self.to_server.iter().chain(&self.to_peers).map(|datagram| datagram.arrival_ms)
    }
}

impl State {
    /// Whether a datagram waits to be received.
    pub(super) fn has_datagrams(&self, port: usize) -> bool {
        self.datagrams[port].to_server.iter().any(|datagram| datagram.arrival_ms <= self.now_ms())
    }

    /// The first of those that have arrived, cut to the space there is.
    pub(super) fn receive_datagram(&mut self, port: usize, space: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let now_ms = self.now_ms();
        let datagram = take(&mut self.datagrams[port].to_server, |datagram| datagram.arrival_ms <= now_ms)?;
        let len = datagram.bytes.len().min(space.len());
        space[..len].copy_from_slice(&datagram.bytes[..len]);
        Some((len, datagram.peer))
    }

    /// Sends a datagram to a peer.
    pub(super) fn send_datagram(&mut self, port: usize, bytes: &[u8], to: SocketAddr) {
        self.activity += 1;
        for datagram in self.dispatch(bytes, to) {
            self.datagrams[port].to_peers.push(datagram);
        }
    }

    /// What becomes of a datagram on its way: nothing, itself, or two of it.
    fn dispatch(&mut self, bytes: &[u8], peer: SocketAddr) -> Vec<Datagram> {
        let lost = self.happens(Fault::LostDatagram);
        let doubled = self.happens(Fault::DoubledDatagram);
        let copies = usize::from(!lost) + usize::from(!lost && doubled);
        (0..copies).map(|_| Datagram { arrival_ms: self.arrival_ms(), peer, bytes: bytes.to_vec() }).collect()
    }
}

impl Network {
    /// A new port for datagrams.
    #[must_use]
    pub fn datagram_port(&self) -> Port {
        let mut state = self.state.borrow_mut();
        state.datagrams.push(Datagrams::default());
        Port { number: state.datagrams.len() - 1, takes_datagrams: true }
    }

    /// Sends a datagram from a peer of this address to a port.
    pub fn send_datagram(&self, port: Port, from: SocketAddr, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let dispatched = state.dispatch(bytes, from);
        state.datagrams[port.number].to_server.extend(dispatched);
    }

    /// The next datagram from a port that has arrived at the peer of this address.
    #[must_use]
    pub fn receive_datagram(&self, port: Port, at: SocketAddr) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let now_ms = state.now_ms();
        let arrived = |datagram: &Datagram| datagram.peer == at && datagram.arrival_ms <= now_ms;
        take(&mut state.datagrams[port.number].to_peers, arrived).map(|datagram| datagram.bytes)
    }
}

/// Takes the earliest of those that `which` is true of.
fn take(datagrams: &mut Vec<Datagram>, which: impl Fn(&Datagram) -> bool) -> Option<Datagram> {
    let found = (0..datagrams.len()).filter(|&place| which(&datagrams[place]));
    let earliest = found.min_by_key(|&place| datagrams[place].arrival_ms)?;
    Some(datagrams.remove(earliest))
}
