//! The drivers that are told what is ready and then call: epoll, kqueue, poll, and the simulated network.
//!
//! They differ in how they learn that a source is ready ([`Poller`]), and the simulated one in what a source is
//! ([`Kernel`]). What they make of it is the same and stands here: a call is tried whenever the last one has not been
//! told to wait, so a request costs a receive, a send and its share of a wait.

mod bell;
mod sockets;
mod system;
mod table;

use std::fmt;
use std::hint::cold_path;
use std::io;
use std::net::SocketAddr;

use mm_base::Now;
use mm_base::slab::Key;
use rustix::io::Errno;

use super::inbox::Inbox;
use super::{Address, Driver, Event, Kind, Owner, Received, Sent, SourceId, Span, Unsent, Waker};
use crate::limits::{GATHER_MAX, HEAD_BYTES, RECEIVE_BYTES_MAX};
use crate::sys::socket::StreamOptions;

pub(super) use bell::Bell;
pub use system::{Poller, System};
pub use table::{News, Outlook, Role, Source, Table};

/// What a readiness driver stands on: an operating system, or what takes its place in a simulation.
///
/// No call here waits but [`wait`](Self::wait). One that would have to says [`Errno::AGAIN`].
pub trait Kernel {
    /// Which driver this makes.
    const KIND: Kind;

    /// A connected socket that belongs to no driver.
    type Socket: Send + fmt::Debug + 'static;

    /// A bound, listening socket that belongs to no driver.
    type Listener: Send + fmt::Debug + 'static;

    /// What a source of the driver is made of.
    type Handle: From<Self::Socket> + From<Self::Listener> + fmt::Debug;

    /// Reads the clocks.
    fn now(&mut self) -> Now;

    /// What makes a present or the next [`wait`](Self::wait) return.
    fn waker(&self) -> Waker;

    /// How long a wait looks for news before it sleeps, in microseconds.
    fn set_spin_us(&mut self, spin_us: u32) {
        let _ = spin_us;
    }

    /// Waits for news of the table's sources and tells the table, which appends the events.
    ///
    /// # Errors
    /// Only such as no later call will be free of either.
    fn wait(
        &mut self,
        timeout_ms: Option<u64>,
        table: &mut Table<Self::Handle>,
        events: &mut Vec<Event>,
    ) -> io::Result<()>;

    /// Asks to be told of a source for as long as it is open; it will have this key in the table.
    ///
    /// # Errors
    /// No resources are left for it.
    fn watch(&mut self, handle: &Self::Handle, key: Key, role: Role) -> io::Result<()>;

    /// A source is about to be closed.
    fn unwatch(&mut self, handle: &Self::Handle, key: Key, role: Role);

    /// Stops telling of a stream that stays open: its peer's address, or `None` where that cannot be done.
    fn forget(&mut self, stream: &Self::Handle, key: Key) -> Option<Address>;

    /// The address of a stream's peer, where it is known.
    fn peer(&self, stream: &Self::Handle) -> Option<Address> {
        let _ = stream;
        None
    }

    /// Our own address in a stream, where it is known.
    fn local_address(&self, stream: &Self::Handle) -> Option<Address> {
        let _ = stream;
        None
    }

    /// A forgotten stream as a socket that belongs to no driver.
    fn to_socket(&mut self, stream: Self::Handle) -> Option<Self::Socket>;

    /// Takes the next connection of a listener.
    ///
    /// # Errors
    /// [`Errno::AGAIN`], or why there is none.
    fn accept(&mut self, listener: &mut Self::Handle) -> Result<(Self::Socket, Address), Errno>;

    /// Receives once. Nothing received means that the peer has finished sending.
    ///
    /// # Errors
    /// [`Errno::AGAIN`], or why the stream is broken.
    fn receive(&mut self, stream: &mut Self::Handle, space: &mut [u8]) -> Result<usize, Errno>;

    /// Receives once, and puts what follows the bytes that fill `space` into `past`. Says how many bytes both got.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive).
    fn receive_past(
        &mut self,
        stream: &mut Self::Handle,
        space: &mut [u8],
        past: &mut [u8],
    ) -> Result<usize, Errno>;

    /// Sends once, at most the pieces that one gather takes, and says how many bytes were taken.
    ///
    /// # Errors
    /// [`Errno::AGAIN`], or why the stream is broken.
    fn send(&mut self, stream: &mut Self::Handle, output: &impl Unsent) -> Result<usize, Errno>;

    /// Receives one datagram: its length, at most that of `space`, and its sender.
    ///
    /// # Errors
    /// [`Errno::AGAIN`], what an earlier datagram met on its way, or a failure of the socket.
    fn receive_datagram(
        &mut self,
        socket: &mut Self::Handle,
        space: &mut [u8],
    ) -> Result<(usize, SocketAddr), Errno>;

