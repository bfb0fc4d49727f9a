//! What a shard needs of the operating system's I/O, in one contract for every way of doing it.
//!
//! The contract is shaped by two kinds of driver. *Readiness* drivers (epoll, kqueue, poll) say that a call
//! would succeed and then make it. *Completion* drivers (`io_uring`) have received before they say so, and
//! own what they send until the kernel has taken it. So a driver hands out received bytes rather than fill
//! the caller's memory ([`receive`](Driver::receive)), and takes what is to be sent out of what it is shown, perhaps as
//! a copy ([`send`](Driver::send)). The sim driver does both in virtual time.
//!
//! # Events are edges
//!
//! An event says that something has become possible. It does not repeat. Whoever gets it must go on until
//! told [`Blocked`](Received::Blocked), or remember that there may be more
//! ([`may_have_input`](Driver::may_have_input)). Events may be spurious. Input and output may be tried at any
//! time: the driver remembers what would block and makes no system call for it. After a receive that returned
//! less than was asked for there may be more only where [`may_have_input`](Driver::may_have_input) says so: the
//! peer has hung up, or the rest lies in other buffers of the driver. After a send that took less, nothing more is
//! taken until the next event.
//!
//! A [`SourceId`] of a closed source is never valid again, so late events cannot reach its successor.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod epoll;
mod inbox;
pub mod kqueue;
pub mod poll;
pub mod readiness;
pub mod sim;
pub mod sockets;
#[cfg(target_os = "linux")]
mod spin;
mod unsent;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod uring;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mm_base::Now;
use mm_base::slab::Key;
use rustix::io::Errno;

use crate::limits::LINGER_CHECK_MS;
#[cfg(doc)]
use crate::limits::LINGER_MS;

pub use inbox::Span;
pub use unsent::{Pieces, Unsent};

/// The best driver that this system has for certain.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub type DefaultDriver = epoll::EpollDriver;

/// The best driver that this system has for certain.
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub type DefaultDriver = kqueue::KqueueDriver;

/// The best driver that this system has for certain.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
pub type DefaultDriver = poll::PollDriver;

/// Which one that is.
pub const DEFAULT_KIND: Kind = DefaultDriver::KIND;

/// One shard's I/O. Belongs to the shard's thread; only its [`Waker`] leaves it.
pub trait Driver {
    /// A connected socket on its way from the [`accept`](Driver::accept) of one shard to
    /// [`add_stream`](Driver::add_stream) of the same or another.
    type Socket: Send + fmt::Debug + 'static;

    /// A bound, listening socket.
    type Listener: Send + fmt::Debug + 'static;

    /// Which of the drivers this is.
    fn kind(&self) -> Kind;

    /// Reads the clocks.
    fn now(&mut self) -> Now;

    /// What makes a present or the next [`poll`](Driver::poll) return.
    fn waker(&self) -> Waker;

    /// Waits until something happens, at most `timeout_ms` milliseconds (`None`: for ever), and appends at
    /// most [`EVENTS_MAX`](crate::limits::EVENTS_MAX) events.
    ///
    /// # Errors
    /// Only such as no later call will be free of either.
    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Has [`poll`](Driver::poll) look for events for at most so many microseconds before it sleeps; 0, as at first:
    /// not at all. A driver that cannot do that leaves it.
    fn set_spin_us(&mut self, spin_us: u32) {
        let _ = spin_us;
    }

    /// Takes over a listening socket. Its events are [`Event::readable`] ones.
    ///
    /// # Errors
    /// The operating system has no resources for it.
    fn add_listener(&mut self, listener: Self::Listener, owner: Owner) -> io::Result<SourceId>;

    /// The next connection of a listener; `None` when none waits.
    ///
    /// # Errors
    /// The connection was lost before it could be accepted, or resources are exhausted: see
    /// [`AcceptFailure`].
    fn accept(&mut self, listener: SourceId) -> io::Result<Option<(Self::Socket, Address)>>;

    /// Closes a listener whose socket is listened on elsewhere, too. Gives the connections that have been accepted for
    /// it ahead of being asked for, which nobody else can have. `None`: not now, but after one of the next
    /// [`poll`](Driver::poll)s.
    fn leave_listener(&mut self, listener: SourceId) -> Option<Vec<(Self::Socket, Address)>> {
        self.close(listener);
        Some(Vec::new())
    }

    /// Takes over a connected socket. Its input has to wait for an event, output may be sent at once.
    ///
    /// # Errors
    /// The operating system has no resources for it. The socket is then closed.
    fn add_stream(&mut self, socket: Self::Socket, owner: Owner) -> io::Result<SourceId>;

