//! The driver on Linux's `io_uring`.
//!
//! A stream is received from by an operation that goes on until it is cancelled, into buffers that the kernel takes
//! from a ring as data comes: an idle connection owns none. Short output is copied and handed over together with the
//! next wait, so that a turn enters the kernel once; long output is sent at once, from where it lies.
//!
//! Wherever that does not do, a source is waited for as on other drivers, by an operation that tells once that it is
//! ready, and the call is made then: datagrams always; streams while all buffers are held by others, so that those who
//! do not take their input cannot starve the rest; and streams whose input goes to memory of its own, so that large
//! uploads are not copied.

mod complete;
mod direct;
mod leave;
mod linger;
mod output;
mod sockets;
mod source;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use mm_base::Now;
use mm_base::slab::{Key, Slab};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::inbox::Inbox;
use super::{Address, Driver, Event, Kind, Owner, Received, Sent, SourceId, Span, Unsent, Waker};
use crate::limits::{EVENTS_MAX, RING_COMPLETIONS, RING_RECEIVE_BUFFERS, RING_SEND_BYTES, RING_SUBMISSIONS};
use crate::limits::{LINGER_CHECK_MS, WAIT_MS_MAX};
use crate::sys::clock::Clock;
use crate::sys::socket::{self, Listener, QUIETLY, StreamOptions};
use crate::sys::uring::{INDEX_MAX, Operation, Ring, Tag, Wait};

use super::spin::{Looked, Spin};
use linger::Lingering;
use output::Round;
use source::{Marks, Source};

pub use crate::sys::uring::Sizes;

/// The sizes of a shard's ring.
pub const SIZES: Sizes = Sizes {
    submissions: RING_SUBMISSIONS,
    completions: RING_COMPLETIONS,
    buffers: RING_RECEIVE_BUFFERS,
    send_bytes: RING_SEND_BYTES,
};

/// One shard's ring and the sockets it works on.
pub struct UringDriver {
    ring: Ring,
    wake: Arc<OwnedFd>,
    sources: Slab<Source>,
    /// Behind each buffer the one that was received after it, where a stream has several.
    links: Box<[u16]>,
    /// Buffers whose bytes have been handed out.
    handed: Vec<u16>,
    /// What is received by calls.
    inbox: Inbox,
    round: Round,
    lingering: Slab<Lingering>,
    linger_check_ms: u64,
    clock: Clock,
    options: StreamOptions,
    spin: Spin,
    /// A wake has been taken since the poll began.
    woken: bool,
}

/// Whether this kernel lets this process use all of `io_uring` that the driver needs.
///
/// # Errors
/// What is refused or missing.
pub fn probe() -> io::Result<()> {
    // On a thread of its own: the end of a ring interrupts system calls of the thread that had it.
    let probing =
        std::thread::Builder::new().name("uring-probe".to_owned()).spawn(|| Ring::new(SIZES).map(drop))?;
    probing.join().unwrap_or_else(|_panic| Err(io::Error::other("the probe has panicked")))
}

impl UringDriver {
    /// A driver without sources, for the thread that makes it. `options` are set on every socket that it accepts.
    ///
    /// # Errors
    /// The kernel has no `io_uring`, forbids it, or lacks something of it; or the process or the system has no
    /// descriptors or memory left.
    pub fn new(options: StreamOptions) -> io::Result<Self> {
        Self::with_sizes(options, SIZES)
    }

