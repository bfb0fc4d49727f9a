//! Buffers, timer wheel, mailboxes, hashing and scanning shared by every layer.

pub mod buffer;
mod now;
pub mod slab;

pub use now::Now;
