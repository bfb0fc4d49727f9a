//! Bounds of the store, each with its reason.

/// Longest key in bytes: memcached's limit, and what the length byte of an item can say besides its special values.
pub const KEY_MAX_BYTES: usize = 250;

/// Smallest memory limit in bytes: below it segments would be too few for eviction to choose from.
pub const MIN_LIMIT_BYTES: usize = 1 << 20;

/// From this limit on huge pages are asked for: the last one of a region may be used in part only.
pub(crate) const HUGE_PAGES_FROM_BYTES: usize = 16 << 20;

/// The limit is cut into about this many segments.
pub(crate) const SEGMENTS_PER_LIMIT: usize = 512;

/// Smallest segment in bytes.
pub(crate) const MIN_SEGMENT_BYTES: usize = 16 << 10;

/// Largest segment in bytes: a huge page.
pub(crate) const MAX_SEGMENT_BYTES: usize = 2 << 20;

/// An item record takes at most this share of a segment; what is longer goes on in extents. It bounds what is lost at
/// the end of a segment.
pub(crate) const RECORDS_PER_SEGMENT: usize = 8;

/// Longest value inside an item record: its length has two bytes.
pub(crate) const INLINE_MAX_BYTES: usize = 65_535;

/// Smallest extent in bytes: a shorter rest of a segment is left empty.
pub(crate) const MIN_EXTENT_BYTES: usize = 1 << 10;

/// Smallest number of buckets: a page of them.
pub(crate) const MIN_BUCKETS: usize = 64;

/// The index grows above this load, in percent of its slots.
pub(crate) const INDEX_GROW_LOAD: usize = 91;

/// The index shrinks below this load, in percent of its slots.
pub(crate) const INDEX_SHRINK_LOAD: usize = 75;

/// Segments kept free for the survivors of an eviction.
pub(crate) const RESERVE_SEGMENTS: usize = 2;

/// Records whose index buckets are brought near together while a segment is emptied.
pub(crate) const EVICTION_BATCH: usize = 8;

/// A segment whose live bytes are below this share is compacted before anything is evicted (measured: decision 0002).
pub(crate) const COMPACT_LIVE_PERCENT: usize = 80;

/// The small queue's share of the segments (decision 0002: 3 to 10 percent do equally well).
pub(crate) const SMALL_QUEUE_PERCENT: usize = 10;

/// Reads that an item of mean size needs to go from the small queue to the main one.
pub(crate) const STAY_AFTER_SMALL: u64 = 2;

/// Reads that an item of mean size needs to stay in the main queue for another round.
pub(crate) const STAY_IN_MAIN: u64 = 1;

/// With this many segments to spare or more, writes look again after a quarter of them.
pub(crate) const PACE_SEGMENTS_MAX: usize = 8;

/// Records that one write looks at in the segment being evicted, at least.
pub(crate) const EVICTION_STEP_RECORDS: usize = 8;
