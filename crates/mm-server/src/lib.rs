//! Services, listeners and the life cycle of connections.
//!
//! A [`Service`] is a protocol bound to an application: bytes in, bytes out, no sockets. Everything else
//! about a server (listening, accepting, limits, time-outs, flow control, stopping) is this crate's affair,
//! the same for every protocol. [`harness`] runs a service without any I/O, for tests, simulation and
//! fuzzing.

#![forbid(unsafe_code)]

mod config;
mod connection;
mod control;
pub mod datagrams;
mod engine;
mod exchange;
pub mod harness;
pub mod limits;
pub mod process;
mod ready;
mod server;
mod service;
mod signals;
pub mod simulation;
mod stats;

pub use config::{Config, DriverChoice};
pub use control::{Handle, Stop};
pub use mm_runtime::driver::Address;
pub use mm_runtime::sys::socket::{ListenAddress, StreamOptions};
pub use ready::{Ready, Token};
pub use server::{Server, Summary};
pub use service::{Background, Peer, Service, Start, Step};
pub use signals::Signal;
pub use stats::{Counter, Stats};
