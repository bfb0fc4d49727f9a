//! Streams that a server has accepted for its handlers: what it must know of them, and how it ends them.
//!
//! A handler is sequential code, so nobody but the stream itself sees where in a request it is. A stream counts as
//! *idle* when nothing has been received since its last whole write: then a graceful stop may end it. To the handler
//! that looks as if its peer had finished; whatever has begun goes on until it has been answered.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use super::handle::Handle;
use super::{Net, Stream, current};
use crate::driver::{Address, SourceId};
use crate::timers::now;

/// What the served streams of a shard have in common with their server.
#[derive(Clone)]
pub struct Ledger {
    shared: Rc<Shared>,
}

struct Shared {
    net: Rc<dyn Net>,
    draining: Cell<bool>,
    bytes_read: Cell<u64>,
    bytes_written: Cell<u64>,
    /// The names of streams that have been closed, for the server to take note of.
    closed: RefCell<Vec<u64>>,
}

/// What is kept of one served stream.
pub(super) struct Track {
    shared: Rc<Shared>,
    name: u64,
    progress_ms: Cell<u64>,
    state: Cell<u8>,
}

/// Something has been received that no whole write has followed.
const BUSY: u8 = 1;
/// A write waits for the peer.
const BLOCKED: u8 = 2;
/// The server has given the stream up.
const ENDED: u8 = 4;

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("draining", &self.shared.draining).finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger for the present shard.
    ///
    /// # Errors
    /// There are no sockets here: [`attach`](super::attach) comes first.
    pub fn new() -> io::Result<Self> {
        let shared = Shared {
            net: current()?,
            draining: Cell::new(false),
            bytes_read: Cell::new(0),
            bytes_written: Cell::new(0),
            closed: RefCell::default(),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Takes over a connected source of this shard's driver, one owned by a task. `name` is what
    /// [`take_closed`](Self::take_closed) will call it.
    #[must_use]
    pub fn adopt(&self, source: SourceId, peer: Address, name: u64) -> (Served, Watch) {
        let track = Track {
            shared: Rc::clone(&self.shared),
            name,
            progress_ms: Cell::new(now().monotonic_ms),
            state: Cell::new(0),
        };
        let mut handle = Handle::new(Rc::clone(&self.shared.net), source).with_peer(peer);
        handle.track = Some(track);
        let handle = Rc::new(handle);
        let watch = Watch { handle: Rc::downgrade(&handle) };
        (Served { handle }, watch)
    }

    /// Bytes received and sent since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        (self.shared.bytes_read.take(), self.shared.bytes_written.take())
    }

    /// Gives the name of a stream that has been closed, each once.
    #[must_use]
    pub fn take_closed(&self) -> Option<u64> {
        self.shared.closed.borrow_mut().pop()
    }

    /// From now on idle streams see the end of their input. Those that wait for input already are told by
    /// [`Watch::nudge`].
    pub fn drain(&self) {
        self.shared.draining.set(true);
    }
}

/// An accepted connection on its way to its handler.
pub struct Served {
    handle: Rc<Handle>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("peer", &self.handle.peer).finish_non_exhaustive()
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
    fn read<T>(&self, of: impl FnOnce(&Track) -> T) -> Option<T> {
        self.handle.upgrade()?.track.as_ref().map(of)
    }

    /// When bytes last went either way, as a reading of [`Now::monotonic_ms`](mm_base::Now); None when it is closed.
    #[must_use]
    pub fn progress_ms(&self) -> Option<u64> {
        self.read(|track| track.progress_ms.get())
    }

    /// Whether a write waits for the peer.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.read(|track| track.has(BLOCKED)).unwrap_or(false)
    }

    /// Whether something has been received that no whole write has followed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.read(|track| track.has(BUSY)).unwrap_or(false)
    }

    /// Has whoever waits for the stream look again.
    pub fn nudge(&self) {
        if let Some(handle) = self.handle.upgrade() {
            handle.net.wake(handle.source);
        }
    }

    /// Gives the stream up: every call on it, waiting or to come, fails with
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). False: it is closed or has been given up before.
    pub fn end(&self) -> bool {
        let ended = self
            .read(|track| {
                !track.has(ENDED) && {
                    track.set(ENDED);
                    true
                }
            })
            .unwrap_or(false);
        if ended {
            self.nudge();
        }
        ended
    }
}

impl Track {
    fn has(&self, flag: u8) -> bool {
        self.state.get() & flag != 0
    }

    fn set(&self, flag: u8) {
        self.state.set(self.state.get() | flag);
    }

    fn unset(&self, flag: u8) {
        self.state.set(self.state.get() & !flag);
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.has(ENDED) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the server has ended this connection",
            ));
        }
        Ok(())
    }

    pub(super) fn closed(&self) {
        self.shared.closed.borrow_mut().push(self.name);
    }

    /// Bytes have come.
    pub(super) fn received(&self, bytes: usize) {
        self.set(BUSY);
        self.progress_ms.set(now().monotonic_ms);
        add(&self.shared.bytes_read, bytes);
    }

    /// Whether a stream that would have to wait for input is at its end, for the server stops.
    pub(super) fn ends(&self) -> bool {
        self.shared.draining.get() && !self.has(BUSY)
    }

    /// Bytes have gone, and perhaps some are left.
    pub(super) fn sent(&self, bytes: usize, blocked: bool) {
        if bytes > 0 {
            self.progress_ms.set(now().monotonic_ms);
            add(&self.shared.bytes_written, bytes);
        }
        if blocked {
            self.set(BLOCKED);
        } else {
            self.unset(BLOCKED | BUSY);
        }
    }
}

fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
}
