//! Services, listeners and the life cycle of connections.
//!
//! Connections are served in one of two ways. A *handler* is sequential code that runs as a task for each of
//! them: `server.serve(async |stream| { ... })`. A [`Service`] is a protocol bound to an application: bytes in,
//! bytes out, no sockets. It is the faster way, and [`harness`] runs it without any I/O, for tests, simulation
//! and fuzzing. Everything else about a server (listening, accepting, limits, time-outs, flow control,
//! stopping) is this crate's affair, the same for every protocol and for both ways.

#![forbid(unsafe_code)]

mod choice;
mod config;
mod connection;
mod control;
pub mod datagrams;
mod engine;
mod exchange;
mod hand_over;
mod handler;
pub mod harness;
pub mod limits;
mod log;
mod mishaps;
mod origin;
pub mod process;
mod ready;
mod server;
mod service;
mod signals;
pub mod simulation;
mod socket_files;
mod stall;
mod stats;

pub use config::{Config, DriverChoice, available_shards};
pub use control::{Handle, Stop};
pub use hand_over::{Carried, Handed, Packed};
pub use log::Log;
pub use mm_runtime::driver::Address;
pub use mm_runtime::net::Stream;
pub use mm_runtime::sys::socket::{ListenAddress, StreamOptions};
pub use ready::{Ready, Token};
pub use server::{Server, Summary};
pub use service::{Background, Luggage, Peer, Service, Start, Step};
pub use signals::{Signal, SignalFlags};
pub use stats::{Counter, Stats};
