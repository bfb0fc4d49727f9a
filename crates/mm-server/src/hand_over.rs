//! Connections and listeners on their way from a server that ends to one that goes on in its place.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use mm_runtime::sys::socket::Listener;

use crate::control::Control;
use crate::exchange::{Arrival, Exchange};
use crate::{Config, Stats};

/// What a server that has ended by [`Stop::HandOver`](crate::Stop::HandOver) leaves for another one, in this process or
/// in the next: [`Server::resume`](crate::Server::resume) goes on with it.
#[derive(Debug, Default)]
pub struct Handed {
    /// The listening sockets, in order. Who connects meanwhile waits in them.
    pub listeners: Vec<Listener>,
    /// The sockets for datagrams, in order.
    pub datagrams: Vec<Listener>,
    /// The connections.
    pub connections: Vec<Carried>,
    /// What its shards have counted: a server of as many, in this process, goes on from there.
    pub counted: Option<Arc<[Stats]>>,
}

/// A connection between two requests.
#[derive(Debug)]
pub struct Carried {
    /// Its socket.
    pub socket: OwnedFd,
    /// Through which listener it came, from nought.
    pub listener: usize,
    /// Where it was; `None` for one that was accepted and not served yet.
    pub packed: Option<Packed>,
}

/// Where a connection was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// What [`Service::pack`](crate::Service::pack) says.
    pub state: Vec<u8>,
    /// Input that has been received and not been consumed.
    pub input: Vec<u8>,
    /// Output that has not been sent.
    pub output: Vec<u8>,
}

/// Gives connections from another server to the shards before any accepts another one, those first that have been
/// served. What comes back is above a limit.
pub(crate) fn take_up<T>(
    mut arrivals: Vec<Arrival<T>>,
    config: &Config,
    control: &Control,
    exchange: &Exchange<T>,
) -> Vec<Arrival<T>> {
    let mut above = Vec::new();
    arrivals.sort_by_key(|arrival| arrival.packed.is_none());
    for mut arrival in arrivals {
        let counted = config.connections_per_address_max.map(|max| control.note(arrival.peer, max));
        let Ok(origin) = counted.unwrap_or(Ok(None)) else {
            above.push(arrival);
            continue;
        };
        if let Some(shard) = control.enter(config.connections_max, 0) {
            arrival.origin = origin;
            exchange.give(shard, arrival);
        } else {
            control.forget(origin);
            above.push(arrival);
        }
    }
    above
}
