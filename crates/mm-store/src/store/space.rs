//! Room for records and the bound of memory.
//!
//! The limit is shared by segments, index and ghosts: as the index grows, fewer segments have room, and those
//! above are emptied and their memory given back, step by step, before the larger index is used.

use super::{PutError, Store};
use crate::index::BUCKET_BYTES;
use crate::limits::{
    COPY_CREDIT_SEGMENTS, MIN_LIMIT_BYTES, MIN_SEGMENTS, PACE_MAX, PACE_SEGMENTS_MAX, RESERVE_SEGMENTS,
};
use crate::memory::SegmentId;
use crate::segment::{Place, Queue, SEGMENT_BOOK_BYTES, TTL_GROUPS};
use crate::sharing::Sharing;

impl<S: Sharing> Store<S> {
    /// The segment where the next record goes at `place`, if it has room for `bytes`.
    #[inline]
    pub(super) fn open_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        self.heads[place.index()].filter(|&segment| self.arena.room(segment) >= self.arena.rounded(bytes))
    }

    /// An open segment with room for `bytes`, of the same queue where there is one.
    pub(super) fn any_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        let has_room = |&&segment: &&SegmentId| self.arena.room(segment) >= self.arena.rounded(bytes);
        let (first, second) = self.heads.split_at(TTL_GROUPS);
        let (same, other) = if place.queue == Queue::Small { (first, second) } else { (second, first) };
        same.iter().chain(other).flatten().find(has_room).copied()
    }

    /// Makes room for a record of `bytes` at `place`.
    pub(super) fn make_room(&mut self, place: Place, bytes: usize) -> Result<SegmentId, PutError> {
        if self.arena.rounded(bytes) > self.arena.segment_bytes() {
            return Err(PutError::TooLarge);
        }
        // Each round empties a segment. Survivors have their frequency lowered, so four rounds through all segments
        // leave none.
        let mut rounds = 4 * self.segments.resident() + 16;
        loop {
            if let Some(segment) = self.open_with_room(place, bytes) {
                return Ok(segment);
            }
            if self.available() > RESERVE_SEGMENTS && self.open_head(place).is_some() {
                continue;
            }
            if rounds == 0 || !self.empty_one() {
                self.stats.refused += 1;
                return Err(PutError::NoMemory);
            }
            rounds -= 1;
        }
    }

    /// Seals the open segment of `place` and opens another, if one can be had.
    pub(super) fn open_head(&mut self, place: Place) -> Option<SegmentId> {
        let may_grow = self.segments.resident() < self.target_segments();
        let opened = self.segments.open(place.queue, may_grow, self.now_s)?;
        if let Some(full) = self.heads[place.index()].replace(opened) {
            self.segments.seal(full);
        }
        Some(opened)
    }

    /// Changes the memory limit. What is too much then is given back step by step, by writes and by
    /// [`Store::maintain`]. Returns false, and changes nothing, where the limit is higher than the address space
    /// reserved at the start (four times the limit it began with, from 64 MiB on; else that limit itself) or too
    /// low for the size of segments that was chosen for it.
    pub fn set_limit(&mut self, bytes: usize) -> bool {
        let least = MIN_LIMIT_BYTES.max(MIN_SEGMENTS * self.sizes.segment_bytes);
        if !(least..=self.sizes.reserved_bytes).contains(&bytes) {
            return false;
        }
        self.sizes.limit_bytes = bytes;
        self.countdown = 0;
        true
    }

    /// How many segments the limit has room for beside what index and ghosts have or want.
    fn target_segments(&self) -> usize {
        self.segments_beside(self.index.bytes().max(self.wanted_index_bytes))
    }

    fn segments_beside(&self, index_bytes: usize) -> usize {
        let ghosts = if self.evict { self.ghosts.bytes_to_fit(self.index.items()) } else { 0 };
        let book_keeping = self.sizes.segments as usize * SEGMENT_BOOK_BYTES;
        self.sizes.limit_bytes.saturating_sub(index_bytes + ghosts + book_keeping) / self.sizes.segment_bytes
    }

    /// How many segments can be opened.
    pub(super) fn available(&self) -> usize {
        self.segments.free() + self.target_segments().saturating_sub(self.segments.resident())
    }

    /// Whether there are more segments than index and ghosts leave room for, so that some have to go.
    pub(super) fn has_surplus(&self) -> bool {
        self.segments.resident() > self.target_segments()
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
        let (spare, surplus) = (self.available().saturating_sub(RESERVE_SEGMENTS + 2), self.has_surplus());
        if spare > 0 && !surplus {
            // Nothing to do before this much is written.
            self.countdown = spare.min(PACE_SEGMENTS_MAX) * self.sizes.segment_bytes / 4;
            return;
        }
        if surplus {
            self.give_back_surplus(RESERVE_SEGMENTS + 1);
        }
        let most = (COPY_CREDIT_SEGMENTS * self.sizes.segment_bytes).cast_signed();
        self.copy_credit = self.copy_credit.saturating_add_unsigned(bytes).min(most);
        if self.leaving.segment.is_none() && self.expire_first() {
            return;
        }
        if self.leaving.segment.is_some() || self.begin_leaving() {
            self.empty_some(bytes * self.pace(surplus));
        } else {
            // Nothing can be emptied for now; it need not be tried at each write.
            self.countdown = self.sizes.segment_bytes / 4;
        }
    }

    /// Bytes of segments to look at for each byte written: the more, the nearer the moment when a write would have to
    /// wait, because the open segments are full and only the reserve is left.
    fn pace(&self, surplus: bool) -> usize {
        match self.available().saturating_sub(RESERVE_SEGMENTS) {
            2.. if !surplus => return 2,
            1.. => return 4,
            0 => {}
        }
        let room = self.heads.iter().flatten().map(|&head| self.arena.room(head)).min().unwrap_or(0);
        if room * 2 > self.sizes.segment_bytes { PACE_MAX / 2 } else { PACE_MAX }
    }

    pub(super) fn take_back_held(&mut self) -> bool {
        let Some(segment) = self.segments.take_held(|id| !self.arena.is_held(id)) else { return false };
        self.arena.reset(segment) && {
            self.reuse(segment);
            true
        }
    }

    pub(super) fn reuse(&mut self, segment: SegmentId) {
        self.expired_bytes -= self.segments.get(segment).expired_bytes as usize;
        self.stats.segments_reused += 1;
        self.segments.release(segment);
    }

    /// Gives a free segment's memory back while there are more segments than there is room for. Some are kept: the
    /// reserve for the next segment's survivors, and one for the next write.
    pub(super) fn give_back_surplus(&mut self, kept: usize) {
        if self.has_surplus()
            && self.segments.free() > kept
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
        } else if self.wanted_index_bytes != 0 && self.index.has_room() {
            self.wanted_index_bytes = 0;
        }
    }

    fn move_buckets(&mut self) {
        for _ in 0..2 {
            self.index.prefetch_step(|location| self.arena.record(location).prefetch());
            let (arena, hasher) = (&self.arena, &self.hasher);
            let lost = self.index.step(|at| hasher.hash(arena.record(at).key()));
            for (location, mark) in lost.into_iter().flatten() {
                self.count_evicted(location, mark);
                self.bury(location);
            }
        }
    }

    /// Begins a resize as soon as the limit has room for the larger index; until then segments make room for it. A
    /// store that does not evict waits only where free segments are enough.
    fn begin_resize(&mut self, len: usize) {
        let bytes = len * BUCKET_BYTES;
        let to_spare = self.segments.free().saturating_sub(RESERVE_SEGMENTS);
        let resident = self.segments.resident();
        if !self.evict && resident - to_spare > self.segments_beside(bytes.max(self.index.bytes())) {
            return;
        }
        self.wanted_index_bytes = bytes;
        if self.has_surplus() {
            self.countdown = 0;
            self.give_back_surplus(RESERVE_SEGMENTS + usize::from(self.evict));
        }
        if bytes <= self.index.bytes() || !self.has_surplus() {
            mm_base::mark!("index resized");
            self.index.begin_resize(len);
            self.wanted_index_bytes = 0;
        }
    }
}
