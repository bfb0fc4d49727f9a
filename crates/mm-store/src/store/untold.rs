//! Dead bytes that a shard has yet to tell the segments of.
//!
//! Items that shards write by turns stand in the segments that these append to, so every overwrite counts dead bytes
//! in one of few cache lines, which another shard has written to just before. So a shard adds up what it finds in a
//! turn, a few segments at a time. Until it is told, what was overwritten counts as alive, and its segment stays.

use std::cell::Cell;

use crate::memory::SegmentId;
use crate::segment::Segments;
use crate::sharing::Sharing;

/// For how many segments bytes are added up.
const SEGMENTS: usize = 4;

/// The segments, each with its bytes.
#[derive(Debug, Default)]
pub(super) struct Untold([Cell<Option<(SegmentId, u32)>>; SEGMENTS]);

impl Untold {
    /// Adds so many dead bytes of `id`. Where there is no place for it, the segment with fewer is told at once: those
    /// in which much is overwritten, which other shards tell too, keep their places.
    #[inline(always)]
    pub(super) fn add<S: Sharing>(&self, segments: &Segments<S>, id: SegmentId, bytes: u32) {
        let cell = &self.0[id.index() % SEGMENTS];
        match cell.get() {
            Some((same, before)) if same == id => cell.set(Some((id, before + bytes))),
            Some((_, before)) if before >= bytes => segments.add_dead(id, bytes),
            other => {
                cell.set(Some((id, bytes)));
                if let Some((other, bytes)) = other {
                    segments.add_dead(other, bytes);
                }
            }
        }
    }

    /// Tells the segments of all.
    #[inline]
    pub(super) fn tell<S: Sharing>(&self, segments: &Segments<S>) {
        for (id, bytes) in self.0.iter().filter_map(Cell::take) {
            segments.add_dead(id, bytes);
        }
    }
}
