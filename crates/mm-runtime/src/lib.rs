//! Shards, tasks, timers, drivers and sockets.

pub mod driver;
pub mod executor;
pub mod limits;
pub mod shard;
pub mod stall;
pub mod sync;
pub mod sys;
pub mod task;
pub mod timers;
