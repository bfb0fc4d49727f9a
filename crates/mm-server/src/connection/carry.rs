//! Input that a service has seen and not consumed: a request that was cut, or what waits for the output to
//! drain.

use mm_base::buffer::{Buffer, Pool, Size};
use mm_base::mark;

use crate::limits::INPUT_BYTES_MAX;

const _: () = assert!(INPUT_BYTES_MAX <= Size::Large.bytes(), "a large buffer holds all of an input");

/// Bytes `start..end` of a buffer.
pub(super) struct Carry {
    buffer: Buffer,
    start: u32,
    end: u32,
}

impl Carry {
    /// Keeps a copy of `bytes`, at most [`INPUT_BYTES_MAX`] of them.
    pub(super) fn new(pool: &Pool, bytes: &[u8]) -> Self {
        let mut buffer = pool.take(Size::fitting(bytes.len()));
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self { buffer, start: 0, end: place(bytes.len()) }
    }

    /// The kept bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end as usize]
    }

    /// Whether as much is kept as a service is shown at once.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start >= place(INPUT_BYTES_MAX)
    }

    /// Forgets the first `bytes` of them.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + place(bytes));
    }

    /// Where the bytes go that follow the kept ones: in a large buffer, to get as many of them at once as
    /// possible.
    pub(super) fn room(&mut self, pool: &Pool) -> &mut [u8] {
        if self.buffer.size() == Size::Small {
            mark!("cut request moved to a large buffer");
            self.move_to(pool, Size::Large);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start as usize..self.end as usize, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end as usize..INPUT_BYTES_MAX]
    }

    /// `bytes` bytes have been written to the start of the room.
    pub(super) fn extend(&mut self, bytes: usize) {
        self.end = place(INPUT_BYTES_MAX).min(self.end + place(bytes));
    }

    /// Moves the bytes to a small buffer if they fit one.
    pub(super) fn shrink(&mut self, pool: &Pool) {
        if self.buffer.size() == Size::Large && self.bytes().len() <= Size::Small.bytes() {
            mark!("cut request moved to a small buffer");
            self.move_to(pool, Size::Small);
        }
    }

    fn move_to(&mut self, pool: &Pool, size: Size) {
        let mut buffer = pool.take(size);
        let len = self.bytes().len();
        buffer[..len].copy_from_slice(self.bytes());
        *self = Self { buffer, start: 0, end: place(len) };
    }
}

/// An offset in a buffer, in the width it is kept in.
fn place(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
