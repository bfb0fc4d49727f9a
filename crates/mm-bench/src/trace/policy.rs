//! Eviction policies behind one trait, and what an item costs each engine beside its key and value.

use super::request::Request;

pub(crate) mod belady;
pub(crate) mod ghost;
pub(crate) mod memcached;
pub(crate) mod oldest;
pub(crate) mod resident;
pub(crate) mod s3fifo;
pub(crate) mod segments;
pub(crate) mod spared;
pub(crate) mod store;
pub(crate) mod wtinylfu;

#[cfg(test)]
mod tests;

/// A cache of limited memory that decides what to keep.
pub(crate) trait Policy {
    /// Reads the object: true for a hit. `at` is the position of the request in its trace.
    fn get(&mut self, at: u32, object: u32) -> bool;

    /// Writes the object, replacing what is there, and evicts until the limit holds.
    fn put(&mut self, at: u32, request: &Request);

    /// Forgets the object, because it was deleted or expired.
    fn remove(&mut self, object: u32);

    /// The object's time is over. The models forget it at once, in their favour.
    fn expire(&mut self, object: u32) {
        self.remove(object);
    }

    /// The trace's time is `now_s` from here on.
    fn advance(&mut self, _now_s: u32) {}

    /// Bytes moved inside the cache to keep items, none for policies that only relink.
    fn copied_bytes(&self) -> u64 {
        0
    }
}

/// What an item takes beside its key and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overhead {
    /// Always.
    pub(crate) item_bytes: u32,
    /// More when it has a time to live.
    pub(crate) ttl_bytes: u32,
}

impl Overhead {
    /// None: every item counts just its bytes.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { item_bytes: 0, ttl_bytes: 0 };

    /// MainMemory's: 7.9 of index, 6 of header, 1.5 of padding, 1.7 of ghosts.
    pub(crate) const MAIN_MEMORY: Self = Self { item_bytes: 17, ttl_bytes: 4 };

    /// What the item of this request takes in all.
    pub(crate) const fn charge(self, request: &Request) -> u32 {
        let ttl_bytes = if request.ttl_s == 0 { 0 } else { self.ttl_bytes };
        request.bytes.saturating_add(self.item_bytes + ttl_bytes)
    }
}
