//! What a segment's memory holds, kept over a restart.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use super::{Arena, NO_WRITER, SegmentId};
use crate::memory::digest;
use crate::narrow::to_u32;

/// Where the mark stands: in the first segment, which has no records.
pub(crate) const MARK_AT: usize = 0;

impl Arena {
    /// Whether nobody reads or writes any record: there are no pins, no open records and no writers.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_quiet = |fill: &super::Fill| {
            fill.open.load(Ordering::Acquire) == 0 && fill.writer.load(Ordering::Acquire) == NO_WRITER
        };
        self.mapping.pinned.load(Ordering::Acquire) == 0 && self.fills.iter().all(is_quiet)
    }

    /// A hash of the records of `segment`.
    pub(crate) fn digest(&mut self, segment: SegmentId) -> u64 {
        let (offset, used) = (segment.index() << self.segment_shift, self.used(segment));
        // SAFETY: nobody writes the segment meanwhile, because the arena is borrowed by `&mut` and pins only read.
        digest(unsafe { self.mapping.region.bytes(offset, used) })
    }

    /// Says that `used` bytes of `segment` are records that another arena has left in this memory. False, and nothing
    /// is changed, where that cannot be.
    pub(crate) fn restore(&mut self, segment: SegmentId, used: usize) -> bool {
        let can_be = used <= self.config.segment_bytes && used.is_multiple_of(self.config.granule_bytes);
        if can_be {
            self.fills[segment.index()].used.store(to_u32(used), Ordering::Relaxed);
        }
        can_be
    }

    /// Moves the records of all segments to a file in which the arena begins; returns where it ends there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn move_to(&mut self, file: &File) -> io::Result<u64> {
        for (number, fill) in self.fills.iter().enumerate() {
            let used = fill.used.load(Ordering::Acquire) as usize;
            // SAFETY: the arena is borrowed by `&mut`, and its owner has seen that there are no pins.
            unsafe { self.mapping.region.move_to(number << self.segment_shift, used, file, 0)? };
        }
        Ok(self.mapping.region.end_in_file(0))
    }

    /// The mark that [`Arena::set_mark`] has left in this memory, 0 for none.
    pub(crate) fn mark(&self) -> u64 {
        let word = |at| u64::from(self.mapping.region.word(at).load(Ordering::Relaxed));
        word(MARK_AT) | word(MARK_AT + 4) << 32
    }

    /// Leaves a mark in the memory.
    pub(crate) fn set_mark(&self, mark: u64) {
        for (at, half) in [(MARK_AT, mark & 0xffff_ffff), (MARK_AT + 4, mark >> 32)] {
            self.mapping.region.word(at).store((half & 0xffff_ffff) as u32, Ordering::Release);
        }
    }
}
