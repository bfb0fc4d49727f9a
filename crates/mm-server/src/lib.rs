//! Services, listeners and the life cycle of connections.
//!
//! A [`Service`] is a protocol bound to an application: bytes in, bytes out, no sockets. Everything else about a
//! server (listening, accepting, limits, time-outs, flow control, stopping) is this crate's affair, the same for every
//! protocol. [`harness`] runs a service without any I/O, for tests, simulation and fuzzing.

#![forbid(unsafe_code)]

mod connection;
pub mod harness;
pub mod limits;
pub mod process;
mod ready;
mod service;
mod stats;

pub use ready::{Ready, Token};
pub use service::{Address, Background, Peer, Service, Start, Step};
pub use stats::{Counter, Stats};
