//! epoll, with descriptors as tokens.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

/// An epoll instance and room for the events of one wait.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
    ready: usize,
}

/// One ready descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The descriptor, as the index of a table.
    pub(crate) index: usize,
    /// What it is ready for.
    pub(crate) flags: EventFlags,
}

impl Poll {
    /// An instance that takes up to `events_per_wait` events at a time.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub(crate) fn new(events_per_wait: usize) -> Result<Self, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| format!("epoll_create1: {error}"))?;
        let empty = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        Ok(Self { epoll, events: vec![empty; events_per_wait], ready: 0 })
    }

    /// Registers a descriptor.
    ///
    /// # Errors
    /// It cannot be polled.
    pub(crate) fn add(&self, source: &OwnedFd, flags: EventFlags) -> Result<(), String> {
        epoll::add(&self.epoll, source.as_fd(), token(source), flags)
            .map_err(|error| format!("epoll_ctl: {error}"))
    }

    /// Changes what a registered descriptor is watched for.
    ///
    /// # Errors
    /// It is not registered.
    pub(crate) fn modify(&self, source: &OwnedFd, flags: EventFlags) -> Result<(), String> {
        epoll::modify(&self.epoll, source.as_fd(), token(source), flags)
            .map_err(|error| format!("epoll_ctl: {error}"))
    }

    /// Waits for events, `None` for ever; gives how many came. Interruption by a signal counts as none.
    ///
    /// # Errors
    /// epoll itself failed.
    pub(crate) fn wait(&mut self, timeout: Option<&Timespec>) -> Result<usize, String> {
        self.ready = match epoll::wait(&self.epoll, &mut self.events[..], timeout) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(format!("epoll_wait: {error}")),
        };
        Ok(self.ready)
    }

    /// Waits for events for so many nanoseconds, less than a second, as exactly as the system can.
    ///
    /// # Errors
    /// epoll itself failed.
    pub(crate) fn wait_exactly(&mut self, timeout_ns: u64) -> Result<usize, String> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout_ns.min(999_999_999).cast_signed() };
        // epoll_wait counts in milliseconds.
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => self.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 })),
            Err(error) => Err(format!("poll: {error}")),
        }
    }

    /// The event at `position` of the last wait.
    pub(crate) fn ready(&self, position: usize) -> Ready {
        let event = self.events[position];
        Ready { index: usize::try_from(event.data.u64()).unwrap_or(usize::MAX), flags: event.flags }
    }
}

fn token(source: &OwnedFd) -> EventData {
    EventData::new_u64(u64::from(source.as_raw_fd().unsigned_abs()))
}
