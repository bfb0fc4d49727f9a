//! The connections of a shard, as `stats conns` shows them.

use mm_base::slab::{Key, Slab};
use mm_server::{Address, Peer};

/// Names a connection to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registered(Key);

/// What is known of each connection.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Slab<Entry>,
}

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) address: Address,
    pub(crate) listener: usize,
    /// When it last asked for something, in the store's seconds; 0 for never.
    pub(crate) last_s: u32,
    /// Whether a value is on its way.
    pub(crate) is_storing: bool,
}

impl Registry {
    pub(crate) const fn new() -> Self {
        Self { entries: Slab::new() }
    }

    /// Takes a connection in.
    pub(crate) fn insert(&mut self, peer: &Peer) -> Registered {
        let entry = Entry { address: peer.address, listener: peer.listener, last_s: 0, is_storing: false };
        // A slab that is full keeps nothing of the connection, which then is not shown.
        Registered(self.entries.insert(entry).unwrap_or(Key::reserved(0)))
    }

    /// Notes that a connection was run, and whether a value is on its way.
    #[inline]
    pub(crate) fn note(&mut self, connection: Registered, now_s: u32, is_storing: bool) {
        if let Some(entry) = self.entries.get_mut(connection.0) {
            entry.last_s = now_s;
            entry.is_storing = is_storing;
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, connection: Registered) {
        self.entries.remove(connection.0);
    }

    /// All connections with a number for each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.index(), entry))
    }

    /// The number of a connection.
    pub(crate) fn number(connection: Registered) -> usize {
        connection.0.index()
    }
}
