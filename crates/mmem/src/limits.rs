//! Bounds of what can be configured.

/// Most addresses to listen on.
pub(crate) const ENDPOINTS_MAX: usize = 64;
/// Most shards.
pub(crate) const THREADS_MAX: u32 = 256;
/// Most connections: what one process may have open on Linux by default (`fs.nr_open`).
pub(crate) const CONNECTIONS_MAX: i64 = 1 << 20;
/// Longest `--spin`, in microseconds.
pub(crate) const SPIN_US_MAX: i64 = 10_000;
/// Smallest and largest memory limit, in MiB. Below, nothing useful fits beside the index.
pub(crate) const MEMORY_MIB_MIN: u64 = 1;
/// See [`MEMORY_MIB_MIN`].
pub(crate) const MEMORY_MIB_MAX: u64 = 1 << 24;
/// Smallest `-I`, in bytes; memcached's.
pub(crate) const ITEM_SIZE_MIN: u64 = 1024;
/// Largest `-I`, in bytes; memcached's.
pub(crate) const ITEM_SIZE_MAX: u64 = 1 << 30;
/// How long one turn of a shard's service may take before a line on the standard error tells of it, in milliseconds.
/// Far above what the slowest bounded step takes on a slow machine.
pub(crate) const STALL_MS: u32 = 1_000;
/// Descriptors that the program needs besides its connections.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 64;

/// The most KiB that may wait for a watcher, of which there are twenty at most.
pub(crate) const WATCHER_KIB_MAX: u32 = 64 << 10;

/// Pieces of memory that wait to be populated, of 32 MiB at most each.
pub(crate) const POPULATE_QUEUE_MAX: usize = 16;

/// Longest book beside a memory file, in bytes: 16 TiB in segments of 2 MiB are 8 million, of 100 bytes each.
pub(crate) const BOOK_BYTES_MAX: u64 = 1 << 30;

/// How long a new process may take to start, and to take over. Meanwhile the old one serves, but for the second part.
pub(crate) const UPGRADE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
