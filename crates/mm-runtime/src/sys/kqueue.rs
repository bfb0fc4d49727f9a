//! kqueue's system calls.

#![expect(unsafe_code, reason = "the kernel is given descriptors by number")]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent_timespec, kqueue};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::driver::Waker;
use crate::driver::kqueue::{Change, Filter, Found, Queue};
use crate::limits::{CHANGES_MAX, EVENTS_MAX};

/// A queue of the kernel's.
pub struct SystemQueue {
    queue: Arc<OwnedFd>,
    changes: Vec<Event>,
    events: Vec<Event>,
}

impl Queue for SystemQueue {
    fn new() -> io::Result<Self> {
        let queue = kqueue()?;
        fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
        user::register(&queue)?;
        let (changes, events) = (Vec::with_capacity(CHANGES_MAX), Vec::with_capacity(EVENTS_MAX));
        Ok(Self { queue: Arc::new(queue), changes, events })
    }

    fn waker(&self) -> Option<Waker> {
        user::waker(&self.queue)
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, filter: Filter, place: usize) -> Result<(), Errno> {
        call(&self.queue, &[watching(socket.as_raw_fd(), filter, place)])
    }

    fn forget(&mut self, socket: BorrowedFd<'_>, filter: Filter) -> Result<(), Errno> {
        let filter = event_filter(socket.as_raw_fd(), filter);
        call(&self.queue, &[Event::new(filter, EventFlags::DELETE, std::ptr::null_mut())])
    }

    fn exchange(
        &mut self,
        changes: &[Change],
        timeout: Option<&Timespec>,
        found: &mut Vec<Found>,
    ) -> Result<(), Errno> {
        self.changes.clear();
        self.changes
            .extend(changes.iter().map(|change| watching(change.socket, change.filter, change.place)));
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        // SAFETY: every descriptor in `changes` is that of an open socket: the driver takes a socket's changes out of
        // the list before it closes the socket or gives it away.
        unsafe { kevent_timespec(&*self.queue, &self.changes, room, timeout) }?;
        found.extend(self.events.iter().filter_map(translate));
        Ok(())
    }
}

/// Makes changes and takes nothing.
fn call(queue: &OwnedFd, changes: &[Event]) -> Result<(), Errno> {
    let mut none: [Event; 0] = [];
    // SAFETY: a caller's change is for a user event, which has no descriptor, or for a socket that it has borrowed.
    // That its filter outlives the borrow is harmless: closing the socket takes it out.
    unsafe { kevent_timespec(queue, changes, &mut none[..], None) }.map(|_| ())
}

/// The order to watch a socket, edge-triggered.
fn watching(socket: RawFd, filter: Filter, place: usize) -> Event {
    let flags = EventFlags::ADD | EventFlags::CLEAR;
    Event::new(event_filter(socket, filter), flags, std::ptr::without_provenance_mut(place))
}

fn event_filter(socket: RawFd, filter: Filter) -> EventFilter {
    match filter {
        Filter::Read => EventFilter::Read(socket),
        Filter::Write => EventFilter::Write(socket),
    }
}

/// What an event of the kernel's says.
fn translate(event: &Event) -> Option<Found> {
    let place = event.udata().addr();
    if event.flags().contains(EventFlags::ERROR) {
        let number = i32::try_from(event.data()).unwrap_or(0);
        return (number != 0).then(|| Found::Failed { place, error: Errno::from_raw_os_error(number) });
    }
    let filter = match event.filter() {
        EventFilter::Write(_) => Filter::Write,
        _ => Filter::Read,
    };
    Some(Found::Ready { filter, place, ended: event.flags().contains(EventFlags::EOF) })
}

impl fmt::Debug for SystemQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemQueue").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Events that a program makes itself (`EVFILT_USER`).
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
mod user {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use rustix::event::kqueue::{Event, EventFilter, EventFlags, UserDefinedFlags, UserFlags};
    use rustix::io::Errno;

    use super::call;
    use crate::driver::Waker;
    use crate::driver::kqueue::WAKE;

    pub(super) fn register(queue: &OwnedFd) -> Result<(), Errno> {
        call(queue, &[event(EventFlags::ADD | EventFlags::CLEAR, UserFlags::empty())])
    }

    pub(super) fn waker(queue: &Arc<OwnedFd>) -> Option<Waker> {
        let queue = Arc::clone(queue);
        // There is nothing that could fail while the queue is open, and this keeps it open.
        Some(Waker::new(move || {
            call(&queue, &[event(EventFlags::empty(), UserFlags::TRIGGER)]).ok();
        }))
    }

    fn event(flags: EventFlags, user: UserFlags) -> Event {
        let filter = EventFilter::User { ident: 0, flags: user, user_flags: UserDefinedFlags::new(0) };
        Event::new(filter, flags, std::ptr::without_provenance_mut(WAKE))
    }
}

/// There are none.
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly")))]
mod user {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use rustix::io::Errno;

    use crate::driver::Waker;

    pub(super) fn register(_queue: &OwnedFd) -> Result<(), Errno> {
        Ok(())
    }

    pub(super) fn waker(_queue: &Arc<OwnedFd>) -> Option<Waker> {
        None
    }
}
