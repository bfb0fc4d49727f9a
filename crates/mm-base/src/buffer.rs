//! Memory for bytes on their way in and out: a shard's [`Pool`], its [`Buffer`]s and a connection's
//! [`Output`].
//!
//! A buffer is held only while bytes wait in it. A connection that waits for its peer to say something holds
//! none, so the memory of a server with many idle connections is the memory of its busy ones.

mod output;
mod pinned;
mod pool;

pub use output::Output;
pub use pinned::{PinOwner, Pinned};
pub use pool::{Buffer, Pool, Size};

/// The bounds of this module.
pub mod limits {
    /// Bytes in a small buffer: what a cut request or the rest of a short response needs.
    pub const SMALL_BYTES: usize = 2 * 1024;
    /// Bytes in a large buffer: what one receive or a batch of responses needs.
    pub const LARGE_BYTES: usize = 16 * 1024;
    /// Unused small buffers that a pool keeps; more are given back to the allocator.
    pub const SMALL_FREE_MAX: usize = 256;
    /// Unused large buffers that a pool keeps; more are given back to the allocator.
    pub const LARGE_FREE_MAX: usize = 128;
    /// The most bytes that [`Output::spare`](super::Output::spare) can be asked for.
    pub const SPARE_MAX: usize = LARGE_BYTES;
}
