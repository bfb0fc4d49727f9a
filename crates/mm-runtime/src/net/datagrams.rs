//! Datagrams: UDP, and between Unix sockets.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Direction, Handle, Tried, current};
use crate::limits::DATAGRAM_RETRY_MS;

/// A UDP socket.
pub struct Datagrams {
    handle: Handle,
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
        let (source, address) = net.driver.bind_datagram(address)?;
        Ok(Self { handle: Handle::new(net, source), address })
    }

    /// Its address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long a call waits, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Input, timeout_ms);
        self.handle.set_timeout_ms(Direction::Output, timeout_ms);
    }

    /// Receives one datagram: its length and its sender. What does not fit into `space` is lost.
    ///
    /// # Errors
    /// What an earlier datagram met on its way (a closed port, say), or the wait was ended early.
    pub fn receive_from(
        &mut self,
        space: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        let handle = &self.handle;
        let mut waiting = false;
        poll_fn(move |context| {
            handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
                Ok(handle.net.driver.receive_from(handle.source, space)?.map_or(Tried::Blocked, Tried::Done))
            })
        })
    }

    /// Sends one datagram. While the network has no room for it (`ENOBUFS`, as BSDs say) this tries again every
    /// [`DATAGRAM_RETRY_MS`] milliseconds.
    ///
    /// # Errors
    /// It is too long or cannot be sent there, or the wait was ended early.
    pub fn send_to(&mut self, bytes: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<()>> {
        let handle = &self.handle;
        let mut waiting = false;
        poll_fn(move |context| {
            handle.poll_try(Direction::Output, &mut waiting, context, |handle| {
                match handle.net.driver.send_to(handle.source, bytes, to) {
                    Ok(true) => Ok(Tried::Done(())),
                    Ok(false) => Ok(Tried::Blocked),
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                        Ok(Tried::Untold(DATAGRAM_RETRY_MS))
                    }
                    Err(error) => Err(error),
                }
            })
        })
    }
}

/// A Unix socket for datagrams. Nothing is lost between two of them: a datagram that has been sent waits for its
/// receiver, and one that there is no room for waits with its sender.
pub struct UnixDatagrams {
    handle: Handle,
}

impl std::fmt::Debug for UnixDatagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixDatagrams").finish_non_exhaustive()
    }
}

impl UnixDatagrams {
    /// A socket at this path, made with these access rights (such as 0o700). One that is left from a program that is
    /// no more is replaced. The file stays when the socket is closed.
    ///
    /// # Errors
    /// The path is too long, in use or not permitted; the message names it.
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        Self::new(Some((path.as_ref(), mode)))
    }

    /// A socket without a path: it can send, and nobody can answer.
    ///
    /// # Errors
    /// No resources are left for it.
    pub fn nameless() -> io::Result<Self> {
        Self::new(None)
    }

    fn new(name: Option<(&Path, u32)>) -> io::Result<Self> {
        let net = current()?;
        let source = net.driver.bind_unix_datagram(name)?;
        Ok(Self { handle: Handle::new(net, source) })
    }

    /// How long a call waits, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Input, timeout_ms);
        self.handle.set_timeout_ms(Direction::Output, timeout_ms);
    }

    /// Receives one datagram: its length, and the path of its sender unless that is nameless. What does not fit into
    /// `space` is lost.
    ///
    /// # Errors
    /// The wait was ended early.
    pub fn receive_from(
        &mut self,
        space: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, Option<PathBuf>)>> {
        let handle = &self.handle;
        let mut waiting = false;
        poll_fn(move |context| {
            handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
                Ok(handle
                    .net
                    .driver
                    .receive_from_unix(handle.source, space)?
                    .map_or(Tried::Blocked, Tried::Done))
            })
        })
    }

    /// Sends one datagram. While the receiver has no room for it this looks again every
    /// [`DATAGRAM_RETRY_MS`] milliseconds, for no system tells when there is.
    ///
    /// # Errors
    /// It is too long, nobody takes datagrams there, or the wait was ended early.
    pub fn send_to(&mut self, bytes: &[u8], to: &Path) -> impl Future<Output = io::Result<()>> {
        let handle = &self.handle;
        let mut waiting = false;
        poll_fn(move |context| {
            handle.poll_try(Direction::Output, &mut waiting, context, |handle| {
                let sent = handle.net.driver.send_to_unix(handle.source, bytes, to)?;
                Ok(if sent { Tried::Done(()) } else { Tried::Untold(DATAGRAM_RETRY_MS) })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::Runtime;
    use crate::driver::poll::PollDriver;
    use crate::sys::socket::StreamOptions;
    use crate::task::raw;

    fn timers() -> usize {
        raw::with_current(|local| local.map_or(0, |local| local.timers.len()))
    }

    #[test]
    fn a_send_that_is_looked_at_often_has_one_timer() {
        let path = std::env::temp_dir().join(format!("mm-full-{}.sock", std::process::id()));
        let driver = PollDriver::new(StreamOptions::default()).unwrap();
        let tried = Runtime::on(driver).block_on(async move {
            let mut receiver = UnixDatagrams::bind(&path, 0o700)?;
            let mut sender = UnixDatagrams::nameless()?;
            sender.set_timeout_ms(Some(0));
            while sender.send_to(b"one", &path).await.is_ok() {}
            sender.set_timeout_ms(None);
            let before = timers();
            let mut sending = pin!(sender.send_to(b"last", &path));
            poll_fn(|context| {
                for _ in 0..10 {
                    assert!(sending.as_mut().poll(context).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            assert!(timers() <= before + 1, "{} timers, {before} before", timers());
            // And it looks again when there is room, which nothing tells.
            let mut space = [0; 4];
            let receiving = crate::task::spawn(async move {
                while receiver.receive_from(&mut space).await?.0 != 4 {}
                io::Result::Ok(())
            });
            sending.await?;
            receiving.await.unwrap()?;
            std::fs::remove_file(&path)
        });
        tried.unwrap().unwrap();
    }
}
