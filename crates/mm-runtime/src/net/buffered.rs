//! Reading by lines and pieces, through a buffer of the shard's pool.

use std::fmt;
use std::io;

use mm_base::buffer::{Buffer, Pool, Size};

use super::stream::{receive, without_input};
use super::{Handle, ReadHalf, Tried};

/// Reads through a buffer. It takes one from the shard's pool when bytes have come and gives it back when they have
/// been used, so a reader that waits for its peer holds none.
pub struct BufferedReader {
    half: ReadHalf,
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
}

impl fmt::Debug for BufferedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedReader").field("buffered", &(self.end - self.start)).finish_non_exhaustive()
    }
}

impl BufferedReader {
    pub(super) fn new(half: ReadHalf) -> Self {
        Self { half, buffer: None, start: 0, end: 0 }
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.half.set_timeout_ms(timeout_ms);
    }

    /// The bytes that have come and have not been used.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.start..self.end])
    }

    /// Marks bytes at the front of [`buffered`](Self::buffered) as used; not more than are there.
    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.buffer = None;
        }
    }

    /// Waits for more bytes than there are; false when the peer has finished.
    ///
    /// # Errors
    /// The connection is broken, the wait was ended early, or the buffer is full
    /// ([`StorageFull`](io::ErrorKind::StorageFull)).
    pub async fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0
            && let Some(buffer) = &mut self.buffer
        {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == Size::Large.bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let Self { half, buffer, end, .. } = self;
        let kept = *end;
        let received = half.retry(|handle| fill(handle, buffer, kept)).await?;
        *end += received;
        Ok(received > 0)
    }

    /// Reads up to and with the next `delimiter`, or what is left when the peer finished without one; empty at the
    /// end. Gives the number of bytes at the front of [`buffered`](Self::buffered): look at them there, then
    /// [`consume`](Self::consume) them.
    ///
    /// # Errors
    /// As for [`fill`](Self::fill): a piece longer than the buffer (16 KiB) is an error.
    pub async fn read_until(&mut self, delimiter: u8) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            let bytes = self.buffered();
            if let Some(index) = bytes[searched..].iter().position(|&byte| byte == delimiter) {
                return Ok(searched + index + 1);
            }
            searched = bytes.len();
            if !self.fill().await? {
                return Ok(searched);
            }
        }
    }

    /// Reads into the caller's memory, what is buffered first; 0 at the end.
    ///
    /// # Errors
    /// As for [`ReadHalf::read`].
    pub async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let ready = self.buffered();
        if ready.is_empty() {
            return self.half.read(space).await;
        }
        let bytes = ready.len().min(space.len());
        space[..bytes].copy_from_slice(&ready[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }

    /// Reads until `space` is full.
    ///
    /// # Errors
    /// As for [`ReadHalf::read_exact`].
    pub async fn read_exact(&mut self, space: &mut [u8]) -> Result<(), super::Incomplete> {
        let buffered = self.buffered().len().min(space.len());
        space[..buffered].copy_from_slice(&self.buffered()[..buffered]);
        self.consume(buffered);
        self.half.read_exact(&mut space[buffered..]).await.map_err(|mut incomplete| {
            incomplete.done += buffered;
            incomplete
        })
    }
}

/// Tries to receive behind the `kept` bytes at the front of the buffer, in a large one. A reader that must wait holds
/// no larger buffer than it needs.
fn fill(handle: &Handle, buffer: &mut Option<Buffer>, kept: usize) -> io::Result<Tried<usize>> {
    let pool = handle.net.pool();
    if handle.net.may_have_input(handle.source) {
        if buffer.is_none() && !pool.has_room() {
            return Ok(Tried::Starved);
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
