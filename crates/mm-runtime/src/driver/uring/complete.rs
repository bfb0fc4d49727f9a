//! What becomes of completions.

use std::os::fd::OwnedFd;

use mm_base::slab::Key;
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::UringDriver;
use super::source::Marks;
use crate::driver::{Address, Driver as _, Event, SourceId};
use crate::limits::{ACCEPTED_MAX, EVENTS_MAX, INPUT_BUFFERS_MAX};
use crate::sys::socket;
use crate::sys::uring::{Completion, News, Operation, Tag};

/// What an event says.
#[derive(Clone, Copy)]
pub(super) struct Ready {
    readable: bool,
    writable: bool,
}

const READABLE: Ready = Ready { readable: true, writable: false };
pub(super) const WRITABLE: Ready = Ready { readable: false, writable: true };
pub(super) const BOTH: Ready = Ready { readable: true, writable: true };

impl UringDriver {
    /// Takes completions, as long as there is room for the events that may come of them.
    pub(super) fn complete(&mut self, events: &mut Vec<Event>) {
        while events.len() < EVENTS_MAX {
            let event = match self.ring.next_news() {
                Some(News::Input(key, buffer)) => self.got_input(key, buffer),
                Some(News::Other(completion)) => self.completed(completion),
                None => break,
            };
            if let Some(event) = event {
                events.push(event);
            }
        }
    }

    /// Takes a completion.
    #[cold]
    fn completed(&mut self, completion: Completion) -> Option<Event> {
        match completion.tag.operation {
            Operation::Receive => self.received(&completion),
            Operation::Accept => self.accepted(completion),
            Operation::Readable => self.readable(&completion),
            Operation::Writable => self.writable(&completion),
            Operation::Send => self.sent_short(&completion),
            Operation::Linger => {
                self.linger_on(&completion);
                None
            }
            Operation::Wake => {
                self.woken = true;
                if !completion.more {
                    self.ring.watch(&self.wake, PollFlags::IN, completion.tag);
                }
                None
            }
            Operation::Fence => {
                self.fence_passed(completion.tag.key.serial());
                None
            }
            Operation::Cancel => None,
        }
    }

    /// The kernel has received into a buffer, and goes on.
    #[inline]
    fn got_input(&mut self, key: Key, buffer: u16) -> Option<Event> {
        let Some(source) = self.sources.get_mut(key) else {
            // The source has been closed.
            self.ring.release(buffer);
            return None;
        };
        source.input.push(buffer, &mut self.links);
        if source.input.count() >= INPUT_BUFFERS_MAX && !source.marks.has(Marks::PAUSING) {
            source.marks.set(Marks::PAUSING);
            self.ring.cancel(Tag::new(Operation::Receive, key));
        }
        Some(Event { source: SourceId(key), owner: source.owner, readable: true, writable: false })
    }

    /// An event of a source.
    pub(super) fn event(&self, key: Key, ready: Ready) -> Option<Event> {
        let owner = self.sources.get(key)?.owner;
        let Ready { readable, writable } = ready;
        Some(Event { source: SourceId(key), owner, readable, writable })
    }

    fn received(&mut self, completion: &Completion) -> Option<Event> {
        let &Completion { tag, result, more, buffer, .. } = completion;
        let Some(source) = self.sources.get_mut(tag.key) else {
            // The source has been closed.
            self.give_back(buffer);
            return None;
        };
        if !more {
            source.marks.clear(Marks::RECEIVING | Marks::PAUSING);
        }
        let mut event =
            Event { source: SourceId(tag.key), owner: source.owner, readable: true, writable: false };
        match (result, buffer) {
            (Ok(1..), Some(buffer)) => {
                // The last: the others are `got_input`.
                source.input.push(buffer, &mut self.links);
                return Some(event);
            }
            (Ok(_), buffer) => {
                source.marks.set(Marks::ENDED);
                self.give_back(buffer);
                return Some(event);
            }
            (Err(error), buffer) => {
                self.give_back(buffer);
                if self.receiving_ended(tag.key, error) {
                    return None;
                }
            }
        }
        event.writable = true;
        Some(event)
    }

    fn give_back(&mut self, buffer: Option<u16>) {
        if let Some(buffer) = buffer {
            self.ring.release(buffer);
        }
    }

    /// A receive has ended with an error. `true`: the stream is none the worse for it.
    fn receiving_ended(&mut self, key: Key, error: Errno) -> bool {
        let Some(source) = self.sources.get_mut(key) else { return true };
        match error {
            Errno::CANCELED | Errno::INTR | Errno::AGAIN => {}
            Errno::NOBUFS => {
                self.ring.widen();
            }
            // This socket, or this kernel, cannot be received from in this way.
            Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTSOCK => source.marks.set(Marks::BULK),
            error => {
                source.failure = Some(error);
                return false;
            }
        }
        if source.input.is_empty() && !source.marks.has(Marks::LEAVING) {
            self.await_input(key);
        }
        true
    }

