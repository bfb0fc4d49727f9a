//! The floors: servers that do nothing but the system calls and the copying.
//!
//! What a real server costs above its floor is its own work; what the floor costs is the kernel's. Two answers
//! (echo, and ready-made cache answers) over two interfaces (level-triggered epoll, io_uring with multishot
//! receive) give four floors. They trust their client: they exist to be measured, on loopback only.
//!
//! Everything in this crate that needs `unsafe` is below this module.

mod answer;
pub(crate) mod answers;
mod epoll;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod ring;
mod uring;

use std::convert::Infallible;

use clap::ValueEnum;

use crate::limits::VALUE_BYTES;
use answer::{Canned, Echo};

/// One of the floors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Floor {
    /// Sends back what it reads; epoll.
    EchoEpoll,
    /// Sends back what it reads; io_uring.
    EchoUring,
    /// Answers get and set without storing anything; epoll.
    CannedEpoll,
    /// Answers get and set without storing anything; io_uring.
    CannedUring,
}

/// Serves until the process is killed.
///
/// # Errors
/// The port cannot be used, the value is too large, or the kernel refuses the interface.
pub(crate) fn serve(floor: Floor, port: u16, value_bytes: usize) -> Result<Infallible, String> {
    if value_bytes > VALUE_BYTES {
        return Err(format!("--value-bytes {value_bytes} is above the largest value, {VALUE_BYTES} bytes"));
    }
    match floor {
        Floor::EchoEpoll => epoll::serve(port, &Echo),
        Floor::EchoUring => uring::serve(port, &Echo),
        Floor::CannedEpoll => epoll::serve(port, &Canned::new(value_bytes)),
        Floor::CannedUring => uring::serve(port, &Canned::new(value_bytes)),
    }
}
