//! The part of a long output that is sent in one turn.

use std::io::IoSlice;

use mm_base::buffer::Output;
use mm_runtime::driver::Unsent;

/// The first bytes of an output.
pub(super) struct Share<'a> {
    output: &'a mut Output,
    left: usize,
}

impl<'a> Share<'a> {
    /// The first `bytes` bytes, or what there is.
    pub(super) fn new(output: &'a mut Output, bytes: usize) -> Self {
        let left = output.len().min(bytes);
        Self { output, left }
    }
}

impl Unsent for Share<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn contiguous(&self) -> Option<&[u8]> {
        self.output.contiguous().map(|bytes| &bytes[..self.left])
    }

    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.gather_some(slices, self.left)
    }

    fn gathered_len(&self, slices: usize) -> usize {
        self.output.gathered_len(slices).min(self.left)
    }

    fn advance(&mut self, bytes: usize) {
        self.output.advance(bytes);
        self.left -= bytes;
    }
}