    fn accepted(&mut self, completion: Completion) -> Option<Event> {
        let Completion { tag, result, more, socket, .. } = completion;
        // What was accepted for a listener that has been closed is closed by its drop.
        let source = self.sources.get_mut(tag.key)?;
        if !more {
            source.marks.clear(Marks::ACCEPTING | Marks::PAUSING);
        }
        match (result, socket) {
            (_, Some(socket)) => {
                let accepted = &mut source.extra().accepted;
                accepted.push_back(socket);
                let full = accepted.len() >= ACCEPTED_MAX;
                if more && full && !source.marks.has(Marks::PAUSING) {
                    source.marks.set(Marks::PAUSING);
                    self.ring.cancel(tag);
                }
            }
            (Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN), _) | (Ok(_), None) => {
                if source.extra().accepted.is_empty() && !source.marks.has(Marks::LEAVING) {
                    self.await_connection(tag.key);
                }
                return None;
            }
            (Err(error), None) if socket::are_used_up(error) && !socket::has_connection(&source.socket) => {
                // The kernel takes a descriptor before it looks: asked again, it would fail again for nobody.
                source.marks.set(Marks::POLLING_INPUT);
                self.ring.poll(&source.socket, PollFlags::IN, Tag::new(Operation::Readable, tag.key));
                return None;
            }
            (Err(error), None) => source.extra().error = Some(error),
        }
        self.event(tag.key, READABLE)
    }

    /// Has the kernel accept no more for a listener. When it does not, closes it and gives what nobody has taken.
    pub(super) fn stop_accepting(&mut self, listener: SourceId) -> Option<Vec<(OwnedFd, Address)>> {
        let Some(source) = self.sources.get_mut(listener.0) else { return Some(Vec::new()) };
        if source.marks.has(Marks::ACCEPTING) {
            if !source.marks.has(Marks::PAUSING) {
                self.ring.cancel(Tag::new(Operation::Accept, listener.0));
            }
            source.marks.set(Marks::PAUSING | Marks::LEAVING);
            return None;
        }
        let (accepted, options) = (std::mem::take(&mut source.extra().accepted), self.options);
        self.close(listener);
        let adopt = |socket| socket::adopt(&socket, options).map(|address| (socket, address));
        Some(accepted.into_iter().filter_map(adopt).collect())
    }

    /// The kernel accepts connections for a listener, unless it does so already.
    pub(super) fn await_connection(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let known = Marks::ACCEPTING | Marks::POLLING_INPUT;
        if source.marks.has(Marks::LISTENER) && !source.marks.has(known) {
            source.marks.set(Marks::ACCEPTING);
            self.ring.accept(&source.socket, Tag::new(Operation::Accept, key));
        }
    }

    /// The kernel tells of input, in the way that is best for the source now, unless it does so already.
    pub(super) fn await_input(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let known = Marks::RECEIVING | Marks::POLLING_INPUT | Marks::ENDED | Marks::CONNECTING;
        source.marks.clear(Marks::LEAVING);
        if source.marks.has(known) || source.failure.is_some() {
            return;
        }
        if source.marks.has(Marks::BULK | Marks::DATAGRAMS) || !self.ring.has_buffers() {
            source.marks.set(Marks::POLLING_INPUT);
            let events = PollFlags::IN | PollFlags::RDHUP;
            self.ring.poll(&source.socket, events, Tag::new(Operation::Readable, key));
        } else {
            source.marks.set(Marks::RECEIVING);
            self.ring.receive(&source.socket, Tag::new(Operation::Receive, key));
        }
    }

    /// The kernel tells when there is room for output, unless it does so already.
    pub(super) fn await_room(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.marks.clear(Marks::WRITABLE);
        if !source.marks.has(Marks::POLLING_OUTPUT) {
            source.marks.set(Marks::POLLING_OUTPUT);
            self.ring.poll(&source.socket, PollFlags::OUT, Tag::new(Operation::Writable, key));
        }
    }

    fn readable(&mut self, completion: &Completion) -> Option<Event> {
        let key = completion.tag.key;
        let source = self.sources.get_mut(key)?;
        source.marks.clear(Marks::POLLING_INPUT);
        if source.marks.has(Marks::LISTENER) {
            self.await_connection(key);
            return None;
        }
        if source.marks.has(Marks::RECEIVING) {
            return None;
        }
        source.marks.set(Marks::READABLE);
        self.event(key, READABLE)
    }

    fn writable(&mut self, completion: &Completion) -> Option<Event> {
        let key = completion.tag.key;
        let source = self.sources.get_mut(key)?;
        if completion.lacks_room() {
            // A poll that tells once would do so again and again. This one tells of changes, and stays to the end.
            if !completion.more {
                self.ring.watch(&source.socket, PollFlags::OUT, completion.tag);
            }
            return None;
        }
        if !completion.more {
            source.marks.clear(Marks::POLLING_OUTPUT);
        }
        if !self.send_rest(key) {
            return None;
        }
        let source = self.sources.get_mut(key)?;
        source.marks.set(Marks::WRITABLE);
        let failed = source.failure.is_some();
        self.event(key, if failed { BOTH } else { WRITABLE })
    }
}
