//! Room for records and the bound of memory.
//!
//! The limit is shared by segments, index and ghosts: as the index grows, fewer segments have room, and those
//! above are emptied and their memory given back, step by step, before the larger index is used.

use super::share::Share;
use super::{PutError, Store};
use crate::limits::{
    AHEAD_VALUE_SHARE, COPY_CREDIT_SEGMENTS, LATE_PACE, PACE_MAX, RESERVE_SEGMENTS, YIELDS_MAX,
};
use crate::memory::SegmentId;
use crate::primitive::{Ordering, yield_now};
use crate::segment::{PLACES, Place, QUEUES, Queue};
use crate::sharing::Sharing;
use crate::whole::whole;

/// What has come of waiting for other shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// There may be room now.
    Again,
    /// They take too long.
    InVain,
    /// It is not them.
    ForNothing,
}

impl<S: Sharing> Store<S> {
    /// The segment where the next record goes at `place`, if it has room for `bytes`.
    #[inline(always)]
    pub(super) fn open_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        self.with_room(self.heads[place.index()], bytes)
    }

    #[inline]
    fn with_room(&self, head: Option<SegmentId>, bytes: usize) -> Option<SegmentId> {
        let core = &*self.core;
        head.filter(|&segment| {
            // Where another shard has flushed the store, what is appended from now on belongs to the time after.
            let is_old = S::IS_SHARED && core.segments.get(segment).sequence() < core.flushed_before();
            core.arena.room(segment) >= core.arena.rounded(bytes) && !is_old
        })
    }

    /// The same, or where no other segment may be opened now one that is open at another place, of the same queue if
    /// there is one: that items of a kind stand together is not worth to wait until a segment is empty.
    #[inline(always)]
    pub(super) fn open_or_other(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        self.open_with_room(place, bytes).or_else(|| self.other_with_room(place, bytes))
    }

    #[cold]
    #[inline(never)]
    fn other_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        if self.available() > self.core.reserve_segments() {
            return self.instead_with_room(place, bytes);
        }
        self.any_with_room(place, bytes)
    }

    /// Where this shard has as many open segments as it may, and none at `place`, the one that is to do instead.
    pub(super) fn instead_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        let most = self.core.heads_each();
        if most >= PLACES || self.heads[place.index()].is_some() || self.heads.iter().flatten().count() < most
        {
            return None;
        }
        let found = self.any_with_room(place, bytes);
        found.filter(|&segment| most < QUEUES || self.core.segments.get(segment).queue() == place.queue)
    }

    /// An open segment with room for `bytes`, of the same queue where there is one.
    pub(super) fn any_with_room(&self, place: Place, bytes: usize) -> Option<SegmentId> {
        let (small, main) = self.heads.split_at(PLACES / QUEUES);
        let (same, other) = if place.queue == Queue::Small { (small, main) } else { (main, small) };
        same.iter().chain(other).find_map(|&head| self.with_room(head, bytes))
    }

    /// Makes room for a record of `bytes` at `place`.
    pub(super) fn make_room(&mut self, place: Place, bytes: usize) -> Result<SegmentId, PutError> {
        if self.core.arena.rounded(bytes) > self.core.arena.segment_bytes() {
            return Err(PutError::TooLarge);
        }
        self.tell_dead();
        // Each round empties a segment. Survivors have their frequency lowered, so four rounds through all segments
        // leave none.
        let mut rounds = 4 * self.core.segments.resident() + 16;
        let mut waits = 0;
        loop {
            if let Some(segment) = self.open_or_other(place, bytes) {
                return Ok(segment);
            }
            if self.available() > self.core.reserve_segments() && self.open_head(place).is_some() {
                continue;
            }
            match self.wait_for_readers(place, &mut waits) {
                Wait::Again => continue,
                Wait::InVain => rounds = 0,
                Wait::ForNothing => {}
            }
            if rounds == 0 || !self.empty_one() {
                // What is left is open, or others are about to empty it. The reserve serves nobody better.
                if self.core.evicts && self.open_head(place).is_some() {
                    continue;
                }
                self.counters().refused.add(1);
                return Err(PutError::NoMemory);
            }
            rounds -= 1;
        }
    }

    /// Takes back what others were reading, or of the reserve, or lets the others have the processor. Emptying more
    /// segments would not help: those would be read as well.
    fn wait_for_readers(&mut self, place: Place, waits: &mut usize) -> Wait {
        if !S::IS_SHARED {
            return Wait::ForNothing;
        }
        self.refresh();
        if self.take_back_held() {
            return Wait::Again;
        }
        if self.waiting == 0 {
            return Wait::ForNothing;
        }
        // Somebody has been in one turn for long. The reserve is there for this.
        if self.open_head(place).is_some() {
            return Wait::Again;
        }
        if *waits == 0 {
            self.counters().waited.add(1);
        }
        *waits += 1;
        yield_now();
        if *waits < YIELDS_MAX { Wait::Again } else { Wait::InVain }
    }

    /// Whether nearly all memory that could be made free, the reserve included, may be read by shards that have not
    /// rested for long. A write is then to be put off to another turn (and counts as one that waited): it would have to
    /// wait for them, and in the end be refused. Always false for the only shard of a store.
    #[inline]
    pub fn must_wait(&mut self) -> bool {
        // What is left is for writes that others have begun: one segment for each, where there are so many.
        S::IS_SHARED
            && self.core.segments.held() != 0
            && self.available() < self.core.reserve_segments() / RESERVE_SEGMENTS
            && self.is_waiting()
    }

    #[cold]
    fn is_waiting(&mut self) -> bool {
        self.refresh();
        let is_waiting = !whole(|| self.take_back_held()) && self.waiting != 0;
        if is_waiting {
            mm_base::mark!("write put off for readers");
            self.counters().waited.add(1);
        }
        is_waiting
    }

    /// Seals the open segment of `place` and opens another, if one can be had.
    pub(super) fn open_head(&mut self, place: Place) -> Option<SegmentId> {
        if self.core.segments.free() == 0 {
            self.free_empty();
        }
        let opened = self.core.segments.open(place, || self.target_segments(), self.now_s)?;
        self.core.arena.open::<S>(&mut self.writer, opened);
        if let Some(full) = self.heads[place.index()].replace(opened) {
            self.close_head(full);
        }
        self.close_excess(Some(place));
        self.populate_ahead();
        Some(opened)
    }

    /// Seals open segments that are more than this shard may have, those with the least room first, but not the one at
    /// `kept`.
    pub(super) fn close_excess(&mut self, kept: Option<Place>) {
        let most = self.core.heads_each();
        if most >= PLACES {
            return;
        }
        let kept = kept.map(Place::index);
        while self.heads.iter().flatten().count() > most {
            let others = self.heads.iter().enumerate().filter(|&(place, _)| Some(place) != kept);
            let others = others.filter_map(|(place, head)| head.map(|head| (place, head)));
            let Some((place, full)) = others.min_by_key(|&(_, head)| self.core.arena.room(head)) else {
                return;
            };
            self.heads[place] = None;
            self.close_head(full);
        }
    }

    /// Seals a segment that is no longer among the heads.
    pub(super) fn close_head(&mut self, full: SegmentId) {
        self.core.arena.close(&mut self.writer, full);
        self.core.segments.seal(full, self.core.arena.used(full));
    }

    /// Changes the memory limit. What is too much then is given back step by step, by writes and by
    /// [`Store::maintain`]. Returns false, and changes nothing, where the limit is higher than the address space
    /// reserved at the start (with 64-bit addresses and from 64 MiB on, four times the limit it began with; else that
    /// limit itself) or lower than [`Store::least_limit`].
    pub fn set_limit(&mut self, bytes: usize) -> bool {
        if !(self.least_limit()..=self.core.sizes.reserved_bytes).contains(&bytes) {
            return false;
        }
        self.core.limit_bytes.store(bytes, Ordering::Relaxed);
        self.countdown = 0;
        true
    }

    /// The lowest memory limit that the store can be given, in bytes. It has room for 32 segments of the size that was
    /// chosen for the limit which the store began with, and for two for each shard beside all that is no segment; that
    /// limit is never too low.
    #[must_use]
    pub fn least_limit(&self) -> usize {
        self.core.sizes.least_limit(self.core.counters.len())
    }

    /// How many segments the limit has room for beside what index and ghosts have or want.
    pub(super) fn target_segments(&self) -> usize {
        self.segments_beside(self.core.index.bytes().max(self.wanted_index_bytes()))
    }

    pub(super) fn wanted_index_bytes(&self) -> usize {
        self.core.wanted_index_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn segments_beside(&self, index_bytes: usize) -> usize {
        let ghosts = if self.core.evicts { self.core.ghosts.bytes_to_fit(self.items()) } else { 0 };
        let sizes = &self.core.sizes;
        let tables = sizes.backed_bytes(index_bytes) + sizes.backed_bytes(ghosts);
        self.core.limit_bytes().saturating_sub(tables + sizes.book_bytes()) / sizes.segment_bytes
    }

    /// How many segments can be opened.
    pub(super) fn available(&self) -> usize {
        self.core.segments.free() + self.target_segments().saturating_sub(self.core.segments.resident())
    }

    /// Whether there are more segments than index and ghosts leave room for, so that some have to go.
    pub(super) fn has_surplus(&self) -> bool {
        self.core.segments.resident() > self.target_segments()
    }

    /// The same, when those that are empty have been given back: those among them that only readers of this moment hold
    /// will be.
    pub(super) fn must_empty_for_limit(&self) -> bool {
        if !self.has_surplus() {
            return false;
        }
        let (segments, arena) = (&self.core.segments, &self.core.arena);
        let held = if segments.held() == 0 { 0 } else { segments.count_held(|id| !arena.is_held(id)) };
        let spare = segments.free().saturating_sub(self.core.reserve_segments());
        segments.resident().saturating_sub(held + spare) > self.target_segments()
    }

    /// Beside a write of `bytes`: does its share of emptying segments, so that no write has to wait for a whole one.
    #[inline]
    pub(super) fn keep_pace(&mut self, bytes: usize) {
        self.countdown = self.countdown.saturating_sub(bytes);
        if self.countdown == 0 {
            self.keep_pace_slowly(bytes, bytes);
        }
    }

    /// The same beside a piece of a value, after which the next one may be as short as it has to be for the index.
    pub(super) fn keep_pace_with_piece(&mut self, bytes: usize) {
        self.countdown = self.countdown.saturating_sub(bytes);
        if self.countdown == 0 {
            self.keep_pace_slowly(bytes, 0);
        }
    }

    #[inline(never)]
    fn keep_pace_slowly(&mut self, bytes: usize, followed_bytes: usize) {
        self.work.set(0);
        self.empty_slowly(bytes);
        self.follow_removals_beside(followed_bytes);
    }

    fn empty_slowly(&mut self, bytes: usize) {
        self.tell_dead();
        self.count_items(1);
        if S::IS_SHARED && self.core.segments.held() != 0 {
            self.refresh();
            self.take_back_held();
        }
        let reserve = self.core.reserve_segments();
        let coming = self.available() + self.waiting;
        let spare = coming.saturating_sub(reserve + 2 + self.ahead_segments());
        if self.has_surplus() {
            self.close_excess(None);
            self.give_back_surplus(reserve + 1);
        }
        let surplus = self.must_empty_for_limit();
        if spare > 0 && !surplus {
            return self.reuse_memory(bytes, spare);
        }
        let most = (COPY_CREDIT_SEGMENTS * self.core.sizes.segment_bytes).cast_signed();
        self.copy_credit = self.copy_credit.saturating_add_unsigned(bytes).min(most);
        if self.leaving.segment.is_none() && self.expire_first() {
            return;
        }
        self.set_bar();
        if self.leaving.segment.is_some() || self.may_begin_leaving() && self.begin_leaving() {
            let least_pace = if self.is_late() { LATE_PACE } else { 0 };
            self.empty_beside(bytes, self.pace(surplus), least_pace);
        } else {
            // Nothing can be emptied for now; it need not be tried at each write.
            self.countdown = self.core.sizes.segment_bytes / 4;
        }
    }

    /// Whether a segment may be emptied little by little.
    fn may_begin_leaving(&self) -> bool {
        let segments = &self.core.segments;
        segments.len(Queue::Small) + segments.len(Queue::Main) > self.core.least_sealed()
    }

    /// Segments to have free, besides the reserve and two, before a value comes that is as large as the mean: none of
    /// its kind is worth less then only because it meets no room. What has few items counts garbage in that mean.
    fn ahead_segments(&self) -> usize {
        let mean = usize::try_from(self.mean_bytes()).unwrap_or(usize::MAX) / self.core.sizes.segment_bytes;
        mean.min(self.core.segments.resident() / AHEAD_VALUE_SHARE)
    }

    /// The room of each open segment.
    pub(super) fn rooms(&self) -> impl Iterator<Item = usize> + '_ {
        self.heads.iter().flatten().map(|&head| self.core.arena.room(head))
    }

    /// Beside a write of `bytes`: looks at `pace` bytes of segments for each of them, as far as its work is bounded;
    /// what is left falls to the writes after it. It looks at `least_pace` whatever that costs.
    pub(super) fn empty_beside(&mut self, bytes: usize, pace: usize, least_pace: usize) {
        let wanted = self.owed + bytes * pace;
        let examined = self.empty_some(Share::of_write(bytes, wanted, bytes * least_pace));
        let is_done = self.leaving.segment.is_none();
        let left = if is_done { 0 } else { wanted.saturating_sub(examined) };
        self.owed = left.min(self.core.sizes.segment_bytes);
    }

    /// Bytes of segments to look at for each byte written: the more, the nearer the moment when a write would have to
    /// wait, because the open segments are full and only the reserve is left.
    fn pace(&self, surplus: bool) -> usize {
        match (self.available() + self.waiting).saturating_sub(self.core.reserve_segments()) {
            2.. if !surplus => return 2,
            1.. => return 4,
            0 => {}
        }
        let room = self.rooms().min().unwrap_or(0);
        if room * 2 > self.core.sizes.segment_bytes { PACE_MAX / 2 } else { PACE_MAX }
    }

    /// Frees a segment that nobody holds any more. Where there is none, it counts those that only readers of this
    /// moment hold.
    pub(super) fn take_back_held(&mut self) -> bool {
        let core = &*self.core;
        let Some(segment) = core.segments.take_held(|id| core.arena.reset::<S>(id)) else {
            self.waiting =
                if S::IS_SHARED { core.segments.count_held(|id| !core.arena.is_held(id)) } else { 0 };
            if self.waiting != 0 {
                mm_base::mark!("emptied segment waits for readers");
            }
            return false;
        };
        self.waiting = self.waiting.saturating_sub(1);
        self.counters().expired_bytes.subtract(u64::from(core.segments.get(segment).expired_bytes()));
        self.counters().segments_reused.add(1);
        core.segments.release(segment);
        true
    }

    /// Gives a segment's memory back while there is more than there is room for: one that was populated and not used,
    /// or a free one. Of the latter some are kept: the reserve for the next segment's survivors, and one for the next
    /// write.
    pub(super) fn give_back_surplus(&mut self, kept: usize) {
        if self.has_surplus_ahead() && self.discard_ahead() {
            return;
        }
        if self.has_surplus() && self.core.segments.free() > kept {
            mm_base::mark!("memory above the limit given back");
            self.core.segments.discard_free(|surplus| self.core.arena.discard(surplus));
        }
    }
}
