//! Input that is received by calls of our own, and input that is copied.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;

use mm_base::slab::Key;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recv, recvmsg};

use super::UringDriver;
use super::source::{Marks, Source};
use crate::driver::{Received, SourceId, Span};
use crate::limits::{BULK_BYTES, HEAD_BYTES, RECEIVE_BYTES_MAX};
use crate::sys::uring::{Operation, Tag};

impl UringDriver {
    /// Receives for a stream of which the kernel has put nothing into buffers.
    #[cold]
    pub(super) fn receive_by_call(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        // Whoever asks so has short requests again.
        source.marks.clear(Marks::BULK);
        self.receive_at_most(stream, RECEIVE_BYTES_MAX)
    }

    /// Receives the head of a request whose rest is going to be received directly.
    pub(super) fn receive_head_by_call(&mut self, stream: SourceId) -> io::Result<Received<Span>> {
        self.receive_at_most(stream, HEAD_BYTES)
    }

    fn receive_at_most(&mut self, stream: SourceId, bytes_max: usize) -> io::Result<Received<Span>> {
        self.let_ring_go_first(stream.0);
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        let room = self.inbox.room();
        let end = room.len().min(bytes_max);
        let room = &mut room[..end];
        let received =
            call(source, room.len(), |socket| Ok(recv(socket, &mut *room, RecvFlags::DONTWAIT)?.0))?;
        if !source.marks.has(Marks::READABLE) {
            // Also after a short receive: whoever got it asks again only when told to.
            self.await_input(stream.0);
        }
        Ok(received.map(|bytes| self.inbox.take(bytes)))
    }

    /// Gives the caller what has been received, and where that does not fill `space`, what is in the socket; of the
    /// latter also what is behind it, in the inbox, if that is asked for. Says how many bytes these are.
    pub(super) fn receive_or_copy(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
        past_too: bool,
    ) -> io::Result<Received<usize>> {
        debug_assert!(!space.is_empty(), "a receive into nothing would look like the end");
        if space.len() >= BULK_BYTES {
            self.make_bulk(stream.0);
        }
        let copied = self.copy_input(stream, space)?;
        if copied == space.len() {
            return Ok(Received::Bytes(copied));
        }
        match self.receive_directly(stream, &mut space[copied..], past_too) {
            Ok(Received::Bytes(received)) => Ok(Received::Bytes(copied + received)),
            // What ends the input is told when it is asked for again.
            _ if copied > 0 => Ok(Received::Bytes(copied)),
            received => received,
        }
    }

    /// Copies what has been received into the caller's memory.
    fn copy_input(&mut self, stream: SourceId, space: &mut [u8]) -> io::Result<usize> {
        let source = self.sources.get_mut(stream.0).ok_or(io::ErrorKind::NotConnected)?;
        if source.input.is_empty() {
            return Ok(0);
        }
        source.marks.clear(Marks::LEAVING);
        let mut copied = 0;
        while let Some((buffer, consumed)) = source.input.first() {
            let bytes = &self.ring.bytes(buffer)[consumed..];
            let part = bytes.len().min(space.len() - copied);
            let whole = part == bytes.len();
            space[copied..copied + part].copy_from_slice(&bytes[..part]);
            copied += part;
            if !whole {
                source.input.consume(part);
                return Ok(copied);
            }
            source.input.pop(&self.links);
            self.ring.release(buffer);
        }
        if !source.marks.has(Marks::RECEIVING) {
            self.await_input(stream.0);
        }
        Ok(copied)
    }

    /// Receives into the caller's memory, and what follows the bytes that fill it into the inbox, for a stream of which
    /// nothing is in buffers any more. Says how many bytes both got.
    fn receive_directly(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
        past_too: bool,
    ) -> io::Result<Received<usize>> {
        let key = stream.0;
        self.let_ring_go_first(key);
        let source = self.sources.get_mut(key).ok_or(io::ErrorKind::NotConnected)?;
        let received = if past_too {
            let past = self.inbox.room();
            call(source, space.len() + past.len(), |socket| receive_in_two(socket, space, past))?
        } else {
            call(source, space.len(), |socket| Ok(recv(socket, &mut *space, RecvFlags::DONTWAIT)?.0))?
        };
        if !source.marks.has(Marks::READABLE) {
            self.await_input(key);
        }
        Ok(received)
    }

    /// What the kernel receives, it receives while it is entered, and that is also where an entry meets a full queue.
    /// So what is in the socket follows all that has been received into buffers only if no completion has yet to be
    /// seen; else the stream waits, and the one that is there will tell.
    fn let_ring_go_first(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        if source.marks.has(Marks::RECEIVING) && !self.ring.is_drained() {
            source.marks.clear(Marks::READABLE);
        }
    }

    /// Has the stream's input go straight to where the caller wants it.
    fn make_bulk(&mut self, key: Key) {
        let Some(source) = self.sources.get_mut(key) else { return };
        if source.marks.has(Marks::BULK | Marks::ENDED | Marks::CONNECTING) || source.failure.is_some() {
            return;
        }
        source.marks.set(Marks::BULK | Marks::READABLE);
        if source.marks.has(Marks::RECEIVING) && !source.marks.has(Marks::PAUSING) {
            source.marks.set(Marks::PAUSING);
            self.ring.cancel(Tag::new(Operation::Receive, key));
        }
    }
}

/// Receives once into `first`, and what follows the bytes that fill it into `second`.
fn receive_in_two(socket: &OwnedFd, first: &mut [u8], second: &mut [u8]) -> Result<usize, Errno> {
    let mut pieces = [IoSliceMut::new(first), IoSliceMut::new(second)];
    let mut nothing_beside = RecvAncillaryBuffer::default();
    Ok(recvmsg(socket, &mut pieces, &mut nothing_beside, RecvFlags::DONTWAIT)?.bytes)
}

/// Receives once, at most so many bytes, if that might succeed, and remembers what it learns.
fn call(
    source: &mut Source,
    wanted: usize,
    mut receive: impl FnMut(&OwnedFd) -> Result<usize, Errno>,
) -> io::Result<Received<usize>> {
    if let Some(error) = source.failure {
        return Err(error.into());
    }
    if source.marks.has(Marks::ENDED) {
        return Ok(Received::End);
    }
    while source.marks.has(Marks::READABLE) {
        match receive(&source.socket) {
            Ok(0) => {
                source.marks.set(Marks::ENDED);
                return Ok(Received::End);
            }
            Ok(received) => {
                if received < wanted {
                    source.marks.clear(Marks::READABLE);
                }
                return Ok(Received::Bytes(received));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => source.marks.clear(Marks::READABLE),
            Err(error) => {
                source.failure = Some(error);
                return Err(error.into());
            }
        }
    }
    Ok(Received::Blocked)
}
