//! Reading by lines and pieces, through a buffer of the shard's pool.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll, Waker, ready};

use mm_base::buffer::{Buffer, Size};

use super::handle::{ENDED, READING, ended, interrupted};
use super::share::{is_spent, poll_turn, spend};
use super::stream::{read_exact, receive};
use super::{Buffers, Direction, Fill, Handle, Incomplete, ReadHalf, Tried};
use crate::driver::Address;
use crate::task::take_interrupt;

/// Reads through a buffer. It takes one from the shard's pool when bytes have come and gives it back when they have
/// been used, so a reader that waits for its peer holds none.
pub struct BufferedReader {
    half: ReadHalf,
    window: Window,
}

/// The bytes that have come and have not been used.
struct Window {
    buffer: Option<Buffer>,
    start: u16,
    end: u16,
}

// The offsets reach to the end of the largest buffer.
const _: () = assert!(Size::Large.bytes() <= u16::MAX as usize);

impl fmt::Debug for BufferedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedReader").field("buffered", &self.buffered().len()).finish_non_exhaustive()
    }
}

impl BufferedReader {
    pub(super) fn new(half: ReadHalf) -> Self {
        Self { half, window: Window { buffer: None, start: 0, end: 0 } }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.half.peer()
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.half.set_timeout_ms(timeout_ms);
    }

    /// The bytes that have come and have not been used.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.window.bytes()
    }

    /// Marks bytes at the front of [`buffered`](Self::buffered) as used; all where that are fewer.
    pub fn consume(&mut self, bytes: usize) {
        self.window.consume(bytes, &self.half.handle.net.buffers);
    }

    /// Waits for more bytes than there are; false when the peer has finished. (Whether it has, whatever comes before:
    /// [`finished`](Self::finished).) May be given up at any time without
    /// losing a byte.
    ///
    /// # Errors
    /// The connection is broken, the wait was ended early, or the buffer is full
    /// ([`StorageFull`](io::ErrorKind::StorageFull)).
    pub fn fill(&mut self) -> impl Future<Output = io::Result<bool>> {
        let Self { half, window } = self;
        let mut waiting = false;
        poll_fn(move |context| {
            let waker = context.waker();
            let polled = half
                .handle
                .poll_try(Direction::Input, &mut waiting, context, |handle| window.fill(handle, waker));
            polled.map_ok(|received| received > 0)
        })
    }

    /// Reads up to and with the next `delimiter`, or what is left when the peer finished without one; empty at the
    /// end. Gives the number of bytes at the front of [`buffered`](Self::buffered): look at them there, then
    /// [`consume`](Self::consume) them. What does not end with the delimiter is what the peer has not brought to an
    /// end: take it for a whole piece only where the protocol does. May be given up at any time without losing a byte.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill): a piece longer than the buffer (16 KiB) is an error.
    pub fn read_until(&mut self, delimiter: u8) -> impl Future<Output = io::Result<usize>> {
        let Self { half, window } = self;
        let (mut searched, mut waiting) = (0, false);
        poll_fn(move |context| {
            let waker = context.waker();
            half.handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
                let mut progress = false;
                loop {
                    let bytes = window.bytes();
                    if let Some(index) = bytes[searched..].iter().position(|&byte| byte == delimiter) {
                        handle.begun();
                        return Ok(Tried::Done(searched + index + 1));
                    }
                    searched = bytes.len();
                    match window.fill(handle, waker)? {
                        Tried::Done(0) => return Ok(Tried::Done(searched)),
                        Tried::Done(_) if is_spent() => return Ok(Tried::Progress),
                        Tried::Done(_) => {
                            spend();
                            progress = true;
                        }
                        Tried::Blocked | Tried::Waits if progress => return Ok(Tried::Progress),
                        other => return Ok(other),
                    }
                }
            })
        })
    }

    /// Waits until the peer has finished, or the server that has accepted the stream stops gracefully, whatever has
    /// been read and not been answered. It is for a request that waits for something else, beside which it stands in a
    /// [`select`](crate::sync::select): so the stop does not have to wait for that, and nothing is done for a peer that
    /// has gone.
    ///
    /// A peer that has only finished sending, and still reads, looks the same. What comes meanwhile is kept for the
    /// next read, up to what a buffer holds (16 KiB); of a peer that sends more, the end is not seen, only the stop. No
    /// time-out ends this wait, the server's idle time-out neither while the request is under way
    /// ([`set_busy`](Self::set_busy)): bound what it stands beside. May be given up at any time without losing a byte.
    ///
    /// # Errors
    /// The connection is broken, or the task was interrupted.
    pub fn finished(&mut self) -> impl Future<Output = io::Result<()>> {
        let Self { half, window } = self;
        poll_fn(move |context| window.poll_finished(&half.handle, context))
    }

    /// Reads into the caller's memory, what is buffered first; 0 at the end.
    ///
    /// # Errors
    /// As for [`ReadHalf::read`].
    pub fn read(&mut self, space: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let Self { half, window } = self;
        let mut waiting = false;
        poll_fn(move |context| {
            if space.is_empty() || !window.bytes().is_empty() {
                return Poll::Ready(Ok(window.take(space, &half.handle)));
            }
            half.handle
                .poll_try(Direction::Input, &mut waiting, context, |handle| receive(handle, space, true))
        })
    }

    /// Reads until `space` is full.
    ///
    /// # Errors
    /// As for [`ReadHalf::read_exact`].
    pub fn read_exact(&mut self, space: &mut [u8]) -> impl Future<Output = Result<(), Incomplete>> {
        let Self { half, window } = self;
        read_exact(&half.handle, space, |space| window.take(space, &half.handle))
    }

    /// See [`Stream::set_busy`](super::Stream::set_busy).
    pub fn set_busy(&self, busy: bool) {
        self.half.set_busy(busy);
    }
}

