//! The driver on Linux's epoll.
//!
//! Each source is registered once, edge-triggered, for everything, and stays so until it is closed: one `epoll_ctl` per
//! connection.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use mm_base::slab::Key;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::readiness::{News, Outlook, Poller, ReadinessDriver, Role, System, Table};
use super::spin::{Looked, Spin};
use super::{Event, Kind, Waker};
use crate::limits::EVENTS_MAX;

/// What the kernel returns with events of the wake descriptor; no source's key is this.
const WAKE: u64 = u64::MAX;

/// The driver on epoll.
pub type EpollDriver = ReadinessDriver<System<Epoll>>;

/// An epoll instance.
pub struct Epoll {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    events: Vec<epoll::Event>,
    spin: Spin,
}

/// A wait that does not sleep.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Epoll {
    /// Looks for events for a while, then waits for them for what is left of the time.
    fn look(&mut self, timeout: Option<&Timespec>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Duration::try_from(*timeout).ok());
        let mut spin = std::mem::take(&mut self.spin);
        let looked = spin.look(timeout, || {
            self.take(Some(&AT_ONCE))?;
            Ok(!self.events.is_empty())
        });
        self.spin = spin;
        match looked? {
            Looked::Found => Ok(()),
            Looked::InVain(left) => self.take(left.and_then(|left| left.try_into().ok()).as_ref()),
        }
    }

    /// Waits once.
    fn take(&mut self, timeout: Option<&Timespec>) -> io::Result<()> {
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Poller for Epoll {
    const KIND: Kind = Kind::Epoll;

    fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, so that its counter need never be read.
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            wake: Arc::new(wake),
            events: Vec::with_capacity(EVENTS_MAX),
            spin: Spin::default(),
        })
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

    fn watch(&mut self, socket: &OwnedFd, key: Key, role: Role) -> io::Result<()> {
        let flags = match role {
            // Of several shards that share the socket one is woken for a connection, not all.
            Role::Listener => EventFlags::IN | EventFlags::EXCLUSIVE,
            Role::Stream => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI,
            Role::Datagrams => EventFlags::IN | EventFlags::OUT,
        };
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(key.to_u64()), flags | EventFlags::ET)?)
    }

    fn unwatch(&mut self, socket: &OwnedFd, _key: Key, role: Role) {
        if role != Role::Stream {
            // Open elsewhere, it would stay watched and take wake-ups, which go to one driver alone, that nobody here
            // acts upon. A failure is that of one that is not watched.
            epoll::delete(&self.epoll, socket).ok();
        }
    }

    fn forget(&mut self, socket: &OwnedFd, _key: Key) -> bool {
        epoll::delete(&self.epoll, socket).is_ok()
    }

    fn wait(
        &mut self,
        timeout: Option<&Timespec>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.events.clear();
        if self.spin.is_on() && timeout != Some(&AT_ONCE) {
            self.look(timeout)?;
        } else {
            self.take(timeout)?;
        }
        for event in &self.events {
            let flags = event.flags;
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            let hung_up = failed || flags.contains(EventFlags::RDHUP);
            let news = News {
                readable: hung_up || flags.contains(EventFlags::IN),
                writable: failed || flags.contains(EventFlags::OUT),
                outlook: outlook(flags, hung_up),
            };
            // The wake descriptor's is the key of no source.
            table.tell(Key::from_u64(event.data.u64()), news, events);
        }
        Ok(())
    }
}

/// What is to be expected of a source, beside what has come.
#[inline]
fn outlook(flags: EventFlags, hung_up: bool) -> Outlook {
    if hung_up {
        return Outlook::HungUp;
    }
    if flags.contains(EventFlags::PRI) { Outlook::Urgent } else { Outlook::Open }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}
