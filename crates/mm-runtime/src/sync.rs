//! What the tasks of one shard wait for each other by, without locks and atomics, and, in [`cross`], what tasks of
//! different shards do.
//!
//! Across shards there are [`cross::oneshot`] and [`cross::channel`] alone; for the rest, give the work to the shard
//! that has what it needs, by [`submit_to`](crate::shards::Shards::submit_to).
//!
//! Whoever waits is served first-in first-out. Waiting ends early with [`Interrupted`](crate::task::Interrupted) when
//! the task is interrupted, and may be given up at any time by dropping the future: what was meant for it goes to the
//! next. A task that never has to wait lets others go on all the same after
//! [`CALLS_PER_POLL`](crate::limits::CALLS_PER_POLL) calls.

mod barrier;
mod channel;
mod combine;
mod condition;
pub mod cross;
mod notify;
mod oneshot;
mod semaphore;
mod wait;

#[cfg(test)]
mod tests;

pub use barrier::Barrier;
pub use channel::{Receiver, SendError, Sender, TrySendError, channel};
pub use combine::{Either, join, join_all, select, try_join};
pub use condition::Condition;
pub use notify::Notify;
pub use oneshot::{Closed, OneshotReceiver, OneshotSender, oneshot};
pub use semaphore::{OwnedPermit, Permit, Semaphore};
