//! What tasks ask of a driver beyond serving connections: to listen, to connect, and datagrams.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Driver, SourceId};
use crate::sys::socket::ListenAddress;

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An internet address and port.
    Ip(SocketAddr),
    /// A Unix socket of this path.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

/// Sockets that belong to tasks. Nothing here waits; events tell when to try again.
pub trait Sockets: Driver {
    /// Listens for connections, of which at most `backlog` wait; gives the address with the port that was chosen.
    ///
    /// # Errors
    /// The address is in use, not ours or not permitted, or resources are exhausted.
    fn listen(&mut self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)>;

    /// Begins to connect. A writable event tells that [`connected`](Self::connected) has an answer.
    ///
    /// # Errors
    /// Refused at once, or resources are exhausted.
    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<SourceId>;

    /// Whether the connection has come about; false: not yet.
    ///
    /// # Errors
    /// It has not and will not.
    fn connected(&mut self, stream: SourceId) -> io::Result<bool>;

    /// Makes a socket for datagrams; gives the address with the port that was chosen.
    ///
    /// # Errors
    /// The address is in use, not ours or not permitted, or resources are exhausted.
    fn bind_datagram(&mut self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)>;

    /// Receives one datagram; what does not fit into `space` is lost. None: nothing now.
    ///
    /// # Errors
    /// What an earlier datagram met on its way, or a failure of the socket.
    fn receive_from(&mut self, socket: SourceId, space: &mut [u8])
    -> io::Result<Option<(usize, SocketAddr)>>;

    /// Sends one datagram; false: no room now.
    ///
    /// # Errors
    /// It is too long, or cannot be sent there.
    fn send_to(&mut self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool>;

    /// Makes a Unix socket for datagrams: with a path, made with these access rights, or nameless.
    ///
    /// # Errors
    /// The path is in use or not permitted, or resources are exhausted.
    fn bind_unix_datagram(&mut self, name: Option<(&Path, u32)>) -> io::Result<SourceId>;

    /// As [`receive_from`](Self::receive_from), from a Unix socket. The sender may be nameless.
    ///
    /// # Errors
    /// As there.
    fn receive_from_unix(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, Option<PathBuf>)>>;

    /// Sends one datagram to a Unix socket; false: no room now, with the receiver perhaps, and no event will tell when
    /// there is.
    ///
    /// # Errors
    /// It is too long, or nobody takes datagrams there.
    fn send_to_unix(&mut self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool>;
}
