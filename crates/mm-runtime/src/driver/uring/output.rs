//! Sending.
//!
//! Short output is copied and handed to the kernel with the next wait. Such a send does not wait in the kernel: what
//! the socket has no room for comes back, is kept with the stream, and goes before anything else when there is room.
//! All sends between two waits are a round.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use mm_base::slab::Key;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};

use super::UringDriver;
use super::complete::{BOTH, WRITABLE};
use super::source::{Marks, Source};
use crate::driver::{Event, Sent, SourceId, Unsent};
use crate::limits::{COPY_BYTES_MAX, EVENTS_MAX, GATHER_MAX};
use crate::sys::socket::drop_output;
use crate::sys::uring::{Completion, Operation, Tag, Taken, Wait};

/// The sends between two waits.
#[derive(Debug)]
pub(super) struct Round {
    number: u32,
    sends: Vec<Send>,
    /// The sockets of streams that were closed after such a send, and which.
    closing: Vec<(u32, OwnedFd)>,
    /// Whether one of them is followed by the end of output.
    finishing: bool,
    /// Streams that have more to send.
    waiting: Vec<Key>,
    /// Streams that have waited, and are to be told.
    due: Vec<Key>,
    fence: Fence,
}

/// How far the kernel is with a round that somebody waits for while more completions come than are taken at a time:
/// what is asked for behind its sends is completed behind the short ones of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    /// Nothing was asked for.
    None,
    /// It was, so that no send may join the round.
    Asked,
    /// Its completion has been seen.
    Passed,
}

#[derive(Clone, Copy, Debug)]
struct Send {
    stream: Key,
    taken: Taken,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            number: 1,
            sends: Vec::new(),
            closing: Vec::new(),
            finishing: false,
            waiting: Vec::new(),
            due: Vec::new(),
            fence: Fence::None,
        }
    }
}

impl Round {
    /// The present round's number, never 0.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether there have been sends in it.
    pub(super) fn has_sends(&self) -> bool {
        !self.sends.is_empty()
    }

    /// Whether somebody waits for its end.
    pub(super) fn is_awaited(&self) -> bool {
        self.has_followers() || !self.due.is_empty()
    }

    /// The same of the present one alone.
    fn has_followers(&self) -> bool {
        !self.closing.is_empty() || self.finishing || !self.waiting.is_empty()
    }

    /// A stream has been closed after this send.
    pub(super) fn close_after(&mut self, send: u32, socket: OwnedFd) {
        self.closing.push((send, socket));
    }

    /// The output of a stream is finished after its send.
    pub(super) fn finish_after(&mut self) {
        self.finishing = true;
    }
}

/// The most pieces of which copies are taken.
const PIECES_MAX: usize = 4;

/// How often the kernel is entered for the last round. Each enter makes room for the completions that the next one may
/// need: few are many.
const LAST_ENTERS_MAX: u32 = 100;

const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

impl UringDriver {
    #[inline]
    pub(super) fn send_output(&mut self, stream: SourceId, output: &mut impl Unsent) -> io::Result<Sent> {
        let key = stream.0;
        let source = self.sources.get_mut(key).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = source.failure {
            return Err(error.into());
        }
        let len = output.left();
        if len == 0 {
            return Ok(Sent::All);
        }
        if !source.marks.has(Marks::WRITABLE) {
            return Ok(Sent::Blocked);
        }
        if source.sent_in == self.round.number {
            if !source.marks.has(Marks::AWAITS_ROUND) {
                source.marks.set(Marks::AWAITS_ROUND);
                self.round.waiting.push(key);
            }
            return Ok(Sent::Blocked);
        }
        // A peer that has finished may be gone altogether, which a call tells at once.
        let is_fenced = self.round.fence != Fence::None;
        if len > COPY_BYTES_MAX || source.marks.has(Marks::ENDED) || is_fenced {
            return self.send_by_call(key, output);
        }
        let place = self.round.sends.len();
        let tag = Tag::new(Operation::Send, Key::from_u64(place as u64));
        let taken = match output.contiguous() {
            Some(bytes) => self.ring.send(&source.socket, len, tag, |room| room.copy_from_slice(bytes)),
            None if output.gathered_len(PIECES_MAX) < len => None,
            None => self.ring.send(&source.socket, len, tag, |room| copy_pieces(output, room)),
        };
        let Some(taken) = taken else { return self.send_by_call(key, output) };
        source.sent_in = self.round.number;
        source.send = u32::try_from(place).unwrap_or(u32::MAX);
        self.round.sends.push(Send { stream: key, taken });
        output.advance(len);
        Ok(Sent::All)
    }

