//! Shards, tasks, timers, drivers and sockets.

pub mod driver;
pub mod executor;
pub mod limits;
pub mod net;
pub mod offload;
mod runtime;
pub mod shard;
pub mod shards;
pub mod stall;
pub mod sync;
pub mod sys;
pub mod task;
pub mod timers;

pub use runtime::{Runtime, block_on};