    /// As [`new`](Self::new), with a ring of other sizes.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_sizes(options: StreamOptions, sizes: Sizes) -> io::Result<Self> {
        let mut ring = Ring::new(sizes)?;
        // Its counter is never read: the operation tells of each write.
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        ring.watch(&wake, PollFlags::IN, Tag::none(Operation::Wake));
        let links = vec![0; usize::from(ring.buffers())].into_boxed_slice();
        Ok(Self {
            ring,
            wake: Arc::new(wake),
            sources: Slab::new(),
            links,
            handed: Vec::new(),
            inbox: Inbox::new(),
            round: Round::default(),
            lingering: Slab::new(),
            linger_check_ms: 0,
            clock: Clock::new(),
            options,
            spin: Spin::default(),
            woken: false,
        })
    }

    /// The key that the next source will have.
    fn next_key(&self) -> io::Result<Key> {
        let key = self.sources.next_key().filter(|key| key.index() <= INDEX_MAX);
        key.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Adds a source, for which nothing is asked of the kernel yet.
    fn add(&mut self, socket: OwnedFd, owner: Owner, marks: u16) -> io::Result<Key> {
        let key = self.next_key()?;
        let source = Source::new(socket, owner, marks);
        self.sources.insert(source).map_err(|_full| io::ErrorKind::OutOfMemory)?;
        Ok(key)
    }

    /// Receives one datagram by this call, if it might succeed, and remembers what it learns.
    fn receive_one<T>(
        &mut self,
        socket: SourceId,
        receive: impl FnOnce(&OwnedFd) -> Result<T, Errno>,
    ) -> io::Result<Option<T>> {
        let source = self.source(socket)?;
        if !source.marks.has(Marks::READABLE) {
            return Ok(None);
        }
        match receive(&source.socket) {
            Ok(received) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => {
                source.marks.clear(Marks::READABLE);
                self.await_input(socket.0);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn source(&mut self, id: SourceId) -> io::Result<&mut Source> {
        self.sources.get_mut(id.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Enters the kernel and appends what has come of it.
    fn enter(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.ring.enter(wait)?;
        // First, for there may be so many completions each time that they leave no room.
        self.tell_waiting(events);
        self.complete(events);
        self.settle();
        self.tell_waiting(events);
        Ok(())
    }

    /// Looks for completions for a while. How to wait then.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<Wait> {
        // What is to be sent is not kept back meanwhile.
        self.ring.enter(Wait::No)?;
        let Self { ring, spin, .. } = self;
        let looked = spin.look(timeout, || {
            std::hint::spin_loop();
            Ok(ring.has_news())
        })?;
        Ok(match looked {
            Looked::Found => Wait::No,
            Looked::InVain(left) => left.map_or(Wait::Endless, Wait::For),
        })
    }

    /// Has the kernel close a listener now: connections to it are refused from then on.
    fn stop_listening(&mut self) {
        // The first takes the cancellation, the second does what that brings about. The next wait tells of a failure.
        for _ in 0..2 {
            self.ring.enter(Wait::No).ok();
        }
    }

    /// Takes a source out and ends what the kernel does for it, except a send that it has not seen yet.
    fn take_out(&mut self, id: SourceId) -> Option<Source> {
        let mut source = self.sources.remove(id.0)?;
        while let Some(buffer) = source.input.pop(&self.links) {
            self.ring.release(buffer);
        }
        let running = [
            (Marks::RECEIVING, Operation::Receive),
            (Marks::ACCEPTING, Operation::Accept),
            (Marks::POLLING_INPUT, Operation::Readable),
            (Marks::POLLING_OUTPUT, Operation::Writable),
        ];
        for (mark, operation) in running {
            if source.marks.has(mark) {
                self.ring.cancel(Tag::new(operation, id.0));
            }
        }
        Some(source)
    }
}

impl Driver for UringDriver {
    type Socket = OwnedFd;
    type Listener = Listener;

    fn kind(&self) -> Kind {
        Kind::Uring
    }

    fn now(&mut self) -> Now {
        self.clock.now()
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        Waker::new(move || {
            // The only failure is a counter about to overflow, in which case the wait returns without this.
            rustix::io::write(&*wake, &1_u64.to_ne_bytes()).ok();
        })
    }

    fn set_spin_us(&mut self, spin_us: u32) {
        self.spin.set_us(spin_us);
    }

    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.check_lingering();
        self.woken = false;
        if self.ring.has_retired() || self.round.is_awaited() {
            // Peers learn before the wait of what has been closed, and owners of what has been sent.
            self.enter(Wait::No, events)?;
            if self.ring.has_retired() {
                self.ring.enter(Wait::No)?;
            }
        }
        let timeout_ms = match timeout_ms {
            _ if self.woken || !events.is_empty() || self.round.is_awaited() => Some(0),
            timeout_ms if !self.lingering.is_empty() => {
                Some(timeout_ms.map_or(LINGER_CHECK_MS, |ms| ms.min(LINGER_CHECK_MS)))
            }
            timeout_ms => timeout_ms,
        };
        if events.len() == EVENTS_MAX {
            return Ok(());
        }
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.min(WAIT_MS_MAX)));
        let wait = match timeout {
            Some(Duration::ZERO) => Wait::No,
            timeout if self.spin.is_on() => self.look(timeout)?,
            Some(timeout) => Wait::For(timeout),
            None => Wait::Endless,
        };
        self.enter(wait, events)
    }

    fn add_listener(&mut self, listener: Listener, owner: Owner) -> io::Result<SourceId> {
        let key = self.add(listener.into_socket(), owner, Marks::LISTENER)?;
        self.await_connection(key);
        Ok(SourceId(key))
    }

    fn accept(&mut self, listener: SourceId) -> io::Result<Option<(OwnedFd, Address)>> {
        let options = self.options;
        let source = self.source(listener)?;
        while let Some(socket) = source.extra.as_mut().and_then(|extra| extra.accepted.pop_front()) {
            // One that its peer has reset meanwhile is gone as if it had never been.
            if let Some(address) = socket::adopt(&socket, options) {
                return Ok(Some((socket, address)));
            }
        }
        if let Some(error) = source.extra.as_mut().and_then(|extra| extra.error.take()) {
            return Err(error.into());
        }
        self.await_connection(listener.0);
        Ok(None)
    }

    fn leave_listener(&mut self, listener: SourceId) -> Option<Vec<(OwnedFd, Address)>> {
        self.stop_accepting(listener)
    }

    fn add_stream(&mut self, socket: OwnedFd, owner: Owner) -> io::Result<SourceId> {
        let key = self.add(socket, owner, Marks::WRITABLE)?;
        self.await_input(key);
        Ok(SourceId(key))
    }

    #[inline]
    fn receive(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        let Some((buffer, consumed)) = source.input.pop_from(&self.links) else {
            return self.receive_by_call(stream);
        };
        // Whoever takes input after a release that came to nothing goes on with the stream.
        source.marks.clear(Marks::LEAVING);
        let len = self.ring.bytes(buffer).len();
        self.handed.push(buffer);
        if source.input.is_empty() && !source.marks.has(Marks::RECEIVING) {
            self.await_input(stream.0);
        }
        Ok(Received::Bytes(Span::of_ring(buffer, consumed, len)))
    }

    fn receive_head(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        if source.marks.has(Marks::BULK) && source.input.is_empty() {
            return self.receive_head_by_call(stream);
        }
        self.receive(stream)
    }

    #[inline]
    fn bytes(&self, span: Span) -> &[u8] {
        match span.in_ring() {
            Some((buffer, range)) => self.ring.bytes(buffer).get(range).unwrap_or_default(),
            None => self.inbox.bytes(span),
        }
    }

    fn inbox_has_room(&self) -> bool {
        self.inbox.has_room()
    }

    fn clear_inbox(&mut self) {
        for buffer in self.handed.drain(..) {
            self.ring.release(buffer);
        }
        self.inbox.clear();
    }

    fn receive_into(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        self.receive_or_copy(stream, space, false)
    }

    fn receive_past(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
    ) -> io::Result<Received<(usize, Option<Span>)>> {
        let received = self.receive_or_copy(stream, space, true)?;
        Ok(received.map(|bytes| self.inbox.split(bytes, space.len())))
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.sources.get(stream.0).is_some_and(Source::may_have_input)
    }

    #[inline]
    fn send(&mut self, stream: SourceId, output: &mut impl Unsent) -> io::Result<Sent> {
        self.send_output(stream, output)
    }

    fn sends_at_once(&self) -> bool {
        false
    }

    fn has_rest(&self, stream: SourceId) -> bool {
        self.sources.get(stream.0).is_some_and(Source::has_rest)
    }

    fn has_unsent(&self) -> bool {
        let mut open = self.sources.iter();
        !self.lingering.is_empty() || self.round.has_sends() || open.any(|(_, source)| source.has_rest())
    }

    fn shutdown_output(&mut self, stream: SourceId) -> io::Result<()> {
        let round = self.round.number();
        let source = self.source(stream)?;
        let is_in_round = source.sent_in == round;
        if is_in_round || source.has_rest() {
            source.marks.set(Marks::FINISHING);
            if is_in_round {
                self.round.finish_after();
            }
            return Ok(());
        }
        rustix::net::shutdown(&source.socket, Shutdown::Write)?;
        Ok(())
    }

    fn close(&mut self, source: SourceId) {
        let Some(closed) = self.take_out(source) else { return };
        if let Some(rest) = closed.extra.map(|extra| extra.rest).filter(|rest| !rest.is_empty()) {
            self.linger(closed.socket, rest);
        } else if closed.sent_in == self.round.number() {
            self.round.close_after(closed.send, closed.socket);
        } else {
            self.ring.retire(closed.socket);
            if closed.marks.has(Marks::LISTENER) {
                self.stop_listening();
            }
        }
    }

    fn release(&mut self, stream: SourceId) -> Option<(OwnedFd, Address)> {
        self.let_go(stream)
    }

    fn release_with_rest(&mut self, stream: SourceId) -> Option<(OwnedFd, Address, Vec<u8>)> {
        self.let_go_with_rest(stream)
    }

    fn peer(&self, stream: SourceId) -> Option<Address> {
        socket::peer_address(&self.sources.get(stream.0)?.socket)
    }

    fn local_address(&self, stream: SourceId) -> Option<Address> {
        socket::local_address(&self.sources.get(stream.0)?.socket)
    }

    fn reset(&mut self, stream: SourceId) {
        if let Some(closed) = self.take_out(stream) {
            socket::drop_output(&closed.socket);
            self.ring.retire(closed.socket);
        }
    }

    fn add_datagrams(&mut self, socket: Listener, owner: Owner) -> io::Result<SourceId> {
        let key = self.add(socket.into_socket(), owner, Marks::DATAGRAMS | Marks::WRITABLE)?;
        self.await_input(key);
        Ok(SourceId(key))
    }

    fn receive_datagram(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        self.receive_one(socket, |socket| socket::receive_datagram(socket, space))
    }

    fn send_datagram(&mut self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        let source = self.source(socket)?;
        if !source.marks.has(Marks::WRITABLE) {
            return Ok(false);
        }
        match rustix::net::sendto(&source.socket, bytes, QUIETLY, &to) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => {
                self.await_room(socket.0);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        self.end_round();
        self.cut_unsent();
    }
}

impl fmt::Debug for UringDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringDriver")
            .field("ring", &self.ring)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
