//! Sockets on their way from the shard that accepted or served them to the one that is to serve them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_runtime::driver::Address;

use crate::Luggage;
use crate::hand_over::Packed;
use crate::origin::Origin;

/// A connection to be served.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    pub(crate) socket: T,
    pub(crate) peer: Address,
    /// With whose others it has been counted, if it has.
    pub(crate) origin: Option<Origin>,
    /// Through which listener it came.
    pub(crate) listener: usize,
    /// What its service knew of it, if it has been served before.
    pub(crate) luggage: Option<Luggage>,
    /// Where it was, if it has been served before.
    pub(crate) packed: Option<Box<Packed>>,
}

impl<T> Arrival<T> {
    /// A connection that has come through this listener.
    pub(crate) fn new(socket: T, peer: Address, listener: usize) -> Self {
        Self { socket, peer, origin: None, listener, luggage: None, packed: None }
    }
}

/// One inbox per shard. What is in them has been counted against the limit of connections, which bounds them.
///
/// A lock is taken once per connection that changes shards, and once per turn of a shard that has been woken
/// for one; requests never come here.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    inboxes: Box<[Mutex<VecDeque<Arrival<T>>>]>,
    /// Connections that leave the server.
    leaving: Mutex<Vec<Arrival<T>>>,
}

impl<T> Exchange<T> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { inboxes: (0..shards).map(|_| Mutex::default()).collect(), leaving: Mutex::default() }
    }

    fn inbox(&self, shard: usize) -> MutexGuard<'_, VecDeque<Arrival<T>>> {
        self.inboxes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a connection for a shard, which is then to be woken.
    pub(crate) fn give(&self, shard: usize, arrival: Arrival<T>) {
        self.inbox(shard).push_back(arrival);
    }

    /// Leaves a connection for another server.
    pub(crate) fn send_off(&self, leaving: Arrival<T>) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).push(leaving);
    }

    /// The connections that were to leave the server, which stays.
    pub(crate) fn take_back(&self) -> Vec<Arrival<T>> {
        std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All connections that leave the server, those that no shard has taken up among them.
    pub(crate) fn take_leaving(&self) -> Vec<Arrival<T>> {
        let mut leaving = self.take_back();
        for shard in 0..self.inboxes.len() {
            leaving.extend(self.inbox(shard).drain(..));
        }
        leaving
    }

    /// Whether no connection is left for this shard.
    pub(crate) fn is_empty(&self, shard: usize) -> bool {
        self.inbox(shard).is_empty()
    }

    /// The next connection left for this shard.
    pub(crate) fn take(&self, shard: usize) -> Option<Arrival<T>> {
        self.inbox(shard).pop_front()
    }
}
