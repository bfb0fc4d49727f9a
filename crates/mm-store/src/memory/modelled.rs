//! Lines of a table for loom, whose atomics are larger than what they stand for and cannot lie in mapped memory.

use std::fs::File;
use std::io;

use super::region::Ground;
use super::table::{Bucket, GhostLine, SLOTS};

/// What a table consists of.
pub(crate) trait Line: Default {
    /// Becomes as memory reads that was given back.
    fn clear(&self);
}

impl Line for Bucket {
    fn clear(&self) {
        for slot in 0..SLOTS {
            self.set_tag(slot, 0);
            self.set_location(slot, 0);
        }
    }
}

impl Line for GhostLine {
    fn clear(&self) {}
}

/// Lines.
#[derive(Debug)]
pub(crate) struct Table<T> {
    lines: Box<[T]>,
}

impl<T: Line> Table<T> {
    /// A table of `lines` lines.
    ///
    /// # Errors
    /// None.
    pub(crate) fn reserve(lines: usize, _huge_pages: bool, _ground: &mut Ground<'_>) -> io::Result<Self> {
        Ok(Self::of(lines))
    }

    /// The same without ground to stand on.
    pub(crate) fn of(lines: usize) -> Self {
        Self { lines: (0..lines).map(|_| T::default()).collect() }
    }

    /// Nothing is kept over a model.
    pub(crate) fn digest(&mut self, _lines: usize) -> u64 {
        0
    }

    /// Nothing is given away by a model.
    pub(crate) fn move_to(&mut self, _lines: usize, _file: &File, start: u64) -> io::Result<u64> {
        Ok(start)
    }

    /// Makes all lines but the first `lines` zero.
    pub(crate) fn clear_from(&mut self, lines: usize) {
        self.discard(lines, self.capacity());
    }

    /// How many lines there are.
    pub(crate) const fn capacity(&self) -> usize {
        self.lines.len()
    }

    /// Line number `position`.
    ///
    /// # Panics
    /// Where `position` is beyond the capacity.
    pub(crate) fn line(&self, position: usize) -> &T {
        &self.lines[position]
    }

    /// The same; `None` beyond the capacity.
    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        self.lines.get(position)
    }

    /// Does nothing.
    pub(crate) fn prefetch(&self, _position: usize) {}

    /// Does nothing.
    pub(crate) fn prefetch_to_write(&self, _position: usize) {}

    /// Gives lines from `first` up to `end` back, all of them.
    pub(crate) fn discard(&self, first: usize, end: usize) {
        self.lines[first..end].iter().for_each(T::clear);
    }
}
