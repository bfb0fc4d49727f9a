//! A connection's queue of bytes to be sent.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use super::limits::SPARE_MAX;
use super::{Buffer, Pinned, Pool, Size};

/// What a connection is to send, in order: bytes copied into pool buffers, and ranges pinned where they lie.
///
/// Writing never fails. A service that produces much looks at [`is_full`](Output::is_full) between two
/// responses (or between two items of a long one) and returns when it is true; it is run again once the peer
/// has taken enough.
///
/// Once everything has been sent it holds one buffer at most, until it is cleared, [laid aside](Output::lay_aside) or
/// dropped.
///
/// ```
/// use mm_base::buffer::{Output, Pool};
///
/// let pool = Pool::new(1 << 20);
/// let mut output = Output::new(&pool, 64 * 1024);
/// output.write(b"VALUE ");
/// let spare = output.spare(8);
/// spare[..3].copy_from_slice(b"key");
/// output.commit(3);
/// let mut sent = Vec::new();
/// output.drain_into(&mut sent);
/// assert_eq!(sent, b"VALUE key");
/// ```
#[repr(C)] // so that what a short answer needs lies together
pub struct Output {
    /// Unsent bytes in all.
    len: usize,
    /// The tail: bytes `start..end` of the current buffer, which no piece has taken up yet.
    tail_start: usize,
    tail_end: usize,
    /// The buffer that is being written to.
    current: Option<Buffer>,
    cap: usize,
    /// It is empty, and its buffer, if it has one, counts as unused.
    is_aside: bool,
    /// What comes before the tail.
    pieces: VecDeque<Piece>,
    /// The buffers before it, oldest first.
    full: VecDeque<Buffer>,
    pool: Pool,
}

enum Piece {
    /// Bytes `start..end` of a buffer. `last` means that nothing after them lies in that buffer.
    Inline { start: usize, end: usize, last: bool },
    /// Bytes `start..end` of a pinned range.
    Pinned { pinned: Pinned, start: usize, end: usize },
}

impl Output {
    /// An empty output that counts as full from `cap` bytes on. Takes buffers from `pool` when written to.
    #[must_use]
    pub fn new(pool: &Pool, cap: usize) -> Self {
        Self {
            pool: pool.clone(),
            current: None,
            full: VecDeque::new(),
            pieces: VecDeque::new(),
            tail_start: 0,
            tail_end: 0,
            len: 0,
            cap,
            is_aside: false,
        }
    }