    /// Sends one datagram.
    ///
    /// # Errors
    /// [`Errno::AGAIN`], or why it cannot be sent there.
    fn send_datagram(&mut self, socket: &mut Self::Handle, bytes: &[u8], to: SocketAddr)
    -> Result<(), Errno>;

    /// Finishes sending.
    ///
    /// # Errors
    /// Why the stream is broken.
    fn shutdown_output(&mut self, stream: &mut Self::Handle) -> Result<(), Errno>;

    /// Closes a source.
    fn close(&mut self, handle: Self::Handle);

    /// Closes a stream and drops what the peer has not yet been sent.
    fn reset(&mut self, stream: Self::Handle);
}

/// One shard's I/O on a kernel that tells what is ready. What every call needs comes first.
#[repr(C)]
pub struct ReadinessDriver<K: Kernel> {
    table: Table<K::Handle>,
    inbox: Inbox,
    kernel: K,
}

impl<P: Poller> ReadinessDriver<System<P>> {
    /// A driver without sources. `options` are set on every socket that it accepts.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    pub fn new(options: StreamOptions) -> io::Result<Self> {
        Ok(Self::over(System::new(P::new()?, options)))
    }
}

impl<K: Kernel> ReadinessDriver<K> {
    /// Which of the drivers this is.
    pub const KIND: Kind = K::KIND;

    /// A driver without sources over this kernel.
    pub fn over(kernel: K) -> Self {
        Self { table: Table::new(), inbox: Inbox::new(), kernel }
    }

    /// The kernel, and the table that it is told of at each wait.
    pub(super) fn parts(&mut self) -> (&mut K, &mut Table<K::Handle>) {
        (&mut self.kernel, &mut self.table)
    }

