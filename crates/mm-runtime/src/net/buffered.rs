//! Reading by lines and pieces, through a buffer of the shard's pool.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;

use mm_base::buffer::{Buffer, Pool, Size};

use super::share::{is_spent, spend};
use super::stream::{read_exact, receive, without_input};
use super::{Direction, Handle, Incomplete, ReadHalf, Tried};
use crate::driver::Address;
use crate::limits::STARVED_RETRY_MS;

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
        self.window.consume(bytes);
    }

    /// Waits for more bytes than there are; false when the peer has finished. May be given up at any time without
    /// losing a byte.
    ///
    /// # Errors
    /// The connection is broken, the wait was ended early, or the buffer is full
    /// ([`StorageFull`](io::ErrorKind::StorageFull)).
    pub fn fill(&mut self) -> impl Future<Output = io::Result<bool>> {
        let Self { half, window } = self;
        let mut waiting = false;
        poll_fn(move |context| {
            let polled =
                half.handle.poll_try(Direction::Input, &mut waiting, context, |handle| window.fill(handle));
            polled.map_ok(|received| received > 0)
        })
    }

    /// Reads up to and with the next `delimiter`, or what is left when the peer finished without one; empty at the
    /// end. Gives the number of bytes at the front of [`buffered`](Self::buffered): look at them there, then
    /// [`consume`](Self::consume) them. May be given up at any time without losing a byte.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill): a piece longer than the buffer (16 KiB) is an error.
    pub fn read_until(&mut self, delimiter: u8) -> impl Future<Output = io::Result<usize>> {
        let Self { half, window } = self;
        let (mut searched, mut waiting) = (0, false);
        poll_fn(move |context| {
            half.handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
                let mut progress = false;
                loop {
                    let bytes = window.bytes();
                    if let Some(index) = bytes[searched..].iter().position(|&byte| byte == delimiter) {
                        return Ok(Tried::Done(searched + index + 1));
                    }
                    searched = bytes.len();
                    match window.fill(handle)? {
                        Tried::Done(0) => return Ok(Tried::Done(searched)),
                        Tried::Done(_) if is_spent() => return Ok(Tried::Progress),
                        Tried::Done(_) => {
                            spend();
                            progress = true;
                        }
                        Tried::Blocked if progress => return Ok(Tried::Progress),
                        other => return Ok(other),
                    }
                }
            })
        })
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
                return Poll::Ready(Ok(window.take(space)));
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
        read_exact(&half.handle, space, |space| window.take(space))
    }
}

impl Window {
    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[usize::from(self.start)..usize::from(self.end)])
    }

    fn consume(&mut self, bytes: usize) {
        let rest = usize::from(self.end - self.start).saturating_sub(bytes);
        self.start = self.end - offset(rest);
        if rest == 0 {
            *self = Self { buffer: None, start: 0, end: 0 };
        }
    }

    /// Moves bytes to `space`, as many as there are and fit.
    fn take(&mut self, space: &mut [u8]) -> usize {
        let bytes = self.bytes().len().min(space.len());
        space[..bytes].copy_from_slice(&self.bytes()[..bytes]);
        self.consume(bytes);
        bytes
    }

    /// Tries to receive behind what there is.
    fn fill(&mut self, handle: &Handle) -> io::Result<Tried<usize>> {
        if self.start > 0
            && let Some(buffer) = &mut self.buffer
        {
            buffer.copy_within(usize::from(self.start)..usize::from(self.end), 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let kept = usize::from(self.end);
        if kept == Size::Large.bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let tried = fill(handle, &mut self.buffer, kept)?;
        if let Tried::Done(received) = tried {
            self.end = offset(kept + received);
        }
        Ok(tried)
    }
}

/// An offset in a buffer.
#[expect(clippy::cast_possible_truncation, reason = "the longest buffer is shorter, as asserted above")]
fn offset(bytes: usize) -> u16 {
    bytes as u16
}

/// Tries to receive behind the `kept` bytes at the front of the buffer, in a large one. A reader that must wait holds
/// no larger buffer than it needs.
fn fill(handle: &Handle, buffer: &mut Option<Buffer>, kept: usize) -> io::Result<Tried<usize>> {
    let pool = &handle.net.pool;
    if handle.net.driver.may_have_input(handle.source) {
        if buffer.is_none() && !pool.has_room() {
            return Ok(Tried::Untold(STARVED_RETRY_MS));
        }
        let space = resize(buffer, kept, Size::Large, pool);
        let tried = receive(handle, &mut space[kept..], kept == 0);
        if !matches!(tried, Ok(Tried::Done(1..))) {
            shrink(buffer, kept, pool);
        }
        return tried;
    }
    shrink(buffer, kept, pool);
    Ok(without_input(handle, kept == 0))
}

fn shrink(buffer: &mut Option<Buffer>, kept: usize, pool: &Pool) {
    if kept == 0 {
        *buffer = None;
    } else {
        resize(buffer, kept, Size::fitting(kept), pool);
    }
}

/// Has the buffer be of this size, with its first `kept` bytes, which must fit.
fn resize<'a>(buffer: &'a mut Option<Buffer>, kept: usize, size: Size, pool: &Pool) -> &'a mut Buffer {
    if buffer.is_none() {
        return buffer.insert(pool.take(size));
    }
    let old = match buffer.take() {
        Some(same) if same.size() == size => return buffer.insert(same),
        other => other,
    };
    let new = buffer.insert(pool.take(size));
    if let Some(old) = old {
        new[..kept].copy_from_slice(&old[..kept]);
    }
    new
}
