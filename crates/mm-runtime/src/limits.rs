//! The bounds of a shard.

use mm_base::buffer::limits::LARGE_BYTES;

/// Events taken from the kernel in one turn. More wait for the next.
pub const EVENTS_MAX: usize = 256;

/// The most bytes that one receive puts into the inbox.
pub const RECEIVE_BYTES_MAX: usize = LARGE_BYTES;

/// Bytes of a driver's inbox, which all that is received in one batch shares. With short requests it holds
/// those of a full batch next to each other, in the processor's second-level cache.
pub const INBOX_BYTES: usize = 256 * 1024;

/// Pieces of output that are gathered into one send.
pub const GATHER_MAX: usize = 64;

/// The longest wait for events: a bound to how late a clock that stood still is noticed.
pub const WAIT_MS_MAX: u64 = 60_000;
