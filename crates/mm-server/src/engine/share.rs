//! The part of a long output that is sent in one turn.

use std::io::IoSlice;

use mm_base::buffer::Output;
use mm_base::slab::Key;
use mm_runtime::driver::Unsent;

use crate::limits::{OTHERS_MS, SEND_BYTES_AMONG_OTHERS_MAX, SEND_BYTES_PER_TURN_MAX};

/// Whether a shard serves one connection alone.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// The last turn's first connection.
    last: Option<Key>,
    /// When another than the one before was served, on the monotonic clock.
    others_ms: u64,
}

impl Company {
    /// A turn serves so many connections, this one first. Gives how many bytes of a long output it sends.
    #[inline]
    pub(super) fn share_bytes(&mut self, (connections, first): (usize, Option<Key>), now_ms: u64) -> usize {
        if connections > 1 || first != self.last {
            (self.last, self.others_ms) = (first, now_ms);
        }
        let is_alone = now_ms.saturating_sub(self.others_ms) > OTHERS_MS;
        if is_alone { SEND_BYTES_PER_TURN_MAX } else { SEND_BYTES_AMONG_OTHERS_MAX }
    }
}

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

#[cfg(test)]
mod tests {
    use mm_base::slab::Slab;

    use super::*;

    #[test]
    fn who_is_served_alone_for_a_while_is_sent_more() {
        let mut slab = Slab::default();
        let [one, other] = [slab.insert(()), slab.insert(())].map(Result::ok);
        let mut company = Company::default();
        let (few, many) = (SEND_BYTES_AMONG_OTHERS_MAX, SEND_BYTES_PER_TURN_MAX);
        let turns = [
            (1, one, 1000, few),
            (1, one, 1100, few),
            (1, one, 1101, many),
            (1, other, 1102, few),
            (1, one, 1103, few),
            (1, one, 1203, few),
            (1, one, 1204, many),
            (2, one, 1205, few),
            (1, one, 1306, many),
        ];
        for (connections, first, now_ms, bytes) in turns {
            assert_eq!(company.share_bytes((connections, first), now_ms), bytes, "at {now_ms} ms");
        }
    }
}
