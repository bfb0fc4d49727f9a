//! Sockets on their way from the shard that accepted or served them to the one that is to serve them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_runtime::driver::Address;

use crate::Luggage;
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
}

/// One inbox per shard. What is in them has been counted against the limit of connections, which bounds them.
///
/// A lock is taken once per connection that changes shards, and once per turn of a shard that has been woken
/// for one; requests never come here.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    inboxes: Box<[Mutex<VecDeque<Arrival<T>>>]>,
}

impl<T> Exchange<T> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { inboxes: (0..shards).map(|_| Mutex::default()).collect() }
    }

    fn inbox(&self, shard: usize) -> MutexGuard<'_, VecDeque<Arrival<T>>> {
        self.inboxes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a connection for a shard, which is then to be woken.
    pub(crate) fn give(&self, shard: usize, arrival: Arrival<T>) {
        self.inbox(shard).push_back(arrival);
    }

    /// The next connection left for this shard.
    pub(crate) fn take(&self, shard: usize) -> Option<Arrival<T>> {
        self.inbox(shard).pop_front()
    }
}
