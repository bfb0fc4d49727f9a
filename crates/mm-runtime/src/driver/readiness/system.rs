//! The operating system's sockets, whichever way it tells that they are ready.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mm_base::Now;
use mm_base::slab::Key;
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, Shutdown};

use super::{Kernel, Role, Table};
use crate::driver::{Address, Event, Kind, Unsent, Waker};
use crate::limits::{GATHER_MAX, WAIT_MS_MAX};
use crate::sys::clock::Clock;
use crate::sys::socket::{self, Listener, QUIETLY, StreamOptions};

/// How an operating system tells which sockets are ready.
pub trait Poller: Sized {
    /// Which driver this makes.
    const KIND: Kind;

    /// A poller that watches nothing.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    fn new() -> io::Result<Self>;

    /// What makes a present or the next [`wait`](Self::wait) return.
    fn waker(&self) -> Waker;

    /// Watches a socket until it is closed; it will have this key in the table.
    ///
    /// # Errors
    /// No resources are left for it.
    fn watch(&mut self, socket: &OwnedFd, key: Key, role: Role) -> io::Result<()>;

    /// A socket is about to be closed, which takes it out of what the kernel watches unless it is open elsewhere, too:
    /// a listener or one for datagrams may be.
    fn unwatch(&mut self, _socket: &OwnedFd, _key: Key, _role: Role) {}

    /// Stops watching a socket that stays open. `false`: that cannot be done, and it is watched still.
    fn forget(&mut self, socket: &OwnedFd, key: Key) -> bool {
        let _ = (socket, key);
        false
    }

    /// How long a wait looks for news before it sleeps, in microseconds.
    fn set_spin_us(&mut self, spin_us: u32) {
        let _ = spin_us;
    }

    /// Waits for news, for ever without a `timeout`, and tells the table. An interrupted wait is one without news.
    ///
    /// # Errors
    /// Only such as no later call will be free of either.
    fn wait(
        &mut self,
        timeout: Option<&Timespec>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()>;
}

/// The operating system, with one way of telling what is ready.
#[derive(Debug)]
pub struct System<P> {
    pub(super) poller: P,
    clock: Clock,
    pub(super) options: StreamOptions,
}

impl<P: Poller> System<P> {
    /// The system around a poller. `options` are set on every socket that is accepted.
    pub fn new(poller: P, options: StreamOptions) -> Self {
        Self { poller, clock: Clock::new(), options }
    }
}

impl<P: Poller> Kernel for System<P> {
    const KIND: Kind = P::KIND;

    type Socket = OwnedFd;
    type Listener = Listener;
    type Handle = OwnedFd;

    fn now(&mut self) -> Now {
        self.clock.now()
    }

    fn waker(&self) -> Waker {
        self.poller.waker()
    }

    fn set_spin_us(&mut self, spin_us: u32) {
        self.poller.set_spin_us(spin_us);
    }

    fn wait(
        &mut self,
        timeout_ms: Option<u64>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let timeout = timeout_ms.map(|ms| timespec(ms.min(WAIT_MS_MAX)));
        self.poller.wait(timeout.as_ref(), table, events)
    }

    fn watch(&mut self, socket: &OwnedFd, key: Key, role: Role) -> io::Result<()> {
        self.poller.watch(socket, key, role)
    }

    fn unwatch(&mut self, socket: &OwnedFd, key: Key, role: Role) {
        self.poller.unwatch(socket, key, role);
    }

    fn forget(&mut self, stream: &OwnedFd, key: Key) -> Option<Address> {
        let address = socket::peer_address(stream)?;
        self.poller.forget(stream, key).then_some(address)
    }

    fn peer(&self, stream: &OwnedFd) -> Option<Address> {
        socket::peer_address(stream)
    }

    fn local_address(&self, stream: &OwnedFd) -> Option<Address> {
        socket::local_address(stream)
    }

    fn to_socket(&mut self, stream: OwnedFd) -> Option<OwnedFd> {
        Some(stream)
    }

    fn accept(&mut self, listener: &mut OwnedFd) -> Result<(OwnedFd, Address), Errno> {
        socket::accept(listener, self.options)
    }

    #[inline]
    fn receive(&mut self, stream: &mut OwnedFd, space: &mut [u8]) -> Result<usize, Errno> {
        rustix::net::recv(stream, space, RecvFlags::empty()).map(|(received, _)| received)
    }

    fn receive_past(
        &mut self,
        stream: &mut OwnedFd,
        space: &mut [u8],
        past: &mut [u8],
    ) -> Result<usize, Errno> {
        rustix::io::readv(stream, &mut [IoSliceMut::new(space), IoSliceMut::new(past)])
    }

    #[inline]
    fn send(&mut self, stream: &mut OwnedFd, output: &impl Unsent) -> Result<usize, Errno> {
        if let Some(bytes) = output.contiguous() {
            return rustix::net::send(stream, bytes, QUIETLY);
        }
        send_gathered(stream, output)
    }

    fn receive_datagram(
        &mut self,
        socket: &mut OwnedFd,
        space: &mut [u8],
    ) -> Result<(usize, SocketAddr), Errno> {
        socket::receive_datagram(socket, space)
    }

    fn send_datagram(&mut self, socket: &mut OwnedFd, bytes: &[u8], to: SocketAddr) -> Result<(), Errno> {
        rustix::net::sendto(socket, bytes, QUIETLY, &to).map(|_| ())
    }

    fn shutdown_output(&mut self, stream: &mut OwnedFd) -> Result<(), Errno> {
        rustix::net::shutdown(stream, Shutdown::Write)
    }

    fn close(&mut self, socket: OwnedFd) {
        drop(socket);
    }

    fn reset(&mut self, stream: OwnedFd) {
        socket::reset(stream);
    }
}

/// Sends what does not lie in one piece. Apart, so that what does needs no room for the pieces on the stack.
#[inline(never)]
fn send_gathered(stream: &OwnedFd, output: &impl Unsent) -> Result<usize, Errno> {
    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
    let count = output.gather(&mut slices);
    let mut control = SendAncillaryBuffer::default();
    rustix::net::sendmsg(stream, &slices[..count], &mut control, QUIETLY)
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.into_socket()
    }
}

fn timespec(milliseconds: u64) -> Timespec {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let rest = i64::try_from(milliseconds % 1000).unwrap_or(0);
    Timespec { tv_sec: seconds, tv_nsec: rest * 1_000_000 }
}
