//! Where a readiness driver receives to.

use std::fmt;

use crate::limits::{INBOX_BYTES, RECEIVE_BYTES_MAX};

/// Names received bytes to the driver that received them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// How many bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a span is never empty")]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Bytes `start..end` of a ring's buffer.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline]
    pub(super) fn of_ring(buffer: u16, start: usize, end: usize) -> Self {
        Self { start: IN_RING | u32::from(buffer) << RING_SHIFT | place(start), len: place(end - start) }
    }

    /// The ring's buffer, and which bytes of it. `None`: they are in the inbox.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline]
    pub(super) fn in_ring(self) -> Option<(u16, std::ops::Range<usize>)> {
        let buffer = u16::try_from((self.start & !IN_RING) >> RING_SHIFT).ok()?;
        let start = (self.start & ((1 << RING_SHIFT) - 1)) as usize;
        (self.start & IN_RING != 0).then(|| (buffer, start..start + self.len as usize))
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const IN_RING: u32 = 1 << 31;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const RING_SHIFT: u32 = RECEIVE_BYTES_MAX.trailing_zeros();
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const _: () = assert!(RECEIVE_BYTES_MAX.is_power_of_two() && RING_SHIFT <= 15, "all of it fits in 32 bits");

/// The bytes of all receives of a batch, one behind the other, each on a cache line of its own.
///
/// Short requests of many connections thus lie close together. In one buffer each they would be 16 KiB apart,
/// which is the same few sets of the first-level cache for all of them.
pub(super) struct Inbox {
    bytes: Box<[u8]>,
    used: usize,
}

const LINE_BYTES: usize = 64;

impl Inbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; INBOX_BYTES].into_boxed_slice(), used: 0 }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() - self.used >= RECEIVE_BYTES_MAX
    }

    /// Where the next receive goes. Never longer than [`RECEIVE_BYTES_MAX`], and shorter only when it has no
    /// room.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        let end = self.bytes.len().min(self.used + RECEIVE_BYTES_MAX);
        &mut self.bytes[self.used..end]
    }

    /// `len` bytes have been received into the room.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Span {
        let len = len.min(self.bytes.len() - self.used);
        let span = Span { start: place(self.used), len: place(len) };
        self.used = self.bytes.len().min((self.used + len).next_multiple_of(LINE_BYTES));
        span
    }

    /// Of `len` bytes received the first `before` went elsewhere, the rest into the room. How many those first are, and
    /// the rest, if there is one.
    #[inline]
    pub(super) fn split(&mut self, len: usize, before: usize) -> (usize, Option<Span>) {
        let rest = len.saturating_sub(before);
        (len - rest, (rest > 0).then(|| self.take(rest)))
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..][..span.len as usize]
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("used", &self.used).finish_non_exhaustive()
    }
}

/// An offset in the inbox, in the width it is kept in.
fn place(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
