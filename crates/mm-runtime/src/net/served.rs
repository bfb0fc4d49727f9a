//! Streams that a server has accepted for its handlers: what it must know of them, and how it ends them.
//!
//! A handler is sequential code, so nobody but the stream itself sees where in a request it is. A stream counts as
//! *idle* when nothing has been received, or taken from what had been, since its last whole write, or when its handler
//! says so: then a graceful stop may end it. To the handler that looks as if its peer had finished; whatever has begun
//! goes on until it has been answered. A request that waits for something else hears of the stop where it says that it
//! can do without that: [`finished`](super::BufferedReader::finished).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hint::cold_path;
use std::io;
use std::rc::{Rc, Weak};

use super::handle::{BLOCKED, BUSY, CUT, ENDED, FRESH, Handle, READING, SERVED};
use super::linger::linger;
use super::{Net, Stream, current};
use crate::driver::{Address, SourceId};
use crate::timers::now;

/// What the served streams of a shard have in common with their server.
#[derive(Clone)]
pub struct Ledger {
    net: Rc<Net>,
}

/// What a shard's served streams have noted.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Note {
    draining: Cell<bool>,
    bytes_read: Cell<u64>,
    bytes_written: Cell<u64>,
    /// Streams that have been closed, for the server to take note of.
    closed: RefCell<Vec<SourceId>>,
    linger_ms: Cell<u64>,
    lingered: Cell<u64>,
}

impl Note {
    pub(super) fn closed(&self, stream: SourceId) {
        self.closed.borrow_mut().push(stream);
    }

    /// Has a stream [linger](super::linger) that its handler has left; false: it is to be closed.
    pub(super) fn linger(&self, stream: SourceId) -> bool {
        let lingers = linger(stream, self.linger_ms.get());
        add(&self.lingered, usize::from(lingers));
        lingers
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("draining", &self.net.note.draining).finish_non_exhaustive()
    }
}

impl Ledger {
    /// The ledger of the present shard. A stream that its handler has left while the peer still sends
    /// [lingers](super::linger) for `linger_ms` milliseconds.
    ///
    /// # Errors
    /// There are no sockets here: [`attach`](super::attach) comes first.
    pub fn new(linger_ms: u64) -> io::Result<Self> {
        let net = current()?;
        net.note.linger_ms.set(linger_ms);
        Ok(Self { net })
    }

    /// Takes over a connected source of this shard's driver, one owned by a task.
    #[must_use]
    pub fn adopt(&self, source: SourceId, peer: Address) -> (Served, Watch) {
        let handle = Handle::new(Rc::clone(&self.net), source).with_peer(peer);
        handle.set(SERVED);
        handle.progress_ms.set(now().monotonic_ms);
        let handle = Rc::new(handle);
        let watch = Watch { handle: Rc::downgrade(&handle) };
        (Served { handle }, watch)
    }

    /// Bytes received and sent since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        let note = &self.net.note;
        (note.bytes_read.take(), note.bytes_written.take())
    }

    /// Streams that linger since the last call.
    #[must_use]
    pub fn take_lingered(&self) -> u64 {
        self.net.note.lingered.take()
    }

    /// Gives the source of a stream that has been closed, each once. Ask at the end of each turn and before a source is
    /// added: that may take its place.
    #[must_use]
    pub fn take_closed(&self) -> Option<SourceId> {
        self.net.note.closed.borrow_mut().pop()
    }

    /// From now on idle streams see the end of their input. Those that wait for input already are told by
    /// [`Watch::nudge`].
    pub fn drain(&self) {
        self.net.note.draining.set(true);
    }
}

/// An accepted connection on its way to its handler.
pub struct Served {
    handle: Rc<Handle>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("peer", &self.handle.peer()).finish_non_exhaustive()
    }
}

impl Served {
    /// The stream.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        Stream::of_handle(self.handle)
    }
}

/// The server's view of a served stream. It does not keep the stream open.
pub struct Watch {
    handle: Weak<Handle>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("open", &(self.handle.strong_count() > 0)).finish_non_exhaustive()
    }
}

impl Watch {
    fn has(&self, mark: u16) -> bool {
        self.handle.upgrade().is_some_and(|handle| handle.has(mark))
    }

