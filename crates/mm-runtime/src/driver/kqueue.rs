//! The driver on kqueue, which macOS and the BSDs have.
//!
//! The kernel's part, one call, is behind [`Queue`], so that all that follows from it can be tested where there is no
//! kqueue. Each stream is watched for input and for room by a filter each, edge-triggered (`EV_CLEAR`), until it is
//! closed, which takes its filters out, or given away, for which they are deleted. New filters wait in a list that goes
//! to the kernel with the next wait, so a connection costs no call of its own.
//!
//! Of urgent data kqueue says nothing that all systems share. A receive stops at its place, and what lies behind it is
//! looked for when more comes: a peer that sends some and then waits, which no protocol here does, waits in vain.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use mm_base::slab::Key;
use rustix::event::Timespec;
use rustix::io::Errno;

use super::readiness::{Bell, News, Outlook, Poller, Role, Table};
use super::{Event, Kind, Waker};
use crate::limits::{CHANGES_MAX, EVENTS_MAX};

/// The driver on the system's kqueue.
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub type KqueueDriver =
    super::readiness::ReadinessDriver<super::readiness::System<Kqueue<crate::sys::kqueue::SystemQueue>>>;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filter {
    /// Input, the end of it, or connections to accept.
    Read,
    /// Room for output.
    Write,
}

/// An order to watch a socket from now on, or, if it is watched already, to call it by another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The socket's descriptor.
    pub socket: RawFd,
    /// What for.
    pub filter: Filter,
    /// What its events are to carry: the source's place in the table, or [`WAKE`].
    pub place: usize,
}

/// What the kernel has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// What a filter watches for has happened.
    Ready {
        /// Which filter.
        filter: Filter,
        /// What its change said.
        place: usize,
        /// The peer has finished sending, or the socket has failed (`EV_EOF`). Input may be left all the same.
        ended: bool,
    },
    /// A change could not be made (`EV_ERROR`).
    Failed {
        /// What the change said.
        place: usize,
        /// Why.
        error: Errno,
    },
}

/// The place of what ends a wait; no source has it.
pub const WAKE: usize = usize::MAX;

/// A queue of the kernel's.
pub trait Queue: Sized {
    /// A queue that watches nothing, or only what its [`waker`](Self::waker) does.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    fn new() -> io::Result<Self>;

    /// What causes a [`Found::Ready`] with the place [`WAKE`] from any thread. `None`: this system has no such events.
    fn waker(&self) -> Option<Waker>;

    /// Makes one change at once.
    ///
    /// # Errors
    /// It cannot be made.
    fn watch(&mut self, socket: BorrowedFd<'_>, filter: Filter, place: usize) -> Result<(), Errno>;

    /// Watches a socket no more: nothing is found by this filter from now on.
    ///
    /// # Errors
    /// [`Errno::NOENT`]: it was not watched. Any other: it still is.
    fn forget(&mut self, socket: BorrowedFd<'_>, filter: Filter) -> Result<(), Errno>;

    /// Makes all changes, waits for something to happen, for ever without a `timeout`, and appends what is found, at
    /// most [`EVENTS_MAX`].
    ///
    /// # Errors
    /// [`Errno::INTR`]: the changes have been made, and then a signal has ended the wait.
    fn exchange(
        &mut self,
        changes: &[Change],
        timeout: Option<&Timespec>,
        found: &mut Vec<Found>,
    ) -> Result<(), Errno>;
}

/// Tells what is ready by a [`Queue`].
pub struct Kqueue<Q> {
    queue: Q,
    /// Ends waits where the queue has no events for that.
    bell: Option<Bell>,
    /// Changes that go with the next wait.
    changes: Vec<Change>,
    found: Vec<Found>,
}

impl<Q: Queue> Kqueue<Q> {
    /// Makes it of a queue.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    pub fn over(mut queue: Q) -> io::Result<Self> {
        let mut bell = None;
        if queue.waker().is_none() {
            let made = Bell::new()?;
            queue.watch(made.as_fd(), Filter::Read, WAKE)?;
            bell = Some(made);
        }
        let (changes, found) = (Vec::with_capacity(CHANGES_MAX), Vec::with_capacity(EVENTS_MAX));
        Ok(Self { queue, bell, changes, found })
    }

    /// Watches a socket from the next wait on, or from now on when many others wait for that.
    fn add(&mut self, socket: &OwnedFd, filter: Filter, place: usize) -> io::Result<()> {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(Change { socket: socket.as_raw_fd(), filter, place });
            return Ok(());
        }
        Ok(self.queue.watch(socket.as_fd(), filter, place)?)
    }
}