    /// Sends at once, from where the bytes lie.
    #[cold]
    fn send_by_call(&mut self, key: Key, output: &mut impl Unsent) -> io::Result<Sent> {
        let source = self.sources.get_mut(key).ok_or(io::ErrorKind::NotConnected)?;
        while output.left() > 0 {
            let gathered = output.gathered_len(GATHER_MAX);
            match call(source, output) {
                Ok(sent) => {
                    output.advance(sent);
                    if sent < gathered {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    source.failure = Some(error);
                    return Err(error.into());
                }
            }
        }
        if output.left() == 0 {
            return Ok(Sent::All);
        }
        self.await_room(key);
        Ok(Sent::Blocked)
    }

    /// A copied send has not sent everything.
    pub(super) fn sent_short(&mut self, completion: &Completion) -> Option<Event> {
        let place = completion.tag.key.index();
        let send = *self.round.sends.get(place)?;
        let bytes = self.ring.sent_bytes(send.taken);
        let sent = match completion.result {
            Ok(sent) => sent as usize,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => {
                let key = send.stream;
                self.sources.get_mut(key)?.failure = Some(error);
                return self.event(key, BOTH);
            }
        };
        let rest = bytes.get(sent..).unwrap_or_default().to_vec();
        if rest.is_empty() {
            return None;
        }
        let key = send.stream;
        let closing = self.round.closing.iter().position(|(send, _)| *send as usize == place);
        if let Some(closing) = closing {
            let (_, socket) = self.round.closing.swap_remove(closing);
            self.linger(socket, rest);
            return None;
        }
        self.sources.get_mut(key)?.extra().rest = rest;
        self.await_room(key);
        None
    }

    /// Sends what the kernel had no room for. `false`: there is still something left of it.
    pub(super) fn send_rest(&mut self, key: Key) -> bool {
        let Some(source) = self.sources.get_mut(key) else { return true };
        let Some(extra) = source.extra.as_mut().filter(|extra| !extra.rest.is_empty()) else { return true };
        match rustix::net::send(&source.socket, &extra.rest, FLAGS) {
            Ok(sent) => drop(extra.rest.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                extra.rest.clear();
                source.failure = Some(error);
                return true;
            }
        }
        if extra.rest.is_empty() {
            extra.rest = Vec::new();
            if source.marks.has(Marks::FINISHING) {
                // The stream's next call tells of a failure.
                rustix::net::shutdown(&source.socket, Shutdown::Write).ok();
            }
            return true;
        }
        self.await_room(key);
        false
    }

    /// Ends the round, if the kernel has done all of it.
    pub(super) fn settle(&mut self) {
        let round = &mut self.round;
        if round.sends.is_empty() && round.waiting.is_empty() {
            return;
        }
        if !self.ring.settle(round.fence == Fence::Passed) {
            if round.fence == Fence::None && round.has_followers() {
                round.fence = Fence::Asked;
                let number = Key::from_u64(u64::from(round.number) << 32);
                self.ring.fence(Tag::new(Operation::Fence, number));
            }
            return;
        }
        round.fence = Fence::None;
        round.number = round.number.wrapping_add(1).max(1);
        if round.is_awaited() {
            // Sockets that were to be closed after their sends are closed here, unless what else names them is still
            // queued.
            round.closing.drain(..).for_each(|(_, socket)| self.ring.retire(socket));
            if std::mem::take(&mut round.finishing) {
                round.sends.iter().filter_map(|send| self.sources.get(send.stream)).for_each(finish);
            }
            round.due.append(&mut round.waiting);
        }
        round.sends.clear();
    }

    /// The fence of the round of this number has been completed; an earlier round's may come late.
    pub(super) fn fence_passed(&mut self, number: u32) {
        if self.round.number == number {
            self.round.fence = Fence::Passed;
        }
    }

    /// Has the kernel do what the round asks for, as the last thing before the driver goes: what it has no room for is
    /// known then. Of what cannot be known, the peers see a reset.
    pub(super) fn end_round(&mut self) {
        let mut events = Vec::new();
        for _ in 0..LAST_ENTERS_MAX {
            if !self.round.has_sends() || self.ring.enter(Wait::No).is_err() {
                break;
            }
            self.complete(&mut events);
            events.clear();
            self.settle();
        }
        for send in &self.round.sends {
            self.sources.get(send.stream).into_iter().for_each(|source| drop_output(&source.socket));
        }
        self.round.closing.iter().for_each(|(_, socket)| drop_output(socket));
    }

    /// Tells those who have waited for the end of a round, as far as there is room for events.
    pub(super) fn tell_waiting(&mut self, events: &mut Vec<Event>) {
        while events.len() < EVENTS_MAX {
            let Some(key) = self.round.due.pop() else { return };
            let Some(source) = self.sources.get_mut(key) else { continue };
            source.marks.clear(Marks::AWAITS_ROUND);
            if source.marks.has(Marks::WRITABLE) {
                events.extend(self.event(key, WRITABLE));
            }
        }
    }
}

/// Finishes the output of a stream of which everything has been sent, if that was asked for.
fn finish(source: &Source) {
    if source.marks.has(Marks::FINISHING) && !source.has_rest() {
        // The stream's next call tells of a failure.
        rustix::net::shutdown(&source.socket, Shutdown::Write).ok();
    }
}

/// Copies all of what is to be sent, at most [`PIECES_MAX`] pieces.
fn copy_pieces(output: &impl Unsent, mut room: &mut [u8]) {
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let count = output.gather(&mut slices);
    for slice in &slices[..count] {
        let (part, rest) = room.split_at_mut(slice.len());
        part.copy_from_slice(slice);
        room = rest;
    }
}

/// Sends once.
fn call(source: &Source, output: &impl Unsent) -> Result<usize, Errno> {
    loop {
        let sent = if let Some(bytes) = output.contiguous() {
            rustix::net::send(&source.socket, bytes, FLAGS)
        } else {
            let mut slices = [IoSlice::new(&[]); GATHER_MAX];
            let count = output.gather(&mut slices);
            let mut control = SendAncillaryBuffer::default();
            rustix::net::sendmsg(&source.socket, &slices[..count], &mut control, FLAGS)
        };
        if sent != Err(Errno::INTR) {
            return sent;
        }
    }
}
