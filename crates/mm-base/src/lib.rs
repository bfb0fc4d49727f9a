//! Buffers, timer wheel, mailboxes, hashing and scanning shared by every layer.

pub mod buffer;
pub mod choice;
pub mod doorbell;
pub mod mailbox;
mod now;
mod primitive;
pub mod scan;
pub mod slab;
pub mod timer_wheel;
pub mod wake_list;

pub use now::Now;
