//! The system calls of the runtime, behind types that own what they return.
//!
//! Everything goes through rustix, whose interface is safe: this crate has no unsafe block for a system call.

pub mod clock;
pub mod socket;