    /// An empty output with the same cap and the same pool.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.pool, self.cap)
    }

    /// Unsent bytes, pinned ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the cap is reached and the service should return to let the peer read.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len >= self.cap
    }

    /// The number of unsent bytes from which on the output counts as full.
    #[must_use]
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// Appends a copy of `bytes`.
    pub fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room(1);
            let part = room.len().min(bytes.len());
            room[..part].copy_from_slice(&bytes[..part]);
            self.commit(part);
            bytes = &bytes[part..];
        }
    }

    /// Room for at least `bytes` bytes in one piece, which must be at most
    /// [`SPARE_MAX`](super::limits::SPARE_MAX). What is written to its start counts after
    /// [`commit`](Output::commit).
    #[inline(always)]
    pub fn spare(&mut self, bytes: usize) -> &mut [u8] {
        debug_assert!(bytes <= SPARE_MAX, "{bytes} bytes do not fit a buffer");
        self.room(bytes)
    }

    /// Appends the first `bytes` bytes of the slice that the last [`spare`](Output::spare) returned.
    #[inline(always)]
    pub fn commit(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room_bytes(), "commit of {bytes} bytes into {}", self.room_bytes());
        self.tail_end += bytes;
        self.len += bytes;
    }

    /// Appends a pinned range without copying it. It is released when its last byte has been sent.
    pub fn pin(&mut self, pinned: Pinned) {
        let len = pinned.bytes().len();
        if len == 0 {
            return;
        }
        self.seal(false);
        self.pieces.push_back(Piece::Pinned { pinned, start: 0, end: len });
        self.len += len;
    }

    /// Everything unsent as one slice, where it is one: the common case, for which a plain send will do.
    #[must_use]
    #[inline]
    pub fn contiguous(&self) -> Option<&[u8]> {
        if self.pieces.is_empty() { Some(self.tail()) } else { None }
    }

    /// Fills `slices` from the front with what is to be sent next. Returns how many were filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.gather_some(slices, usize::MAX)
    }

    /// The same, of the first `bytes` bytes only.
    pub fn gather_some<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes: usize) -> usize {
        let mut filled = 0;
        let mut left = bytes;
        let mut buffer = 0;
        for piece in &self.pieces {
            if filled == slices.len() || left == 0 {
                return filled;
            }
            let bytes = match piece {
                Piece::Inline { start, end, .. } => &self.buffer(buffer)[*start..*end],
                Piece::Pinned { pinned, start, end } => &pinned.bytes()[*start..*end],
            };
            slices[filled] = IoSlice::new(&bytes[..bytes.len().min(left)]);
            left = left.saturating_sub(bytes.len());
            filled += 1;
            buffer += usize::from(matches!(piece, Piece::Inline { last: true, .. }));
        }
        if filled < slices.len() && left > 0 && self.tail_start < self.tail_end {
            let tail = self.tail();
            slices[filled] = IoSlice::new(&tail[..tail.len().min(left)]);
            filled += 1;
        }
        filled
    }

    /// The number of bytes that [`gather`](Output::gather) finds for `slices` slices.
    #[must_use]
    #[inline]
    pub fn gathered_len(&self, slices: usize) -> usize {
        if self.pieces.len() < slices {
            return self.len;
        }
        let piece_len = |piece: &Piece| {
            let (Piece::Inline { start, end, .. } | Piece::Pinned { start, end, .. }) = piece;
            end - start
        };
        self.pieces.iter().take(slices).map(piece_len).sum()
    }

    /// Forgets the first `bytes` bytes, which have been sent, and gives back what they occupied.
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.len, "{bytes} bytes sent of {}", self.len);
        let is_small = self.current.as_ref().is_some_and(|buffer| buffer.size() == Size::Small);
        if bytes >= self.len && self.pieces.is_empty() && !is_small {
            // Without pieces there are no buffers before the current one.
            debug_assert!(self.full.is_empty(), "a full buffer of which no piece tells");
            (self.len, self.tail_start, self.tail_end) = (0, 0, 0);
        } else {
            self.advance_within(bytes);
        }
    }

    /// Forgets what need not be all of one buffer.
    fn advance_within(&mut self, bytes: usize) {
        let mut left = bytes.min(self.len);
        self.len -= left;
        while let Some(piece) = self.pieces.front_mut() {
            let (Piece::Inline { start, end, .. } | Piece::Pinned { start, end, .. }) = piece;
            let part = left.min(*end - *start);
            *start += part;
            left -= part;
            if *start < *end {
                return;
            }
            if matches!(self.pieces.pop_front(), Some(Piece::Inline { last: true, .. })) {
                self.full.pop_front();
            }
        }
        self.tail_start += left;
        if self.len == 0 {
            self.reset();
        }
    }

    /// Drops everything unsent: buffers go back to the pool, pinned ranges to their source.
    #[inline]
    pub fn clear(&mut self) {
        self.take_up();
        if self.current.is_some() || !self.pieces.is_empty() {
            self.pieces.clear();
            self.len = 0;
            self.reset();
            self.current = None;
        }
    }

    /// Drops everything unsent, as [`clear`](Output::clear) does, but keeps the memory of one buffer, which counts as
    /// unused until [`take_up`](Output::take_up). For those who keep outputs for whoever is to write next: they bound
    /// how many.
    #[inline]
    pub fn lay_aside(&mut self) {
        if self.len > 0 {
            self.drop_unsent();
        }
        if let Some(buffer) = &self.current
            && !self.is_aside
        {
            buffer.lay_aside();
            self.is_aside = true;
        }
    }

    #[cold]
    fn drop_unsent(&mut self) {
        self.clear();
    }

    /// It is going to be written to again after [`lay_aside`](Output::lay_aside).
    #[inline]
    pub fn take_up(&mut self) {
        if std::mem::take(&mut self.is_aside)
            && let Some(buffer) = &self.current
        {
            buffer.take_up();
        }
    }

    /// Moves a short rest out of a large buffer into a small one, since the peer makes us wait.
    pub fn shrink(&mut self) {
        let Some(rest) = self.contiguous() else { return };
        let is_large = self.current.as_ref().is_some_and(|buffer| buffer.size() == Size::Large);
        if is_large && rest.len() <= Size::Small.bytes() {
            let mut small = self.pool.take(Size::Small);
            small[..rest.len()].copy_from_slice(rest);
            (self.tail_start, self.tail_end) = (0, rest.len());
            self.current = Some(small);
        }
    }

    /// Appends everything unsent to `bytes` and leaves the output empty. For tests and simulation.
    pub fn drain_into(&mut self, bytes: &mut Vec<u8>) {
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.gather(&mut slices);
            let mut sent = 0;
            for slice in &slices[..count] {
                bytes.extend_from_slice(slice);
                sent += slice.len();
            }
            self.advance(sent);
        }
    }

    /// The bytes that no piece has taken up.
    #[inline]
    fn tail(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |buffer| &buffer[self.tail_start..self.tail_end])
    }

    /// Buffer `number`, counted from the oldest.
    fn buffer(&self, number: usize) -> &[u8] {
        self.full.get(number).or(self.current.as_ref()).map_or(&[], |buffer| buffer)
    }

    /// How many bytes of the current buffer are unwritten.
    #[inline(always)]
    fn room_bytes(&self) -> usize {
        self.current.as_ref().map_or(0, |buffer| buffer.len() - self.tail_end)
    }

    /// The unwritten end of the current buffer, or of a new one where that is shorter than `bytes`.
    #[inline(always)]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        debug_assert!(!self.is_aside, "written to without having been taken up");
        if self.room_bytes() < bytes {
            self.grow();
        }
        let end = self.tail_end;
        self.current.as_mut().map_or(&mut [], |buffer| &mut buffer[end..])
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        if self.tail_end > 0 {
            self.seal(true);
            self.full.extend(self.current.take());
        }
        self.current = Some(self.pool.take(Size::Large));
        (self.tail_start, self.tail_end) = (0, 0);
    }

    /// Makes the tail a piece. With `last`, its buffer will get no more bytes.
    fn seal(&mut self, last: bool) {
        if self.tail_start < self.tail_end || last {
            self.pieces.push_back(Piece::Inline { start: self.tail_start, end: self.tail_end, last });
            self.tail_start = self.tail_end;
        }
    }

    /// Gives the buffers of an empty output back, but for a large one, to write to next.
    #[inline]
    fn reset(&mut self) {
        let is_small = self.current.as_ref().is_some_and(|buffer| buffer.size() == Size::Small);
        if is_small || !self.full.is_empty() {
            self.give_back(is_small);
        }
        (self.tail_start, self.tail_end) = (0, 0);
    }

    /// Gives back the buffers before the current one, and that one if it is small.
    #[inline(never)]
    fn give_back(&mut self, is_small: bool) {
        self.full.clear();
        if is_small {
            self.current = None;
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Its buffer is going to count as given back.
        self.take_up();
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("len", &self.len)
            .field("cap", &self.cap)
            .field("pieces", &self.pieces.len())
            .field("buffers", &(self.full.len() + usize::from(self.current.is_some())))
            .finish()
    }
}

#[cfg(test)]
mod tests;
