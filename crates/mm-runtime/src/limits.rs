//! The bounds of a shard.

use mm_base::buffer::limits::LARGE_BYTES;

/// Events taken from the kernel in one turn. More wait for the next.
pub const EVENTS_MAX: usize = 256;

/// Changes to what a kqueue watches that are made together. Further ones are made one by one.
pub const CHANGES_MAX: usize = EVENTS_MAX / 2;

/// The most bytes that one receive puts into the inbox.
pub const RECEIVE_BYTES_MAX: usize = LARGE_BYTES;

/// Bytes of a driver's inbox, which all that is received in one batch shares. With short requests it holds
/// those of a full batch next to each other, in the processor's second-level cache.
pub const INBOX_BYTES: usize = 256 * 1024;

/// Pieces of output that are gathered into one send.
pub const GATHER_MAX: usize = 64;

/// Bytes of the kernel's buffers that a server's socket for datagrams asks for, in each direction.
pub const DATAGRAM_BUFFER_BYTES: usize = 1024 * 1024;
/// What it asks for at least, where the system refuses more.
pub const LEAST_DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// How often the socket of a server is asked before it counts as one that is no more, a millisecond apart: BSDs refuse
/// a connection, as if nobody were there, where a server has a full backlog.
pub const STALE_LOOKS: u32 = if cfg!(target_os = "linux") { 1 } else { 100 };

/// So many other tasks are polled at most while one that is about to answer is held back, for them to receive first.
pub const WRITER_HELD_FOR: u32 = 7;

/// The longest wait for events: a bound to how late a clock that stood still is noticed.
pub const WAIT_MS_MAX: u64 = 60_000;

/// Entries of a ring's submission queue. When it is full, it is submitted in the middle of a turn.
pub const RING_SUBMISSIONS: u32 = 512;

/// Entries of a ring's completion queue. What does not fit waits in the kernel.
pub const RING_COMPLETIONS: u32 = 4096;

/// Buffers that a ring receives into, each of [`RECEIVE_BYTES_MAX`] bytes, which are in memory once they have been
/// used.
pub const RING_RECEIVE_BUFFERS: u16 = 256;

/// How many of them the kernel has at a time, at first. It gets twice as many when that was too few.
pub const RING_WINDOW: u16 = 64;

/// Bytes of output that a ring takes between two waits. What does not fit is sent by calls.
pub const RING_SEND_BYTES: usize = 512 * 1024;

/// The longest output that is copied, to leave with the next wait. Longer ones are sent by a call.
pub const COPY_BYTES_MAX: usize = 4096;

/// Buffers of input that wait in one stream before its receiving is stopped. The kernel may have filled some more by
/// then.
pub const INPUT_BUFFERS_MAX: u16 = 4;

/// Connections that wait in one listener of a ring before its accepting is stopped. The kernel may have accepted some
/// more by then.
pub const ACCEPTED_MAX: usize = 64;

/// Bytes that are received of a request that is expected to have a large value: at least the line or header and the key
/// of common protocols.
pub const HEAD_BYTES: usize = 512;

/// Who has room for as many bytes of input gets it without a copy.
pub const BULK_BYTES: usize = 2 * LARGE_BYTES;

/// How long the last output of a closed stream may take, in milliseconds, when the kernel had no room for it.
pub const LINGER_MS: u64 = 5_000;

/// How often those are looked at, in milliseconds.
pub const LINGER_CHECK_MS: u64 = 500;

/// How many of them there may be; beyond, they are cut off.
pub const LINGERING_MAX: usize = 1024;

/// Unfinished tasks of one shard at which spawning is refused.
pub const TASKS_MAX: usize = 1 << 22;

/// Bytes in memory of finished tasks that a shard keeps for new ones.
pub const TASK_MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// The sizes of memory that is kept go up by this.
pub const TASK_MEMORY_STEP_BYTES: usize = 16;

/// One more than the steps of the largest memory that is kept.
pub const TASK_MEMORY_CLASSES: usize = 128;

/// Armed timers of one shard: one for each task, and as many again for connections.
pub const TIMERS_MAX: usize = 2 * TASKS_MAX;

/// Polls of tasks in one turn.
pub const POLLS_PER_TURN: u32 = 64;

/// Calls of sockets, channels, semaphores, signals and sleeps that need not wait, of all of a task's in one poll of it,
/// before it lets others go on.
pub const CALLS_PER_POLL: u32 = 32;

/// Steps of the timer wheel in one turn.
pub const TIMER_STEPS_PER_TURN: u32 = 256;

/// Of so many polls that had a choice of priorities one goes to a lower one: the lowest that has a ready task and the
/// one below the highest by turns.
pub const LOWER_FIRST_EVERY: u32 = 16;

/// Names of tasks in one process.
pub const NAMES_MAX: usize = 1024;

/// Task-local slots in use in one task.
pub const LOCALS_PER_TASK_MAX: usize = 32;

/// Connections of a task's listener that wait to be accepted.
pub const BACKLOG: u32 = 1024;

/// Bytes that one write of a task's stream queues before it sends.
pub const WRITE_QUEUE_BYTES: usize = 4 * LARGE_BYTES;

/// Output queues that a shard keeps for the streams of tasks that are going to write.
pub const OUTPUTS_KEPT_MAX: usize = 128;

/// Streams of one shard that tasks have left and that still linger.
pub const DISCARDING_MAX: usize = 1024;

/// Bytes that are dropped of what the peer of such a stream still sends.
pub const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// How long a task's read waits, in milliseconds, before it looks again whether there is memory for its buffer.
pub const STARVED_RETRY_MS: u64 = 10;

/// How long a task waits, in milliseconds, before it tries again to send a datagram for which there was no room, where
/// no system tells when there is.
pub const DATAGRAM_RETRY_MS: u64 = 1;

/// Bytes of buffers that the tasks of one shard shall hold together.
pub const TASK_BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// Threads of the process that do offloaded work.
pub const OFFLOAD_THREADS_MAX: usize = 16;

/// Pieces of offloaded work that wait for a thread.
pub const OFFLOAD_QUEUE_MAX: usize = 1024;

/// Pieces of work that wait in one shard's mailbox.
pub const SHARD_MAILBOX_MESSAGES: usize = 1024;

/// Pieces of work from other shards that are begun in one turn.
pub const MESSAGES_PER_TURN: usize = 64;

/// Things of one process that are [`Sharded`](crate::shards::Sharded).
pub const SHARDED_MAX: usize = 4096;
