//! The connections of all shards, as `stats conns` shows them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mm_base::slab::{Key, Slab};
use mm_server::{Address, Peer};

/// The numbers of connections begin here, as if they were descriptors.
const FIRST_NUMBER: usize = 32;

/// A connection of the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    key: Key,
    /// The shard that it came to, which need not be the one that it is served by.
    shard: usize,
    /// The number that stands for it in statistics and in the lines of watchers.
    pub(crate) number: usize,
    /// `None` where it is not in the registry.
    seen: Option<Arc<Seen>>,
}

/// When a connection last asked for something, or else when it came, in the store's seconds, and above them whether a
/// value is on its way; 0 where it has come in this turn. Its shard changes it without a lock, every shard may read it.
#[derive(Debug, Default)]
struct Seen(AtomicU32);

const STORING: u32 = 1 << 31;

/// What is known of each connection.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Mutex<Slab<Entry>>]>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    listener: usize,
    seen: Arc<Seen>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: usize,
    pub(crate) address: Address,
    pub(crate) listener: usize,
    /// When it last asked for something, or else when it came, in the store's seconds; 0 for in this turn.
    pub(crate) last_s: u32,
    /// Whether a value is on its way.
    pub(crate) is_storing: bool,
}

/// Where a walk over all connections stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    shard: usize,
    index: usize,
}

impl Registry {
    /// A registry for so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| Mutex::new(Slab::new())).collect() }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Slab<Entry>> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self, shard: usize, key: Key) -> usize {
        FIRST_NUMBER + key.index() * self.shards.len() + shard
    }

    /// Takes a connection of a shard in. That of a datagram ends before anybody can see it, and is left out.
    pub(crate) fn insert(&self, shard: usize, peer: &Peer) -> Registered {
        if peer.is_datagram {
            return Registered { key: Key::reserved(0), shard, number: 0, seen: None };
        }
        let seen = Arc::new(Seen::default());
        let entry = Entry { address: peer.address, listener: peer.listener, seen: Arc::clone(&seen) };
        // A slab that is full keeps nothing of the connection, which then is not shown.
        let key = self.lock(shard).insert(entry).unwrap_or(Key::reserved(0));
        Registered { key, shard, number: self.number(shard, key), seen: Some(seen) }
    }

    /// A connection is served by another shard from now on, which notes in memory of its own when it was last seen: two
    /// shards that write to one cache line wait for each other.
    pub(crate) fn adopt(&self, mut connection: Registered) -> Registered {
        if let Some(seen) = &mut connection.seen {
            let own = Arc::new(Seen(AtomicU32::new(seen.0.load(Ordering::Relaxed))));
            if let Some(entry) = self.lock(connection.shard).get_mut(connection.key) {
                entry.seen = Arc::clone(&own);
            }
            *seen = own;
        }
        connection
    }

    /// Forgets a connection, and returns its address.
    pub(crate) fn remove(&self, connection: &Registered) -> Option<Address> {
        connection.seen.as_ref()?;
        self.lock(connection.shard).remove(connection.key).map(|entry| entry.address)
    }

    /// The next few connections from `place` on, and where those after them begin; `None` at the end.
    pub(crate) fn next_few(&self, place: Place, each: &mut impl FnMut(Known)) -> Option<Place> {
        const FEW: usize = 32;
        let Place { shard, index } = place;
        if shard >= self.shards.len() {
            return None;
        }
        let slab = self.lock(shard);
        let end = slab.places().min(index + FEW);
        for key in (index..end).filter_map(|index| slab.key_at(index)) {
            if let Some(entry) = slab.get(key) {
                let seen = entry.seen.0.load(Ordering::Relaxed);
                each(Known {
                    number: self.number(shard, key),
                    address: entry.address,
                    listener: entry.listener,
                    last_s: seen & !STORING,
                    is_storing: seen & STORING != 0,
                });
            }
        }
        let is_done = end == slab.places();
        Some(if is_done { Place { shard: shard + 1, index: 0 } } else { Place { shard, index: end } })
    }
}

/// Connections of a shard that have come in this turn. What the time is, it is told at the turn's end.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(Vec<Arc<Seen>>);

impl Newcomers {
    pub(crate) fn add(&mut self, connection: &Registered) {
        self.0.extend(connection.seen.clone());
    }

    /// Notes when those have come that have not asked for anything yet.
    pub(crate) fn note(&mut self, now_s: u32) {
        for seen in self.0.drain(..) {
            if seen.0.load(Ordering::Relaxed) == 0 {
                seen.0.store(now_s & !STORING, Ordering::Relaxed);
            }
        }
    }
}

impl Registered {
    /// Notes that the connection was run, and whether a value is on its way.
    #[inline]
    pub(crate) fn note(&self, now_s: u32, is_storing: bool) {
        if let Some(seen) = &self.seen {
            seen.0.store(now_s & !STORING | if is_storing { STORING } else { 0 }, Ordering::Relaxed);
        }
    }
}
