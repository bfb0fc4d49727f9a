//! memcached's protocols. Here its text protocols, the classic commands and the meta commands; [`binary`] is the other.
//!
//! [`Parser`] turns a connection's bytes into [`Request`]s, one key or one command at a time. What stands in
//! a line is parsed here; the data block after a storage command's line is the caller's, who takes `bytes`
//! bytes and the two that end them, and then calls the parser again.
//!
//! A line with many keys is never collected: each key is a request of its own, so a line of any length is
//! served with a bounded amount of memory, and can be left off and taken up again after each key.

pub mod admin;
pub mod base64;
pub mod binary;
pub mod datagram;
mod keys;
pub mod limits;
mod line;
pub mod lines;
mod meta;
pub mod number;
mod parser;
mod quick;
mod request;
mod token;
mod write;

#[cfg(any(test, fuzzing, feature = "fuzzing"))]
pub mod fuzzing;

#[cfg(test)]
mod tests;

pub use meta::{Flag, Flags, Options};
pub use parser::{Next, Parsed, Parser};
pub use quick::Quick;
pub use request::{
    Admin, AdminVerb, Arithmetic, Delete, Fetch, Get, Malformed, Meta, MetaVerb, Request, Store, StoreVerb,
    Touch,
};
pub use token::{Tokens, tokens};
pub use write::{META_FRAME_BYTES, VALUE_FRAME_BYTES, Writer, decimal_len, put_meta_value, put_plain_value};
