//! Room for records and the bound of memory.
//!
//! The limit is shared by segments, index and ghosts: as the index grows, fewer segments are allowed, and those
//! above are emptied and their memory given back before the larger index is used.

use super::{PutError, Store};
use crate::index::BUCKET_BYTES;
use crate::limits::{PACE_SEGMENTS_MAX, RESERVE_SEGMENTS};
use crate::memory::SegmentId;
use crate::segment::{Queue, SEGMENT_BOOK_BYTES};

impl Store {
    /// The segment where `queue`'s next record goes, if it has room for `bytes`.
    #[inline]
    pub(super) fn open_with_room(&self, queue: Queue, bytes: usize) -> Option<SegmentId> {
        self.heads[queue.index()].filter(|&segment| self.arena.room(segment) >= self.arena.rounded(bytes))
    }

    /// Makes room for a record of `bytes` at the end of `queue`.
    pub(super) fn make_room(&mut self, queue: Queue, bytes: usize) -> Result<SegmentId, PutError> {
        if self.arena.rounded(bytes) > self.arena.segment_bytes() {
            return Err(PutError::TooLarge);
        }
        // Each round empties a segment. Survivors have their frequency lowered, so four rounds through all segments
        // leave none.
        let mut rounds = 4 * self.sizes.segments + 16;
        loop {
            if let Some(segment) = self.open_with_room(queue, bytes) {
                return Ok(segment);
            }
            if self.available() > RESERVE_SEGMENTS.cast_signed() {
                self.open_head(queue);
            } else if rounds == 0 || !self.empty_one() {
                self.stats.refused += 1;
                return Err(PutError::NoMemory);
            }
            rounds -= 1;
        }
    }

    /// Seals the queue's open segment and opens another, if one can be had.
    pub(super) fn open_head(&mut self, queue: Queue) -> Option<SegmentId> {
        let may_grow = self.segments.resident() < self.allowed_segments();
        let opened = self.segments.open(queue, may_grow, self.now_s)?;
        if let Some(full) = self.heads[queue.index()].replace(opened) {
            self.segments.seal(full);
        }
        Some(opened)
    }

    /// How many segments the limit has room for beside the index and the ghosts.
    fn allowed_segments(&self) -> usize {
        let book_keeping = self.sizes.segments as usize * SEGMENT_BOOK_BYTES;
        let others = self.index.bytes().max(self.wanted_index_bytes) + self.ghosts.bytes() + book_keeping;
        self.sizes.limit_bytes.saturating_sub(others) / self.sizes.segment_bytes
    }

    /// How many segments can be opened; negative while there are more than the limit allows.
    fn available(&self) -> isize {
        let growth = self.allowed_segments().cast_signed() - self.segments.resident().cast_signed();
        self.segments.free().cast_signed() + growth
    }

    /// Beside a write of `bytes`: does its share of emptying segments, so that no write has to wait for a whole one.
    #[inline]
    pub(super) fn keep_pace(&mut self, bytes: usize) {
        self.countdown = self.countdown.saturating_sub(bytes);
        if self.countdown == 0 {
            self.keep_pace_slowly(bytes);
        }
    }

    fn keep_pace_slowly(&mut self, bytes: usize) {
        let spare = self.available() - RESERVE_SEGMENTS.cast_signed() - 1;
        if spare > 0 {
            // Nothing to do before this much is written.
            self.countdown = spare.unsigned_abs().min(PACE_SEGMENTS_MAX) * self.sizes.segment_bytes / 4;
            return;
        }
        if self.leaving.segment.is_some() || self.begin_leaving() {
            self.empty_some(2 * bytes);
        }
    }

    pub(super) fn take_back_held(&mut self) -> bool {
        let Some(segment) = self.segments.take_held(|id| !self.arena.is_held(id)) else { return false };
        self.arena.reset(segment) && {
            self.reuse(segment);
            true
        }
    }

    pub(super) fn reuse(&mut self, segment: SegmentId) {
        self.stats.segments_reused += 1;
        self.segments.release(segment);
        self.give_back_surplus();
    }

    /// Gives memory of free segments back while there are more segments than the limit allows.
    fn give_back_surplus(&mut self) {
        while self.segments.resident() > self.allowed_segments()
            && let Some(surplus) = self.segments.take_free_to_discard()
        {
            self.arena.discard(surplus);
        }
    }

    /// Beside each write: a step of the index's growth or shrink, or its beginning.
    #[inline]
    pub(super) fn resize_step(&mut self) {
        if self.index.is_moving() {
            self.move_buckets();
        } else if let Some(len) = self.index.wanted_len() {
            self.begin_resize(len);
        }
    }

    fn move_buckets(&mut self) {
        for _ in 0..2 {
            self.index.prefetch_step(|location| self.arena.record(location).prefetch());
            let (arena, hasher) = (&self.arena, &self.hasher);
            let lost = self.index.step(|at| hasher.hash(arena.record(at).key()));
            for location in lost.into_iter().flatten() {
                self.stats.evicted += 1;
                self.bury(location);
            }
        }
    }

    /// Begins a resize as soon as the limit has room for the larger index; until then fewer segments are allowed.
    fn begin_resize(&mut self, len: usize) {
        self.wanted_index_bytes = len * BUCKET_BYTES;
        self.countdown = 0;
        self.give_back_surplus();
        if self.segments.resident() <= self.allowed_segments() {
            self.index.begin_resize(len);
        }
    }
}
