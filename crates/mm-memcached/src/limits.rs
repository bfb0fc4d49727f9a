//! The bounds of the service.

use mm_base::buffer::limits::SPARE_MAX;

/// Requests, or keys of one request, that are looked up together.
pub const BATCH_MAX: usize = 24;

/// A value that has not arrived whole is waited for up to this length, and beyond it streamed into the store.
pub const WAIT_MAX_BYTES: usize = 2048;

/// Room for the longest header of a response: a key in base64, and every flag with its number.
pub const HEADER_MAX_BYTES: usize = 1024;

/// Values up to this length are copied into the output. Longer ones are sent from where they lie.
pub const COPY_MAX_BYTES: usize = SPARE_MAX - HEADER_MAX_BYTES;

/// memcached's bytes for an item beside key and value: its header and its CAS. They count for the item size limit,
/// so that what fits there fits here.
pub const ITEM_HEADER_BYTES: usize = 56;

/// The verbosity above which asking for more changes nothing.
pub const VERBOSITY_MAX: u32 = 2;

/// The verbosity from which on requests and responses are shown.
pub const VERBOSITY_ALOUD: u32 = 2;

/// Bytes of a request's or a response's line that are shown.
pub const ALOUD_LINE_BYTES: usize = 1024;

/// Key prefixes that are counted for `stats detail`. Those beyond are not.
pub const PREFIXES_MAX: usize = 4096;

/// Bytes that `stats cachedump` answers at most. memcached's bound.
pub const CACHEDUMP_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Records that one step of background work looks at: it takes 100 us at most (`tests/steps.rs` of mm-store).
pub const BACKGROUND_RECORDS: usize = 24;

/// Ended uploads that are kept for the next ones.
pub const IDLE_UPLOADS_MAX: usize = 16;

/// Records that one step of a dump looks at.
pub const DUMP_RECORDS: usize = 64;

/// Steps of a dump in one run of its connection.
pub const DUMP_STEPS_MAX: usize = 64;

/// Classes of item sizes. memcached's bound.
pub const CLASSES_MAX: usize = 63;

/// Records that a look at the sizes of items takes in altogether, unless there are very many segments.
pub const SURVEY_RECORDS: usize = 64 * 1024;

/// The fewest records of a segment that it takes in.
pub const SURVEY_SEGMENT_MIN: usize = 16;

/// The most.
pub const SURVEY_SEGMENT_MAX: usize = 4096;

/// Records that one step of it looks at.
pub const SURVEY_STEP_RECORDS: usize = 64;

/// Records that it looks at in one run of its connection.
pub const SURVEY_RECORDS_PER_RUN: usize = 4096;

/// Bytes of a reply to a datagram at most. Whoever forges the sender's address has so much, and no more, sent to
/// somebody else.
pub const DATAGRAM_REPLY_MAX_BYTES: usize = 64 * 1024;

/// Connections that may watch at a time. memcached's bound.
pub const WATCHERS_MAX: usize = 20;

/// Bytes of lines that are given to a watcher's output at a time, so that its bound is kept.
pub const WATCH_PIECE_BYTES: usize = 4096;

/// Connections that came and went in one turn that watchers are told of.
pub const CONNECTION_EVENTS_MAX: usize = 1024;

/// How often a shard looks whether other shards have lines for its watchers, in milliseconds.
pub const WATCH_INTERVAL_MS: u64 = 10;

/// How often it is looked, in milliseconds, whether requests can go on that were put off because other shards may be
/// reading all memory.
pub(crate) const PARK_INTERVAL_MS: u64 = 1;

/// How long uploads wait for memory that a thread of the program populates when none comes, in milliseconds, before the
/// shard takes it itself, until some has come. The system needs some milliseconds for a huge page at worst; this is
/// longer only where the thread gets no processor.
pub(crate) const MEMORY_PATIENCE_MS: u64 = 20;

/// So many uploads at most go on together when memory has come: they would be back at once.
pub(crate) const MEMORY_WAKES_MAX: usize = 8;