    /// Receives what has arrived, at most [`RECEIVE_BYTES_MAX`](crate::limits::RECEIVE_BYTES_MAX), into the
    /// driver's inbox. Call it only while [`inbox_has_room`](Driver::inbox_has_room).
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn receive(&mut self, stream: SourceId) -> io::Result<Received<Span>>;

    /// The same, but no more than [`HEAD_BYTES`](crate::limits::HEAD_BYTES), unless more has been received already. For
    /// a stream that has sent large values: what follows the head of a request then goes to its place without a copy.
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn receive_head(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        self.receive(stream)
    }

    /// Received bytes. Valid until [`clear_inbox`](Driver::clear_inbox).
    fn bytes(&self, span: Span) -> &[u8];

    /// Whether the inbox can take another receive.
    fn inbox_has_room(&self) -> bool;

    /// Gives up all spans, so that their memory can be received into again.
    fn clear_inbox(&mut self);

    /// Receives what has arrived into the caller's memory, which must not be empty.
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn receive_into(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>>;

    /// The same, and what has arrived behind the bytes that fill `space` goes to the inbox, which spares whoever knows
    /// how long a value is a call for what ends it. Says how many bytes went into `space`, and which into the inbox:
    /// none, unless `space` is full.
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn receive_past(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
    ) -> io::Result<Received<(usize, Option<Span>)>> {
        Ok(self.receive_into(stream, space)?.map(|bytes| (bytes, None)))
    }

    /// Whether a receive might find something: none has been told that it would block since the last event.
    fn may_have_input(&self, stream: SourceId) -> bool;

    /// Sends what is in `output`, as far as the kernel takes it. What has been taken has been removed from
    /// it, and is on its way at the latest with the next [`poll`](Driver::poll).
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn send(&mut self, stream: SourceId, output: &mut impl Unsent) -> io::Result<Sent>;

    /// Whether a send is a system call of its own, made at once: then several in a row cost less than each apart.
    fn sends_at_once(&self) -> bool {
        true
    }

    /// Whether the kernel has had no room so far for something that has been taken to be sent of a stream. That goes
    /// when there is room; of a stream that has been closed, only for [`LINGER_MS`].
    fn has_rest(&self, stream: SourceId) -> bool {
        let _ = stream;
        false
    }

    /// Whether something that has been taken to be sent, of whatever stream, is not the kernel's yet. Dropped, the
    /// driver would drop it.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Waits until everything that has been taken to be sent is the kernel's, at most so many milliseconds. For the end
    /// of a driver: events are lost.
    ///
    /// # Errors
    /// Those of [`poll`](Driver::poll).
    fn flush(&mut self, patience_ms: u64) -> io::Result<()> {
        let mut events = Vec::new();
        let (until_ms, mut wait_ms) = (self.now().monotonic_ms.saturating_add(patience_ms), 0);
        while self.has_unsent() {
            self.poll(Some(wait_ms), &mut events)?;
            events.clear();
            let left_ms = until_ms.saturating_sub(self.now().monotonic_ms);
            if left_ms == 0 {
                return Ok(());
            }
            wait_ms = left_ms.min(LINGER_CHECK_MS);
        }
        Ok(())
    }

    /// Says to the peer that nothing more will be sent, when what has been taken has been. Input can still be received.
    ///
    /// # Errors
    /// The connection is broken and can only be closed.
    fn shutdown_output(&mut self, stream: SourceId) -> io::Result<()>;

    /// Gives up a listener or stream and closes it, at the latest with the next [`poll`](Driver::poll). What has been
    /// taken to be sent is sent before. Does nothing when that has been done.
    fn close(&mut self, source: SourceId);

    /// Gives a stream up without closing it, so that another shard's driver can take it over: everything that has been
    /// received has been handed out, everything that was taken to be sent is the kernel's, and what comes from now on
    /// waits in the socket. `None`: not now, but perhaps after the next [`poll`](Driver::poll), or never with this
    /// driver. Whoever asks no more after a `None` must ask the stream for input once, lest its news stay away.
    fn release(&mut self, stream: SourceId) -> Option<(Self::Socket, Address)> {
        let _ = stream;
        None
    }

    /// Who is at the other end of a stream; `None` where that is not known, or no more. For dumps: asks the system.
    fn peer(&self, stream: SourceId) -> Option<Address> {
        let _ = stream;
        None
    }

    /// As [`release`](Driver::release), also of a stream of which something that was taken to be sent is not the
    /// kernel's: it comes along, and goes to the peer before anything else.
    fn release_with_rest(&mut self, stream: SourceId) -> Option<(Self::Socket, Address, Vec<u8>)> {
        self.release(stream).map(|(socket, peer)| (socket, peer, Vec::new()))
    }

    /// Our own address in a stream; `None` where that is not known. Asks the system.
    fn local_address(&self, stream: SourceId) -> Option<Address> {
        let _ = stream;
        None
    }

    /// Closes a stream with a reset, at the latest with the next [`poll`](Driver::poll), and drops what the peer has
    /// not yet been sent. Unix sockets have no resets: there the peer sees an end.
    fn reset(&mut self, stream: SourceId);

    /// Takes over a bound socket for datagrams. Its events are [`Event::readable`] ones.
    ///
    /// # Errors
    /// The operating system has no resources for it, or the driver has no datagrams.
    fn add_datagrams(&mut self, socket: Self::Listener, owner: Owner) -> io::Result<SourceId> {
        drop((socket, owner));
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Receives one datagram: its length and its sender. What does not fit into `space` is lost. `None`: nothing now;
    /// an event will tell when there is something.
    ///
    /// # Errors
    /// What an earlier datagram met on its way, or a failure of the socket. The next call may succeed.
    fn receive_datagram(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        let _ = (socket, space);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends one datagram, or, where there is no room for it now, does not: then it returns false.
    ///
    /// # Errors
    /// It is too long, or cannot be sent there.
    fn send_datagram(&mut self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        let _ = (socket, bytes, to);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The outcome of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// At least one byte.
    Bytes(T),
    /// Nothing now. An event will tell when there is something.
    Blocked,
    /// Nothing ever again: the peer has finished sending.
    End,
}

impl<T> Received<T> {
    /// The same outcome with something else made of the bytes.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Received<U> {
        match self {
            Self::Bytes(bytes) => Received::Bytes(make(bytes)),
            Self::Blocked => Received::Blocked,
            Self::End => Received::End,
        }
    }
}

/// The outcome of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has everything.
    All,
    /// Not everything has been sent. A [`writable`](Event::writable) event will tell when to call again.
    Blocked,
}

/// Names a listener or stream of one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub(crate) Key);

impl SourceId {
    /// The source's place: small, unique among the open sources of a driver, reused after a close.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index()
    }

    /// Which of the sources that have had this place; not 0.
    pub(crate) fn serial(self) -> u32 {
        self.0.serial()
    }

    /// The id as one number.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0.to_u64()
    }
}

