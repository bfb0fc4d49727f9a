//! The bounds of a server that no configuration changes.

use mm_base::buffer::limits::LARGE_BYTES;

/// The most bytes of input that a service is given at once. A request (or the part of one that must be seen
/// in one piece) that is longer ends its connection: the service should have answered or consumed a part
/// before.
pub const INPUT_BYTES_MAX: usize = LARGE_BYTES;

/// How often a service may in a row ask to be run or filled without taking or giving a byte before its
/// connection is closed as faulty.
pub const IDLE_RUNS_MAX: usize = 8;

/// Wakes that a shard queues between two turns. Past it every connection is run once instead.
pub const WAKES_MAX: usize = 64 * 1024;

/// Connections that go through the stages of a turn together.
pub const BATCH_MAX: usize = 64;

/// Connections served in one turn. Others that are ready wait for the next, behind timers and tasks.
pub const CONNECTIONS_PER_TURN_MAX: usize = 512;

/// Connections accepted from one listener in one turn.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Datagrams received from one socket in one turn.
pub const DATAGRAMS_PER_TURN_MAX: usize = 64;

/// The longest datagram there is. What were longer would be cut.
pub const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Bytes that one connection may receive into a service's space in one turn: some tens of microseconds, so that
/// others do not wait for a large value.
pub const SPACE_BYTES_PER_TURN_MAX: usize = 128 * 1024;

/// Spaces of a service that one connection may fill in one turn: what is short costs the service much, as room in a
/// store among small items does.
pub const SPACES_PER_TURN_MAX: usize = 32;

/// An output of at most this many bytes is sent in one turn: values of a megabyte go out whole, for shares of 128 KiB,
/// each of which wakes their reader, cost half as much processor time again.
pub const SEND_WHOLE_BYTES_MAX: usize = 1 << 20;

/// Bytes that are sent in one turn to a connection that is owed more than [`SEND_WHOLE_BYTES_MAX`], for a socket's
/// buffer takes megabytes: some 200 us, which nobody waits for while no other connection is served.
pub const SEND_BYTES_PER_TURN_MAX: usize = 512 * 1024;

/// The same while others are served, which wait for it: gets have a p99 of 1.4 times the quiet one beside an answer of
/// a gigabyte, and 2.0 times with the larger share, which costs a third less processor time.
pub const SEND_BYTES_AMONG_OTHERS_MAX: usize = 256 * 1024;

/// How long a shard counts as serving others after it has, in milliseconds.
pub const OTHERS_MS: u64 = 100;

/// How long accepting is suspended, in milliseconds, when descriptors or memory have run out.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// How often, in milliseconds, a shard that has nothing else to do looks whether all of its output is the kernel's.
pub const UNSENT_LOOK_MS: u64 = 10;

/// Receives whose bytes are dropped in one turn of a connection that has ended.
pub const DISCARDS_PER_TURN_MAX: usize = 16;

/// Output queues that a shard keeps for connections that are going to answer.
pub const OUTPUTS_KEPT_MAX: usize = 2 * BATCH_MAX;

/// The memory of more places than these in the table of handlers' connections is given back when it becomes empty.
pub const PLACES_KEPT: usize = 1024;

/// Places of the connection table that one turn looks at for time-outs.
pub const SWEEP_PLACES_PER_TURN_MAX: usize = 1024;

/// The longest time between two sweeps for time-outs, in milliseconds; a quarter of the shortest time-out if
/// that is less.
pub const SWEEP_MS_MAX: u64 = 1000;

/// When connection memory is used up: how long the slowest reader may have taken nothing before it is closed
/// for it.
pub const STARVED_MS: u64 = 100;

/// How far a connection must be behind the slowest pace before it is closed because what it has begun to send holds
/// memory that others need: for so long nothing came, or too little for longer. Longer than the pauses of a slow
/// network.
pub const STALLED_MS: u64 = 1000;

/// The slowest pace, in bytes a millisecond: 15 KiB a second, a hundredth of a slow network.
pub const PACE_BYTES_PER_MS: u64 = 16;

/// How often the watch for stalls looks, per limit that a stall has.
pub const STALL_LOOKS: u32 = 2;

/// Connections of one shard that a dump shows.
pub const DUMP_CONNECTIONS_MAX: usize = 256;

/// How long a stop waits for handlers that have been told to end at once, in milliseconds.
pub const ENDING_MS: u64 = 1000;

/// How often a shard compares its load with that of the others, in milliseconds.
pub const BALANCE_MS: u64 = 1000;

/// A shard that has run less than so many times between two looks is not busy enough to be relieved.
pub const BALANCE_RUNS_MIN: u64 = 1000;

/// The load is uneven when one shard runs at least so many times as often as another.
pub const UNEVEN_RATIO: u64 = 2;

/// Connections are moved when so many looks in a row have found the load uneven.
pub const UNEVEN_LOOKS: u32 = 2;

/// Connections that one shard moves at a time.
pub const MOVES_MAX: usize = 16;

/// Turns in which a connection that is to move is looked at; if it was busy in all of them, it stays.
pub const MOVE_TURNS_MAX: u32 = 16;

/// Turns that a hand-over takes at least, however little time it is given: a driver may need some to let go of what is
/// not busy.
pub const HAND_OVER_TURNS_MIN: u32 = 8;

/// Bytes that one turn of a hand-over copies, which lie where this server only can read them: some milliseconds, since
/// the memory that they are copied to is new.
pub const CARRIED_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Connections that are far behind with reading may take along one part in so many of what a shard's connections may
/// hold in buffers. All connections together may take along the whole.
pub const CARRIED_LONG_SHARE: usize = 2;

/// How long a service whose background work has panicked is left without it, in milliseconds.
pub const BACKGROUND_PAUSE_MS: u64 = 1000;

/// How long nothing is said of further faults of a shard's service once one has been told of, in milliseconds.
pub const FAULT_PAUSE_MS: u64 = 1000;

/// Descriptors in one message between two processes: Linux allows 253, and OpenBSD what fits into 2 KiB at 16 bytes
/// each.
pub(crate) const DESCRIPTORS_PER_MESSAGE_MAX: usize = 64;

/// Descriptors that a message may bring: a process of another version may send more in one.
pub(crate) const DESCRIPTORS_TAKEN_MAX: usize = 128;

/// What one process hands to the next at most: descriptors, and bytes beside them (the input and output of all
/// connections, and what is known of the memory).
pub(crate) const PACKAGE_DESCRIPTORS_MAX: usize = 1 << 21;
/// See [`PACKAGE_DESCRIPTORS_MAX`].
pub(crate) const PACKAGE_BYTES_MAX: usize = 1 << 30;