/// What has been found of a source.
fn news(found: Found) -> (usize, News) {
    match found {
        Found::Ready { filter: Filter::Read, place, ended } => {
            // The end is told once, so it must not be forgotten over input that lies before it.
            let outlook = if ended { Outlook::HungUp } else { Outlook::Open };
            (place, News { readable: true, writable: false, outlook })
        }
        Found::Ready { filter: Filter::Write, place, .. } => {
            (place, News { readable: false, writable: true, outlook: Outlook::Open })
        }
        Found::Failed { place, error } => {
            // A peer that had already gone is no filter's failure: calls will tell.
            let gone = matches!(error, Errno::PIPE | Errno::NOTCONN | Errno::CONNRESET);
            let outlook = if gone { Outlook::HungUp } else { Outlook::Deaf };
            (place, News { readable: true, writable: true, outlook })
        }
    }
}

impl<Q: Queue> Poller for Kqueue<Q> {
    const KIND: Kind = Kind::Kqueue;

    fn new() -> io::Result<Self> {
        Self::over(Q::new()?)
    }

    fn waker(&self) -> Waker {
        let of_bell = || self.bell.as_ref().map(Bell::waker);
        self.queue.waker().or_else(of_bell).unwrap_or_else(|| Waker::new(|| {}))
    }

    fn watch(&mut self, socket: &OwnedFd, key: Key, role: Role) -> io::Result<()> {
        let place = key.index();
        if role == Role::Listener {
            // At once: there is nobody to tell of a failure later.
            return Ok(self.queue.watch(socket.as_fd(), Filter::Read, place)?);
        }
        self.add(socket, Filter::Read, place)?;
        self.add(socket, Filter::Write, place)
    }

    fn unwatch(&mut self, _socket: &OwnedFd, key: Key, _role: Role) {
        // A change for a closed descriptor would be one for whatever socket gets the same number next.
        self.changes.retain(|change| change.place != key.index());
    }

    fn forget(&mut self, socket: &OwnedFd, key: Key) -> bool {
        let place = key.index();
        self.changes.retain(|change| change.place != place);
        let mut filters = [Filter::Read, Filter::Write].into_iter();
        let gone = filters.all(|filter| {
            // It is not there where its change had not been made yet, or could not be.
            matches!(self.queue.forget(socket.as_fd(), filter), Ok(()) | Err(Errno::NOENT))
        });
        if !gone {
            // Half of them may be gone, or a change not made yet.
            self.watch(socket, key, Role::Stream).ok();
        }
        gone
    }

    fn wait(
        &mut self,
        timeout: Option<&Timespec>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.found.clear();
        let exchanged = self.queue.exchange(&self.changes, timeout, &mut self.found);
        self.changes.clear();
        match exchanged {
            Ok(()) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for found in &self.found {
            let (place, news) = news(*found);
            if place == WAKE {
                self.bell.as_ref().inspect(|bell| bell.hush());
            } else if let Some((key, _)) = table.at(place) {
                // Closing a socket takes its filters out at once, so this is the source that was watched.
                table.tell(key, news, events);
            }
        }
        Ok(())
    }
}

impl<Q> fmt::Debug for Kqueue<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kqueue").field("changes", &self.changes).finish_non_exhaustive()
    }
}
