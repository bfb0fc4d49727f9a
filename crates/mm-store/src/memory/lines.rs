//! Lines of a table in memory that becomes resident as it is used.

use std::fs::File;
use std::io;
use std::marker::PhantomData;

use super::digest;
use super::region::{Ground, Region};
use super::table::{Bucket, GhostLine};
use crate::limits::DISCARD_STEP_LINES;

/// What a table consists of.
///
/// # Safety
/// A value of zero bytes is valid, and the type changes only through atomics.
pub(crate) unsafe trait Line {}

// SAFETY: atomics only, and zero is a valid value of each.
unsafe impl Line for Bucket {}
// SAFETY: atomics only, and zero is a valid value of each.
unsafe impl Line for GhostLine {}

/// A range of address space for lines of which as many are used as are needed. Memory becomes resident line by line as
/// it is written.
#[derive(Debug)]
pub(crate) struct Table<T> {
    region: Region,
    capacity: usize,
    lines: PhantomData<T>,
}

impl<T: Line> Table<T> {
    /// Reserves address space for `lines` lines.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn reserve(lines: usize, huge_pages: bool, ground: &mut Ground<'_>) -> io::Result<Self> {
        let bytes = lines.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { region: ground.region(bytes, huge_pages)?, capacity: lines, lines: PhantomData })
    }

    /// How many lines there is address space for.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Line number `position`.
    ///
    /// # Panics
    /// Where `position` is beyond the capacity.
    #[inline]
    pub(crate) fn line(&self, position: usize) -> &T {
        &self.lines()[position]
    }

    /// The same; `None` beyond the capacity.
    #[inline]
    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        self.lines().get(position)
    }

    #[inline]
    fn lines(&self) -> &[T] {
        // SAFETY: by the contract of `Line`; the region was made for so many.
        unsafe { self.region.slice_of::<T>(self.capacity) }
    }

    /// Brings line `position` near.
    #[inline]
    pub(crate) fn prefetch(&self, position: usize) {
        super::prefetch_read(self.region.address(position * size_of::<T>()));
    }

    /// Brings line `position` near, for writing.
    #[inline]
    pub(crate) fn prefetch_to_write(&self, position: usize) {
        super::prefetch_write(self.region.address(position * size_of::<T>()));
    }

    /// Gives the memory of lines from `first` up to `end`, which are not used any more, back: whole pages of them.
    pub(crate) fn discard(&self, first: usize, end: usize) {
        // SAFETY: lines are reached by atomics only. Whoever still looks at one of these finds zeros, as if
        // somebody had stored them.
        unsafe { self.region.discard(first * size_of::<T>(), (end - first) * size_of::<T>()) };
    }

    /// A hash of the first `lines` lines.
    pub(crate) fn digest(&mut self, lines: usize) -> u64 {
        // SAFETY: nobody else has the table: it is borrowed by `&mut`.
        digest(unsafe { self.region.bytes(0, lines * size_of::<T>()) })
    }

    /// Moves the first `lines` lines to a file in which the table begins at `start`; returns where it ends there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn move_to(&mut self, lines: usize, file: &File, start: u64) -> io::Result<u64> {
        for first in (0..lines).step_by(DISCARD_STEP_LINES) {
            let count = DISCARD_STEP_LINES.min(lines - first);
            let (offset, len) = (first * size_of::<T>(), count * size_of::<T>());
            // SAFETY: nobody else has the table: it is borrowed by `&mut`.
            unsafe { self.region.move_to(offset, len, file, start)? };
        }
        Ok(self.region.end_in_file(start))
    }

    /// Makes all lines but the first `lines` zero.
    pub(crate) fn clear_from(&mut self, lines: usize) {
        // SAFETY: nobody else has the table: it is borrowed by `&mut`.
        unsafe { self.region.clear(lines * size_of::<T>()) };
    }
}
