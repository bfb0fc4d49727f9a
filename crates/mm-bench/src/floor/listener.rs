//! The listening socket of the servers here.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::limits::BACKLOG;

/// Listens on loopback and says so on standard output, so that whoever started the process knows the port.
///
/// # Errors
/// The port is in use or may not be used.
pub(crate) fn listen(port: u16) -> Result<OwnedFd, String> {
    let refused = |error: Errno| format!("cannot listen on 127.0.0.1:{port}: {error}");
    let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(refused)?;
    sockopt::set_socket_reuseaddr(&listener, true).map_err(refused)?;
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
    net::listen(&listener, BACKLOG).map_err(refused)?;
    let address = net::getsockname(&listener).map_err(refused)?;
    let address = SocketAddr::try_from(address).map_err(refused)?;
    // Without a reader of the line there is still a server to run.
    drop(writeln!(std::io::stdout(), "listening on {address}"));
    Ok(listener)
}

/// Accepts one connection, non-blocking and without delay; none if there is none or it is gone again.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Option<OwnedFd> {
    let stream = net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok()?;
    no_delay(&stream);
    Some(stream)
}

/// Sends small answers at once. A socket that refuses is about to fail anyway, at its first read.
pub(crate) fn no_delay(stream: &OwnedFd) {
    sockopt::set_tcp_nodelay(stream, true).unwrap_or(());
}

/// A descriptor as an index: the kernel hands out the lowest free number, so tables by descriptor stay dense.
pub(crate) fn index(stream: &OwnedFd) -> usize {
    stream.as_raw_fd().unsigned_abs() as usize
}

/// Puts `value` at `index` of a table that grows as needed.
pub(crate) fn insert<T>(table: &mut Vec<Option<T>>, index: usize, value: T) {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = Some(value);
}
