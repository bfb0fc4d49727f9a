//! Streams that were closed when their last output had been taken and the kernel then had no room for all of it.

use std::os::fd::OwnedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::UringDriver;
use crate::limits::{LINGER_CHECK_MS, LINGER_MS, LINGERING_MAX};
use crate::sys::socket::drop_output;
use crate::sys::uring::{Completion, Operation, Tag};

/// A socket without an owner, and what its peer has still to get.
#[derive(Debug)]
pub(super) struct Lingering {
    socket: OwnedFd,
    rest: Vec<u8>,
    until_ms: u64,
}

impl UringDriver {
    /// Sends `rest` before the socket is closed, if that can be done within [`LINGER_MS`].
    pub(super) fn linger(&mut self, socket: OwnedFd, rest: Vec<u8>) {
        let key = self.lingering.next_key().filter(|_| self.lingering.len() < LINGERING_MAX);
        let Some(key) = key else {
            // The peer would take an end for that of the answer.
            drop_output(&socket);
            self.ring.retire(socket);
            return;
        };
        let until_ms = self.clock.now().monotonic_ms + LINGER_MS;
        self.ring.poll(&socket, PollFlags::OUT, Tag::new(Operation::Linger, key));
        let inserted = self.lingering.insert(Lingering { socket, rest, until_ms }).is_ok();
        debug_assert!(inserted, "a slab refused the key it had announced");
    }

    /// There may be room for more of the rest.
    pub(super) fn linger_on(&mut self, completion: &Completion) {
        let &Completion { tag, more, .. } = completion;
        let Some(lingering) = self.lingering.get_mut(tag.key) else { return };
        if completion.lacks_room() {
            // A poll that tells once would do so again and again. This one tells of changes.
            if !more {
                self.ring.watch(&lingering.socket, PollFlags::OUT, tag);
            }
            return;
        }
        let flags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
        let goes_on = match rustix::net::send(&lingering.socket, &lingering.rest, flags) {
            Ok(sent) => {
                lingering.rest.drain(..sent);
                !lingering.rest.is_empty()
            }
            Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
        };
        if goes_on {
            if !more {
                self.ring.poll(&lingering.socket, PollFlags::OUT, tag);
            }
        } else if let Some(done) = self.lingering.remove(tag.key) {
            if more {
                self.ring.cancel(tag);
            }
            self.ring.retire(done.socket);
        }
    }

    /// Has what was not sent whole end by a reset when the driver goes.
    pub(super) fn cut_unsent(&mut self) {
        for place in 0..self.lingering.places() {
            let lingering = self.lingering.key_at(place).and_then(|key| self.lingering.get(key));
            lingering.into_iter().for_each(|lingering| drop_output(&lingering.socket));
        }
        for place in 0..self.sources.places() {
            let source = self.sources.key_at(place).and_then(|key| self.sources.get(key));
            source
                .filter(|source| source.has_rest())
                .into_iter()
                .for_each(|source| drop_output(&source.socket));
        }
    }

    /// Resets those whose time is over.
    pub(super) fn check_lingering(&mut self) {
        if self.lingering.is_empty() {
            return;
        }
        let now_ms = self.clock.now().monotonic_ms;
        if now_ms < self.linger_check_ms {
            return;
        }
        self.linger_check_ms = now_ms + LINGER_CHECK_MS;
        for place in 0..self.lingering.places() {
            let Some(key) = self.lingering.key_at(place) else { continue };
            if self.lingering.get(key).is_some_and(|lingering| lingering.until_ms <= now_ms)
                && let Some(late) = self.lingering.remove(key)
            {
                self.ring.cancel(Tag::new(Operation::Linger, key));
                drop_output(&late.socket);
                self.ring.retire(late.socket);
            }
        }
    }
}
