//! Looking at a simulated network from outside, for what simulations check.

use std::net::{Ipv4Addr, SocketAddr};

use super::network::{Near, Network, PeerId};
use crate::driver::Address;

/// How often each kind of fault has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Receives that returned less than they could.
    pub short_receives: u64,
    /// Sends that took less than they could.
    pub short_sends: u64,
    /// Events without a cause.
    pub spurious_events: u64,
    /// Accepts that failed.
    pub failed_accepts: u64,
    /// Streams that the network has reset.
    pub resets: u64,
    /// Datagrams that were lost.
    pub lost_datagrams: u64,
    /// Datagrams that arrived twice.
    pub doubled_datagrams: u64,
}

/// How far a stream has got, seen from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four things that may each be so or not")]
pub struct Progress {
    /// The server has accepted it.
    pub accepted: bool,
    /// The server has closed it.
    pub closed: bool,
    /// Either end, or the network, has reset it.
    pub reset: bool,
    /// The peer has finished sending, and the server could know.
    pub finished: bool,
    /// Bytes that have arrived at the server and that it has not received.
    pub unreceived: usize,
    /// Bytes that have arrived at the peer and that it has not read.
    pub unread: usize,
    /// Bytes that are under way in either direction.
    pub under_way: usize,
}

impl PeerId {
    /// The address that the server sees: another one for each of the streams that there are at a time.
    #[must_use]
    pub fn address(self) -> Address {
        let number = u16::try_from(self.0.index() % 60_000).unwrap_or(0);
        Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))
    }
}

impl Network {
    /// How often each kind of fault has happened.
    #[must_use]
    pub fn happened(&self) -> Happened {
        self.state.borrow().happened
    }

    /// How far a stream has got. `None`: it has been released, and the server has closed it.
    #[must_use]
    pub fn progress(&self, peer: PeerId) -> Option<Progress> {
        let mut state = self.state.borrow_mut();
        let link = state.link(peer.0)?;
        Some(Progress {
            accepted: link.near != Near::Waiting,
            closed: link.near == Near::Closed,
            reset: link.reset,
            finished: link.to_server.ended,
            unreceived: link.to_server.arrived.len(),
            unread: link.to_peer.arrived.len(),
            under_way: link.to_server.under_way_bytes + link.to_peer.under_way_bytes,
        })
    }

    /// Streams that the server has accepted and not closed: what would be its descriptors.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        let state = self.state.borrow();
        state.links.iter().filter(|(_, link)| link.near == Near::Accepted).count()
    }

    /// Resets the stream, unless the server has closed it, and forgets it: the peer is not to be used again.
    pub fn release(&self, peer: PeerId) {
        let mut state = self.state.borrow_mut();
        let Some(link) = state.links.get_mut(peer.0) else { return };
        link.reset = true;
        link.far_closed = true;
        if link.near == Near::Closed {
            state.links.remove(peer.0);
        }
    }

    /// Sets the wall clock forward, or back. The monotonic clock goes on as it did.
    pub fn step_clock(&self, seconds: i64) {
        self.state.borrow_mut().clock_offset_s += seconds;
    }
}
