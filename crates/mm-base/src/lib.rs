//! Buffers, timer wheel, mailboxes, hashing and scanning shared by every layer.

pub mod buffer;
pub mod canary;
pub mod choice;
pub mod doorbell;
pub mod gap;
pub mod mailbox;
pub mod marks;
mod now;
mod primitive;
pub mod scan;
pub mod short;
pub mod slab;
pub mod timer_wheel;
pub mod wake_list;

pub use now::Now;