    /// When bytes last went either way, as a reading of [`Now::monotonic_ms`](mm_base::Now); None when it is closed.
    #[must_use]
    pub fn progress_ms(&self) -> Option<u64> {
        self.handle.upgrade().map(|handle| handle.progress_ms.get())
    }

    /// Who is at the other end; None when it is closed.
    #[must_use]
    pub fn peer(&self) -> Option<Address> {
        self.handle.upgrade().map(|handle| handle.peer())
    }

    /// Whether a write waits for the peer.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.has(BLOCKED)
    }

    /// Whether something has been received that no whole write has followed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.has(BUSY)
    }

    /// Whether what has been received waits for the handler, not for the peer to go on: no read has had to wait since,
    /// or the handler waits for something else with [`finished`](super::BufferedReader::finished) beside it.
    #[must_use]
    pub fn owes_answer(&self) -> bool {
        self.has(BUSY) && !self.has(READING)
    }

    /// Has whoever waits for the stream look again.
    pub fn nudge(&self) {
        if let Some(handle) = self.handle.upgrade() {
            handle.wake();
        }
    }

    /// Closes the stream, whoever has it: every call on it, waiting or to come, fails with
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). In the middle of a write that is by a reset. False: it
    /// has been closed before.
    pub fn end(&self) -> bool {
        let Some(handle) = self.handle.upgrade() else { return false };
        if handle.has(ENDED) {
            return false;
        }
        let cut = if handle.has(BLOCKED) { CUT } else { 0 };
        handle.set(ENDED | cut);
        handle.net.note.closed(handle.source);
        handle.close();
        true
    }
}

impl Handle {
    /// Bytes have come.
    #[inline]
    pub(super) fn received(&self, bytes: usize) {
        self.set(FRESH);
        if self.has(SERVED) {
            self.begun();
            self.progress_ms.set(now().monotonic_ms);
            add(&self.net.note.bytes_read, bytes);
        }
    }

    /// The handler has, or gets, bytes of a request.
    #[inline]
    pub(super) fn begun(&self) {
        self.set(BUSY);
        self.unset(READING);
    }

    /// A read has to wait. What has begun is the peer's affair from now on.
    #[inline]
    pub(super) fn awaits_input(&self) {
        if self.has(SERVED) && !self.has(READING) {
            if self.has(BUSY) {
                self.progress_ms.set(now().monotonic_ms);
            }
            self.set(READING);
        }
    }

    /// Whether the server that serves it stops gracefully.
    pub(super) fn is_stopped(&self) -> bool {
        self.has(SERVED) && self.net.note.draining.get()
    }

    /// Whether its peer may have sent what nobody is going to read, or may still send it: where a stop is what ends the
    /// stream, a peer that was served lately may not know yet.
    pub(super) fn may_still_get_input(&self) -> bool {
        let note = &self.net.note;
        let quiet_ms = || now().monotonic_ms.saturating_sub(self.progress_ms.get());
        self.net.driver.may_have_input(self.source)
            || (note.draining.get() && quiet_ms() < note.linger_ms.get())
    }

    /// Whether a stream that would have to wait for input is at its end, for the server stops.
    pub(super) fn ends(&self) -> bool {
        !self.has(BUSY) && self.is_stopped()
    }

    /// Bytes have gone, and perhaps some are left.
    #[inline]
    pub(super) fn sent(&self, bytes: usize, blocked: bool) {
        if blocked {
            cold_path();
            self.set(BLOCKED);
        } else {
            // Of a write that was cut, no empty one brings the rest.
            let cut = if bytes > 0 { CUT } else { 0 };
            self.unset(BLOCKED | BUSY | cut);
        }
        if !self.has(SERVED) {
            return;
        }
        if bytes > 0 {
            self.progress_ms.set(now().monotonic_ms);
            add(&self.net.note.bytes_written, bytes);
        }
        if !blocked && self.net.note.draining.get() {
            cold_path();
            self.wake();
        }
    }

    /// See [`Stream::set_busy`].
    pub(super) fn set_busy(&self, busy: bool) {
        if busy {
            self.begun();
        } else {
            self.unset(BUSY);
            // What it may have waited for until now was not the peer.
            self.progress_ms.set(now().monotonic_ms);
            if self.ends() {
                self.wake();
            }
        }
    }

    /// Has those who wait for it look again: the input may be at its end now.
    #[cold]
    fn wake(&self) {
        self.net.driver.wake(self.source);
    }
}

fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
}
