//! Memory that has been used is used again before fresh memory is touched.
//!
//! A log would go through all of its memory before it came to a hole, whatever little lives in it. Memory that was
//! never touched has to be found and cleared by the system, which takes longer than to copy a few records out of the
//! way, and is then missing elsewhere on the machine. So a segment in which little lives is emptied beside the writes
//! that fill the segment after it.

use super::Store;
use crate::limits::{PACE_SEGMENTS_MAX, REUSE_PACE, REUSE_WEIGHT};
use crate::sharing::Sharing;

impl<S: Sharing> Store<S> {
    /// Beside a write of `bytes`, while there is memory to spare for `spare` segments: works towards a free segment, if
    /// there is none and one can be had for little.
    pub(super) fn reuse_memory(&mut self, bytes: usize, spare: usize) {
        let segment_bytes = self.core.sizes.segment_bytes;
        let soon = spare.min(PACE_SEGMENTS_MAX) * segment_bytes / 4;
        if self.leaving.segment.is_some() {
            return self.empty_beside(bytes, REUSE_PACE, 0);
        }
        let has_free = self.core.segments.free() + self.core.segments.held() != 0;
        if has_free {
            self.countdown = soon.min(segment_bytes / 4);
        } else if let Some(segment) =
            self.least_alive(self.core.segments.light(REUSE_WEIGHT, self.look_from.get()))
            && self.leave(segment, true)
        {
            self.empty_beside(bytes, REUSE_PACE, 0);
        } else {
            self.countdown = soon.min(segment_bytes / 4);
        }
    }
}
