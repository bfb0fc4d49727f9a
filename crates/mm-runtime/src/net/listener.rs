//! Taking connections.

use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;

use super::{Direction, Handle, Stream, Tried, current};
use crate::limits::BACKLOG;
use crate::sys::socket::ListenAddress;

/// A listening socket, TCP or Unix.
pub struct Listener {
    handle: Handle,
    address: ListenAddress,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address is in use, not ours or not permitted; the message names it.
    pub fn bind(address: &ListenAddress) -> io::Result<Self> {
        let net = current()?;
        let (source, address) = net.driver.listen(address, BACKLOG)?;
        Ok(Self { handle: Handle::new(net, source), address })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// How long [`accept`](Self::accept) waits, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Input, timeout_ms);
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// That connection was lost, or descriptors have run out: see
    /// [`AcceptFailure`](crate::driver::AcceptFailure); or the wait was ended early. When descriptors have run out the
    /// next call fails as well, at once: [sleep](crate::timers::sleep) before it.
    pub fn accept(&mut self) -> impl Future<Output = io::Result<Stream>> {
        let handle = &self.handle;
        let mut waiting = false;
        poll_fn(move |context| {
            let polled = handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
                Ok(handle.net.driver.accept(handle.source)?.map_or(Tried::Blocked, Tried::Done))
            });
            polled.map_ok(|(source, peer)| {
                let accepted = Handle::new(Rc::clone(&handle.net), source).with_peer(peer);
                Stream::of_handle(Rc::new(accepted))
            })
        })
    }
}
