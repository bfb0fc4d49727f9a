//! Counters and sizes of a store.

/// Counters count from the start or the last reset; sizes are what is there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items in the index; some of them may be expired.
    pub items: u64,
    /// Bytes of keys and values of these items.
    pub item_bytes: u64,
    /// The memory limit in bytes.
    pub limit_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Buckets of the index, of nine slots each.
    pub index_buckets: u64,
    /// Bytes of the ghosts.
    pub ghost_bytes: u64,
    /// Whether the index is growing or shrinking.
    pub index_moving: bool,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Segments that have memory.
    pub segments: u64,
    /// Segments that have memory and no records.
    pub segments_free: u64,
    /// Value ranges pinned by outputs.
    pub pins: u64,
    /// Items stored.
    pub stored: u64,
    /// Items evicted to make room.
    pub evicted: u64,
    /// Items evicted that nobody had read.
    pub evicted_unfetched: u64,
    /// Items evicted that were read since they were stored.
    pub evicted_fetched: u64,
    /// Of these, items that were read more than once since they were stored or last decided upon.
    pub evicted_active: u64,
    /// Items evicted though they would have expired some time later.
    pub evicted_with_expiry: u64,
    /// Seconds that the item evicted last had not been read or stored; 0 where none was evicted.
    pub evicted_age_s: u64,
    /// Items removed because they had expired or were flushed.
    pub reclaimed: u64,
    /// Of these, items that the search for expired ones found, and not a request or the emptying of their segment.
    pub reclaimed_by_search: u64,
    /// Of all reclaimed, items that had expired and that a request for their key found.
    pub met_expired: u64,
    /// Of all reclaimed, items that were flushed and that a request for their key found.
    pub met_flushed: u64,
    /// Of all reclaimed, items that nobody had read.
    pub expired_unfetched: u64,
    /// Records (items, and extents of long values) copied to another segment so that theirs could be reused.
    pub moved: u64,
    /// Bytes of these records.
    pub moved_bytes: u64,
    /// Records looked at because their segment is emptied or searched for expired items.
    pub examined: u64,
    /// Segments looked at for one to empty or to search.
    pub segments_examined: u64,
    /// Buckets of the index moved because it grows or shrinks.
    pub buckets_moved: u64,
    /// Segments emptied and used again.
    pub segments_reused: u64,
    /// Stores refused for want of memory.
    pub refused: u64,
    /// Times that a store had to wait for memory which another shard might still be reading.
    pub waited: u64,
}

impl Stats {
    /// These counters less those of an earlier time; sizes stay.
    pub(crate) const fn since(self, earlier: &Self) -> Self {
        Self {
            stored: self.stored.wrapping_sub(earlier.stored),
            evicted: self.evicted.wrapping_sub(earlier.evicted),
            evicted_unfetched: self.evicted_unfetched.wrapping_sub(earlier.evicted_unfetched),
            evicted_fetched: self.evicted_fetched.wrapping_sub(earlier.evicted_fetched),
            evicted_active: self.evicted_active.wrapping_sub(earlier.evicted_active),
            evicted_with_expiry: self.evicted_with_expiry.wrapping_sub(earlier.evicted_with_expiry),
            reclaimed: self.reclaimed.wrapping_sub(earlier.reclaimed),
            reclaimed_by_search: self.reclaimed_by_search.wrapping_sub(earlier.reclaimed_by_search),
            met_expired: self.met_expired.wrapping_sub(earlier.met_expired),
            met_flushed: self.met_flushed.wrapping_sub(earlier.met_flushed),
            expired_unfetched: self.expired_unfetched.wrapping_sub(earlier.expired_unfetched),
            moved: self.moved.wrapping_sub(earlier.moved),
            moved_bytes: self.moved_bytes.wrapping_sub(earlier.moved_bytes),
            examined: self.examined.wrapping_sub(earlier.examined),
            segments_examined: self.segments_examined.wrapping_sub(earlier.segments_examined),
            buckets_moved: self.buckets_moved.wrapping_sub(earlier.buckets_moved),
            segments_reused: self.segments_reused.wrapping_sub(earlier.segments_reused),
            refused: self.refused.wrapping_sub(earlier.refused),
            waited: self.waited.wrapping_sub(earlier.waited),
            ..self
        }
    }
}
