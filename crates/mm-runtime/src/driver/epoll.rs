//! The driver on Linux's epoll.
//!
//! Each source is registered once, edge-triggered, for everything, and stays so until it is closed: one
//! `epoll_ctl` per connection. Calls are tried whenever the last one has not been told to wait, so a request
//! costs a receive, a send and its share of an `epoll_wait`.

mod sockets;

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_base::slab::{Key, Slab};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::inbox::Inbox;
use super::{Address, Driver, Event, Kind, Owner, Received, Sent, SourceId, Span, Waker};
use crate::limits::{EVENTS_MAX, GATHER_MAX, WAIT_MS_MAX};
use crate::sys::clock::Clock;
use crate::sys::socket::{self, Listener, StreamOptions};

/// What the kernel returns with events of the wake descriptor; no source's key is this.
const WAKE: u64 = u64::MAX;

/// One shard's epoll instance and the sockets registered with it.
pub struct EpollDriver {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    sources: Slab<Source>,
    events: Vec<epoll::Event>,
    inbox: Inbox,
    clock: Clock,
    options: StreamOptions,
}

#[derive(Debug)]
struct Source {
    socket: OwnedFd,
    owner: Owner,
    /// A receive or accept might succeed.
    readable: bool,
    /// A send might succeed.
    writable: bool,
    /// The peer has finished sending or the socket has failed: there is no event to come that would tell of
    /// the end, so a short receive does not make the source unreadable.
    hung_up: bool,
}

impl EpollDriver {
    /// A driver without sources. `options` are set on every socket that it accepts.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    pub fn new(options: StreamOptions) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, so that its counter need never be read.
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            wake: Arc::new(wake),
            sources: Slab::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            inbox: Inbox::new(),
            clock: Clock::new(),
            options,
        })
    }

    /// Registers a socket for good.
    fn add(&mut self, socket: OwnedFd, owner: Owner, flags: EventFlags) -> io::Result<SourceId> {
        let key = self.sources.next_key().ok_or(io::ErrorKind::OutOfMemory)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(key.to_u64()), flags | EventFlags::ET)?;
        let source = Source { socket, owner, readable: false, writable: true, hung_up: false };
        if self.sources.insert(source).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(SourceId(key))
    }

    fn source(&mut self, id: SourceId) -> io::Result<&mut Source> {
        self.sources.get_mut(id.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Source {
    /// Receives once, if that might succeed, and remembers what it learns.
    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> io::Result<Received<usize>> {
        if !self.readable {
            return Ok(Received::Blocked);
        }
        let wanted = space.len();
        loop {
            match rustix::net::recv(&self.socket, &mut *space, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Received::End),
                Ok((received, _)) => {
                    self.readable = received == wanted || self.hung_up;
                    return Ok(Received::Bytes(received));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Ok(Received::Blocked);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends once and remembers what it learns. `None`: would block.
    #[inline]
    fn send(&mut self, output: &Output) -> io::Result<Option<usize>> {
        loop {
            let sent = if let Some(bytes) = output.contiguous() {
                rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)
            } else {
                let mut slices = [IoSlice::new(&[]); GATHER_MAX];
                let count = output.gather(&mut slices);
                let mut control = SendAncillaryBuffer::default();
                rustix::net::sendmsg(&self.socket, &slices[..count], &mut control, SendFlags::NOSIGNAL)
            };
            match sent {
                Ok(sent) => return Ok(Some(sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.writable = false;
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Driver for EpollDriver {
    type Socket = OwnedFd;
    type Listener = Listener;

    fn kind(&self) -> Kind {
        Kind::Epoll
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

    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = timeout_ms.map(|ms| timespec(ms.min(WAIT_MS_MAX)));
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let (data, flags) = (event.data.u64(), event.flags);
            let key = Key::from_u64(data);
            // A stale key is that of a source closed in this batch.
            let Some(source) = self.sources.get_mut(key) else { continue };
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            source.hung_up |= failed || flags.contains(EventFlags::RDHUP);
            let readable = failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
            let writable = failed || flags.contains(EventFlags::OUT);
            source.readable |= readable;
            source.writable |= writable;
            events.push(Event { source: SourceId(key), owner: source.owner, readable, writable });
        }
        Ok(())
    }

    fn add_listener(&mut self, listener: Listener, owner: Owner) -> io::Result<SourceId> {
        // Of several shards that share the socket one is woken for a connection, not all.
        self.add(listener.into_socket(), owner, EventFlags::IN | EventFlags::EXCLUSIVE)
    }

    fn accept(&mut self, listener: SourceId) -> io::Result<Option<(OwnedFd, Address)>> {
        let options = self.options;
        let source = self.source(listener)?;
        if !source.readable {
            return Ok(None);
        }
        match socket::accept(&source.socket, options) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                source.readable = false;
                Ok(None)
            }
            accepted => accepted.map(Some),
        }
    }

    fn add_stream(&mut self, socket: OwnedFd, owner: Owner) -> io::Result<SourceId> {
        self.add(socket, owner, EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP)
    }

    #[inline]
    fn receive(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        let received = source.receive(self.inbox.room())?;
        Ok(match received {
            Received::Bytes(bytes) => Received::Bytes(self.inbox.take(bytes)),
            Received::Blocked => Received::Blocked,
            Received::End => Received::End,
        })
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
        self.source(stream)?.receive(space)
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.sources.get(stream.0).is_some_and(|source| source.readable)
    }

    fn send(&mut self, stream: SourceId, output: &mut Output) -> io::Result<Sent> {
        let source = self.source(stream)?;
        while !output.is_empty() {
            if !source.writable {
                return Ok(Sent::Blocked);
            }
            let gathered = output.gathered_len(GATHER_MAX);
            let Some(sent) = source.send(output)? else { return Ok(Sent::Blocked) };
            output.advance(sent);
            // The kernel took less than it was offered: an event will tell when it wants more.
            source.writable = sent == gathered;
        }
        Ok(Sent::All)
    }

    fn shutdown_output(&mut self, stream: SourceId) -> io::Result<()> {
        rustix::net::shutdown(&self.source(stream)?.socket, Shutdown::Write)?;
        Ok(())
    }

    fn close(&mut self, source: SourceId) {
        // Closing the descriptor, of which there is no duplicate, takes it out of the epoll instance too.
        drop(self.sources.remove(source.0));
    }

    fn reset(&mut self, stream: SourceId) {
        if let Some(source) = self.sources.remove(stream.0) {
            socket::reset(source.socket);
        }
    }
}

impl fmt::Debug for EpollDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpollDriver").field("sources", &self.sources).finish_non_exhaustive()
    }
}

fn timespec(milliseconds: u64) -> Timespec {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let rest = i64::try_from(milliseconds % 1000).unwrap_or(0);
    Timespec { tv_sec: seconds, tv_nsec: rest * 1_000_000 }
}
