//! Shards, tasks, timers, drivers and sockets.

pub mod driver;
pub mod limits;
pub mod shard;
pub mod sys;
