//! Every bound of the benchmarks in one place.

/// Events taken from the kernel in one wait, unless an experiment says otherwise.
pub(crate) const EVENTS_PER_WAIT: usize = 512;

/// Bytes one read may bring, in the floors' epoll loop.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// Bytes of a cut request (or of its value) that a floor keeps for a connection before it closes it.
pub(crate) const CARRY_BYTES: usize = 4 << 20;

/// From how many bytes on a floor sends an answer from where it is: copying 4 KiB takes no more time that could be told
/// than the kernel takes for one more part of a message; copying 64 KiB takes a tenth of all time.
pub(crate) const SHARED_BYTES: usize = 16 << 10;

/// Bytes of answers that may wait for a slow reader of a floor before its connection is closed.
pub(crate) const PENDING_BYTES: usize = 1 << 30;

/// Connections waiting to be accepted by a floor.
pub(crate) const BACKLOG: i32 = 4_096;

/// Largest value a floor answers with or the load generator asks for.
pub(crate) const VALUE_BYTES: usize = 64 << 20;

/// Submission queue entries of an io_uring server here.
pub(crate) const RING_SUBMISSIONS: u32 = 2_048;

/// Completion queue entries of an io_uring server here.
pub(crate) const RING_COMPLETIONS: u32 = 8_192;

/// Buffers in an io_uring server's ring of receive buffers: a power of two.
pub(crate) const RING_BUFFERS: u16 = 4_096;

/// Bytes in one of those buffers.
pub(crate) const RING_BUFFER_BYTES: u32 = 8_192;
