//! UDP.

use std::io;
use std::net::SocketAddr;

use super::{Direction, Handle, Patience, Tried, current};

/// A UDP socket.
pub struct Datagrams {
    handle: Handle,
    patience: Patience,
    address: SocketAddr,
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Datagrams {
    /// A socket with an address of its own; port 0 has the system choose one.
    ///
    /// # Errors
    /// The address is in use, not ours or not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let net = current()?;
        let (source, address) = net.bind_datagram(address)?;
        Ok(Self { handle: Handle::new(net, source), patience: Patience::new(), address })
    }

    /// Its address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long a call waits, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.patience.timeout_ms = timeout_ms;
    }

    /// Receives one datagram: its length and its sender. What does not fit into `space` is lost.
    ///
    /// # Errors
    /// What an earlier datagram met on its way (a closed port, say), or the wait was ended early.
    pub async fn receive_from(&mut self, space: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let receive = |handle: &Handle| {
            Ok(handle.net.receive_from(handle.source, space)?.map_or(Tried::Blocked, Tried::Done))
        };
        self.patience.retry(&self.handle, Direction::Input, receive).await
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// It is too long or cannot be sent there, or the wait was ended early.
    pub async fn send_to(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let send = |handle: &Handle| {
            let sent = handle.net.send_to(handle.source, bytes, to)?;
            Ok(if sent { Tried::Done(()) } else { Tried::Blocked })
        };
        self.patience.retry(&self.handle, Direction::Output, send).await
    }
}