impl Window {
    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[usize::from(self.start)..usize::from(self.end)])
    }

    #[inline]
    fn consume(&mut self, bytes: usize, buffers: &Buffers) {
        let rest = usize::from(self.end - self.start).saturating_sub(bytes);
        self.start = self.end - offset(rest);
        if rest == 0 {
            (self.start, self.end) = (0, 0);
            self.buffer.take().into_iter().for_each(|buffer| buffers.put(buffer));
        }
    }

    /// Moves bytes to `space`, as many as there are and fit. They are of a request that an answer to the one before,
    /// which has come with them, has not answered.
    fn take(&mut self, space: &mut [u8], handle: &Handle) -> usize {
        let bytes = self.bytes().len().min(space.len());
        if bytes > 0 {
            handle.begun();
            space[..bytes].copy_from_slice(&self.bytes()[..bytes]);
            self.consume(bytes, &handle.net.buffers);
        }
        bytes
    }

    /// Moves what there is to the front.
    #[cold]
    fn compact(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.copy_within(usize::from(self.start)..usize::from(self.end), 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// See [`BufferedReader::finished`].
    fn poll_finished(&mut self, handle: &Handle, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if handle.has(ENDED) {
            return Poll::Ready(Err(ended()));
        }
        while usize::from(self.end - self.start) < Size::Large.bytes() {
            ready!(poll_turn(context));
            spend();
            match self.fill(handle, context.waker())? {
                Tried::Done(0) => return Poll::Ready(Ok(())),
                Tried::Done(_) => {}
                Tried::Untold(after_ms) => {
                    handle.try_again_after(after_ms, Direction::Input, context);
                    break;
                }
                Tried::Progress | Tried::Blocked | Tried::Waits => break,
            }
        }
        // It is not the peer that is waited for.
        handle.unset(READING);
        if handle.is_stopped() {
            return Poll::Ready(Ok(()));
        }
        if take_interrupt() {
            return Poll::Ready(Err(interrupted()));
        }
        handle.net.driver.wait(handle.source, Direction::Input, context.waker());
        Poll::Pending
    }

    /// Tries to receive behind what there is.
    fn fill(&mut self, handle: &Handle, waker: &Waker) -> io::Result<Tried<usize>> {
        if self.start > 0 {
            self.compact();
        }
        let kept = usize::from(self.end);
        if kept == Size::Large.bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fill = Fill { buffer: &mut self.buffer, kept, buffers: &handle.net.buffers, waker };
        Ok(match handle.net.driver.fill(handle.source, fill)? {
            Tried::Done(received) => {
                if received > 0 {
                    handle.received(received);
                }
                self.end = offset(kept + received);
                Tried::Done(received)
            }
            Tried::Blocked | Tried::Waits if kept == 0 && handle.ends() => Tried::Done(0),
            other => other,
        })
    }
}

/// An offset in a buffer.
#[expect(clippy::cast_possible_truncation, reason = "the longest buffer is shorter, as asserted above")]
fn offset(bytes: usize) -> u16 {
    bytes as u16
}
