//! The bounds of a server that no configuration changes.

use mm_base::buffer::limits::LARGE_BYTES;

/// The most bytes of input that a service is given at once. A request (or the part of one that must be seen in one
/// piece) that is longer ends its connection: the service should have answered or consumed a part before.
pub const INPUT_BYTES_MAX: usize = LARGE_BYTES;

/// How often a service may in a row ask to be run or filled without taking or giving a byte before its connection is
/// closed as faulty.
pub const IDLE_RUNS_MAX: usize = 8;

/// Wakes that a shard queues between two turns. Past it every connection is run once instead.
pub const WAKES_MAX: usize = 64 * 1024;
