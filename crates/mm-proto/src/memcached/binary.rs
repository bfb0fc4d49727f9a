//! memcached's binary protocol: 24 bytes of header, then extras, key and value.
//!
//! [`Parser`] finds the requests; the value of a storage command is the caller's, who takes `bytes` bytes behind the
//! request and then calls the parser again. [`put_head`] begins a response.

mod head;
mod parser;
mod request;

#[cfg(any(test, fuzzing, feature = "fuzzing"))]
pub mod fuzzing;

#[cfg(test)]
mod tests;

pub use head::{Head, RESPONSE_HEAD_BYTES, Response, Status, put_head};
pub use parser::{Next, Parsed, Parser};
pub use request::{Mode, Request, Verb, opcode};

/// The first byte of a request. No text command begins with it.
pub const REQUEST_MAGIC: u8 = 0x80;

/// The first byte of a response.
pub const RESPONSE_MAGIC: u8 = 0x81;

/// The longest body in bytes. Whoever announces more is not in step.
pub const BODY_MAX_BYTES: u32 = 1 << 30;

/// The expiration time of a number that is not to be made where there is none.
pub const DO_NOT_CREATE: u32 = u32::MAX;