    fn add(&mut self, handle: K::Handle, owner: Owner, role: Role) -> io::Result<SourceId> {
        let key = self.table.next_key().ok_or(io::ErrorKind::OutOfMemory)?;
        self.kernel.watch(&handle, key, role)?;
        self.table.insert(handle, owner, role).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Receives into the inbox.
    #[inline(always)]
    fn receive_at_most(&mut self, stream: SourceId, bytes_max: usize) -> io::Result<Received<Span>> {
        let source = self.table.find(stream)?;
        let (kernel, room) = (&mut self.kernel, self.inbox.room());
        let wanted = room.len().min(bytes_max);
        let received = receive(source, wanted, |handle| kernel.receive(handle, &mut room[..wanted]))?;
        Ok(received.map(|bytes| self.inbox.take(bytes)))
    }

    /// Receives one datagram by this call, if it might succeed, and remembers what it learns.
    fn receive_one<T>(
        &mut self,
        socket: SourceId,
        receive: impl FnOnce(&mut K, &mut K::Handle) -> Result<T, Errno>,
    ) -> io::Result<Option<T>> {
        let source = self.table.find(socket)?;
        if !source.readable {
            return Ok(None);
        }
        match receive(&mut self.kernel, &mut source.handle) {
            Ok(received) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => {
                source.readable = false;
                source.blocked(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Receives once, at most so many bytes, if that might succeed, and remembers what it learns.
#[inline]
fn receive<H>(
    source: &mut Source<H>,
    wanted: usize,
    mut call: impl FnMut(&mut H) -> Result<usize, Errno>,
) -> io::Result<Received<usize>> {
    if !source.readable {
        return Ok(Received::Blocked);
    }
    loop {
        match call(&mut source.handle) {
            Ok(0) => {
                cold_path();
                return Ok(Received::End);
            }
            Ok(received) => {
                source.readable = received == wanted || source.outlook != Outlook::Open;
                return Ok(Received::Bytes(received));
            }
            Err(Errno::INTR) => cold_path(),
            Err(error) => {
                cold_path();
                source.readable &= error != Errno::AGAIN;
                return source.failed(error, Received::Blocked);
            }
        }
    }
}

impl<K: Kernel> Driver for ReadinessDriver<K> {
    type Socket = K::Socket;
    type Listener = K::Listener;

    fn kind(&self) -> Kind {
        K::KIND
    }

    fn now(&mut self) -> Now {
        self.kernel.now()
    }

    fn waker(&self) -> Waker {
        self.kernel.waker()
    }

    fn set_spin_us(&mut self, spin_us: u32) {
        self.kernel.set_spin_us(spin_us);
    }

    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.kernel.wait(timeout_ms, &mut self.table, events)
    }

    fn add_listener(&mut self, listener: K::Listener, owner: Owner) -> io::Result<SourceId> {
        self.add(listener.into(), owner, Role::Listener)
    }

    fn accept(&mut self, listener: SourceId) -> io::Result<Option<(K::Socket, Address)>> {
        let source = self.table.find(listener)?;
        if !source.readable {
            return Ok(None);
        }
        match self.kernel.accept(&mut source.handle) {
            Ok(accepted) => Ok(Some(accepted)),
            Err(Errno::AGAIN) => {
                source.readable = false;
                source.blocked(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn add_stream(&mut self, socket: K::Socket, owner: Owner) -> io::Result<SourceId> {
        self.add(socket.into(), owner, Role::Stream)
    }

    #[inline]
    fn receive(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        self.receive_at_most(stream, RECEIVE_BYTES_MAX)
    }

    fn receive_head(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        self.receive_at_most(stream, HEAD_BYTES)
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.inbox.bytes(span)
    }

    fn inbox_has_room(&self) -> bool {
        self.inbox.has_room()
    }

    fn clear_inbox(&mut self) {
        self.inbox.clear();
    }

    fn receive_into(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        debug_assert!(!space.is_empty(), "a receive into nothing would look like the end");
        let (kernel, source) = (&mut self.kernel, self.table.find(stream)?);
        receive(source, space.len(), |handle| kernel.receive(handle, space))
    }

    fn receive_past(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
    ) -> io::Result<Received<(usize, Option<Span>)>> {
        let (kernel, source) = (&mut self.kernel, self.table.find(stream)?);
        let past = self.inbox.room();
        let (filled, whole) = (space.len(), space.len() + past.len());
        let received = receive(source, whole, |handle| kernel.receive_past(handle, space, past))?;
        Ok(received.map(|bytes| self.inbox.split(bytes, filled)))
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.table.get(stream).is_some_and(|source| source.readable)
    }

    #[inline]
    fn send(&mut self, stream: SourceId, output: &mut impl Unsent) -> io::Result<Sent> {
        let source = self.table.find(stream)?;
        while output.left() > 0 {
            if !source.writable {
                cold_path();
                return Ok(Sent::Blocked);
            }
            let gathered = output.gathered_len(GATHER_MAX);
            match self.kernel.send(&mut source.handle, output) {
                Ok(sent) => {
                    output.advance(sent);
                    // The kernel took less than it was offered: an event will tell when it wants more.
                    source.writable = sent == gathered;
                }
                Err(Errno::INTR) => cold_path(),
                Err(error) => {
                    cold_path();
                    source.writable &= error != Errno::AGAIN;
                    return source.failed(error, Sent::Blocked);
                }
            }
        }
        Ok(Sent::All)
    }

    fn shutdown_output(&mut self, stream: SourceId) -> io::Result<()> {
        Ok(self.kernel.shutdown_output(&mut self.table.find(stream)?.handle)?)
    }

    fn close(&mut self, source: SourceId) {
        if let Some(closed) = self.table.remove(source) {
            self.kernel.unwatch(&closed.handle, source.0, closed.role());
            self.kernel.close(closed.handle);
        }
    }

    fn release(&mut self, stream: SourceId) -> Option<(K::Socket, Address)> {
        let source = self.table.get(stream).filter(|source| source.role() == Role::Stream)?;
        let address = self.kernel.forget(source.handle(), stream.0)?;
        let handle = self.table.remove(stream)?.handle;
        Some((self.kernel.to_socket(handle)?, address))
    }

    fn peer(&self, stream: SourceId) -> Option<Address> {
        self.kernel.peer(&self.table.get(stream)?.handle)
    }

    fn local_address(&self, stream: SourceId) -> Option<Address> {
        self.kernel.local_address(&self.table.get(stream)?.handle)
    }

    fn reset(&mut self, stream: SourceId) {
        if let Some(closed) = self.table.remove(stream) {
            self.kernel.unwatch(&closed.handle, stream.0, closed.role());
            self.kernel.reset(closed.handle);
        }
    }

    fn add_datagrams(&mut self, socket: K::Listener, owner: Owner) -> io::Result<SourceId> {
        self.add(socket.into(), owner, Role::Datagrams)
    }

    fn receive_datagram(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        self.receive_one(socket, |kernel, socket| kernel.receive_datagram(socket, space))
    }

    fn send_datagram(&mut self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        let source = self.table.find(socket)?;
        if !source.writable {
            return Ok(false);
        }
        match self.kernel.send_datagram(&mut source.handle, bytes, to) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => {
                source.writable = false;
                source.blocked(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl<K: Kernel> fmt::Debug for ReadinessDriver<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessDriver")
            .field("kind", &K::KIND)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