/// Who is to be told of a source's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The shard's [`Work`](crate::shard::Work), by the key it has for the source.
    Work(Key),
    /// A task, which is found by the source's id.
    Task,
}

/// Something has become possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub source: SourceId,
    /// Whose affair it is.
    pub owner: Owner,
    /// There is input, the end of it, an error, or (of a listener) a connection.
    pub readable: bool,
    /// There is room for output, or an error.
    pub writable: bool,
}

/// The drivers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Linux's epoll, edge-triggered.
    Epoll,
    /// macOS's and the BSDs' kqueue, edge-triggered.
    Kqueue,
    /// `poll`, which every Unix has.
    Poll,
    /// Linux's `io_uring`.
    Uring,
    /// A simulated network in virtual time.
    Sim,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epoll => "epoll",
            Self::Kqueue => "kqueue",
            Self::Poll => "poll",
            Self::Uring => "uring",
            Self::Sim => "sim",
        })
    }
}

/// The address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// An internet address and port.
    Ip(SocketAddr),
    /// The nameless other end of a Unix socket.
    Unix,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// What to do about a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// That connection is lost; the next may be fine.
    Connection,
    /// Descriptors or memory have run out: pause, for trying again at once would only spin.
    Exhausted,
}

impl AcceptFailure {
    /// Tells the two apart. Whatever is not known to concern one connection alone counts as exhaustion.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::ConnectionAborted
            | K::ConnectionReset
            | K::Interrupted
            | K::PermissionDenied
            | K::TimedOut
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown => Self::Connection,
            // What the network had in store for that connection, as Linux tells it.
            _ if error.raw_os_error().is_some_and(is_of_network) => Self::Connection,
            _ => Self::Exhausted,
        }
    }
}

/// Whether it is another error of a connection's network than those that have a kind.
fn is_of_network(error: i32) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if error == Errno::NONET.raw_os_error() {
        return true;
    }
    [Errno::PROTO, Errno::NOPROTOOPT, Errno::HOSTDOWN, Errno::OPNOTSUPP]
        .iter()
        .any(|it| it.raw_os_error() == error)
}

/// Makes a driver's present or next wait return. May be used from any thread, and after the driver's end.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that does this.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
