//! Emptying segments: which one, and what becomes of its items.
//!
//! The order is: a segment from before a flush, one that is garbage to a good part (its live items move to the end
//! of their queue), then by policy (S3-FIFO over segments, docs/decisions/0002): the small queue's oldest while
//! that queue has its share, else the main queue's.

use super::fate::Fate;
use super::share::Share;
use super::{Found, Store};
use crate::hash::KeyHash;
use crate::index::mark;
use crate::limits::{
    COMPACT_CREDIT_LIVE_PERCENT, COMPACT_LIVE_PERCENT, COMPACT_WEIGHT, EVICTION_BATCH, EVICTION_STEP_BYTES,
    EVICTION_STEP_RECORDS, EXPIRED_SHARE, GAIN_UNIT, LATE_LIVE_PERCENT, SMALL_QUEUE_PERCENT,
    TOLERATED_GARBAGE_SHARE, TURN_NEAR_LIVE_PERCENT, TURN_NEAR_SHARE, VICTIM_CANDIDATES, VICTIM_TRIES,
    VICTIM_WINDOW, WORK_PER_LOOK_BYTES, WORK_PER_RECORD_BYTES, WORK_PER_SEGMENT_BYTES,
};
use crate::memory::{Location, RecordKind, SegmentId, flag};
use crate::narrow::to_u32;
use crate::segment::{Queue, Segment, State};
use crate::sharing::Sharing;

/// The segment that is being emptied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leaving {
    pub(super) segment: Option<SegmentId>,
    /// Bytes of it that are done.
    at: usize,
    /// Whether its live items stay in the store because it is only compacted.
    pub(super) compact: bool,
    /// The last one stayed, because there was no room for what lives in it.
    lacks_room: bool,
    /// [`Store::mean_bytes`] when it was begun.
    pub(super) mean_bytes: u64,
    /// Live records that are decided upon next: what that needs is on its way into the caches.
    next: [Option<Candidate>; EVICTION_BATCH],
    /// How many bytes and records were looked at for these.
    looked: (usize, usize),
}

/// A live record of the segment that is being emptied.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    location: Location,
    /// Hash of the key, for an item.
    hash: Option<KeyHash>,
}

impl<S: Sharing> Store<S> {
    /// Empties segments until one more than before is free. False where nothing can be emptied.
    pub(super) fn empty_one(&mut self) -> bool {
        let before = self.counters().segments_reused.get();
        while self.counters().segments_reused.get() == before {
            if self.take_back_held() {
                continue;
            }
            self.set_bar();
            if self.leaving.segment.is_none() && !self.begin_leaving() {
                return false;
            }
            let (segment, had) = (self.leaving.segment, self.core.segments.resident());
            while self.leaving.segment == segment {
                self.empty_some(Share::ALL);
            }
            if self.waiting != 0 {
                // It is free as soon as nobody can be reading it.
                return true;
            }
            if self.counters().segments_reused.get() == before && self.core.segments.resident() == had {
                // A pin holds it, or not all that is dead in it is counted yet: another one has to go.
                return !self.leaving.lacks_room && self.begin_leaving();
            }
        }
        true
    }

    /// Chooses the next segment to empty.
    pub(super) fn begin_leaving(&mut self) -> bool {
        // Another shard may take the same one at the same time.
        for _ in 0..VICTIM_TRIES {
            let Some((segment, compact)) = self.choose_victim() else { return false };
            self.victim_turn = self.victim_turn.wrapping_add(1);
            if self.leave(segment, compact) {
                return true;
            }
        }
        false
    }

    /// The same for segments from before a flush only.
    pub(super) fn begin_leaving_flushed(&mut self) -> bool {
        self.flushed().is_some_and(|segment| self.leave(segment, true))
    }

    /// Another shard's flush leaves open what this one has open, which it may not write to again.
    pub(super) fn close_flushed_heads(&mut self) {
        let before = self.core.flushed_before();
        for head in self.heads.into_iter().flatten() {
            if self.core.segments.get(head).sequence() < before {
                self.seal_own(head);
            }
        }
    }

    /// A segment from before the flush that is being worked off.
    fn flushed(&self) -> Option<SegmentId> {
        let before = self.core.flushed_before();
        // What lives in it is of uploads that ended after the flush, and may find no room elsewhere.
        self.least_alive(self.core.segments.before(before, self.look_from.get()))
    }

    /// The same for the segment with most bytes of expired items among a part of them, if it has many.
    pub(super) fn begin_leaving_expired(&mut self) -> bool {
        self.count_window();
        let sealed = self.core.segments.sealed_among(self.victim_turn, VICTIM_WINDOW).map(|(id, _)| id);
        let all = sealed.chain(self.heads.into_iter().flatten()).filter(|&id| self.can_leave(id));
        let expired_bytes = |id: SegmentId| self.core.segments.get(id).expired_bytes() as usize;
        let most = all.max_by_key(|&id| expired_bytes(id));
        self.victim_turn = self.victim_turn.wrapping_add(1);
        let least = self.core.sizes.segment_bytes / EXPIRED_SHARE;
        let Some(segment) = most.filter(|&id| expired_bytes(id) >= least) else { return false };
        self.seal_own(segment);
        self.leave(segment, true)
    }

    fn count_window(&self) {
        let looked_at = self.core.segments.resident().min(VICTIM_WINDOW);
        self.counters().segments_examined.add(looked_at as u64);
        self.count_work(looked_at * WORK_PER_SEGMENT_BYTES);
    }

    /// Emptying has cost as much as to copy so many bytes.
    pub(super) fn count_work(&self, bytes: usize) {
        self.work.set(self.work.get() + bytes);
    }

    /// Of a few sealed segments that can leave the one in which least lives. The next call looks at others, if there
    /// are more.
    pub(super) fn least_alive<'a>(
        &'a self,
        segments: impl Iterator<Item = SegmentId> + 'a,
    ) -> Option<SegmentId> {
        let mut last = None;
        let can_leave = |&id: &SegmentId| {
            self.counters().segments_examined.add(1);
            self.count_work(WORK_PER_SEGMENT_BYTES);
            last = Some(id);
            matches!(self.core.segments.get(id).state(), State::Sealed(_)) && self.can_leave(id)
        };
        let some = segments.take(VICTIM_WINDOW).filter(can_leave).take(VICTIM_CANDIDATES);
        let least = some.min_by_key(|&id| self.live_bytes(id));
        self.look_from.set(last.map_or(0, |id| id.index() + 1));
        least
    }

    /// Frees a segment in which nothing lives, if there is one: its memory is used again before fresh memory is.
    pub(super) fn free_empty(&mut self) {
        let empty = self.least_alive(self.core.segments.light(0, self.look_from.get()));
        if let Some(segment) = empty {
            self.leave_empty(segment);
        }
    }

    /// Frees a segment in which nothing lives.
    pub(super) fn leave_empty(&mut self, segment: SegmentId) {
        if self.leaving.segment.is_none() && self.can_leave(segment) {
            self.seal_own(segment);
            if self.leave(segment, true) {
                self.empty_some(Share::LEAST);
            }
        }
    }

    /// Seals a segment if it is one of those that this shard appends to.
    fn seal_own(&mut self, segment: SegmentId) {
        if let Some(head) = self.heads.iter_mut().find(|head| **head == Some(segment)) {
            *head = None;
            self.close_head(segment);
        }
    }

    /// Begins to empty a sealed segment; false where another shard does.
    pub(super) fn leave(&mut self, segment: SegmentId, compact: bool) -> bool {
        // Others may have stored all that there is since this handle has counted it.
        self.writes_to_count.set(0);
        self.count_items(0);
        if !compact && !self.has_surplus() {
            // There is room for them: the target counts what they want.
            self.core.ghosts.fit(self.items());
        }
        let is_ours = self.core.segments.leave(segment);
        if is_ours {
            let segments = &self.core.segments;
            let oldest = segments.oldest(Queue::Main, |_| true);
            // Each shard sees its part of them leave.
            let items = to_u32(self.items() / self.core.counters.len());
            self.admission.begin(oldest.map(|id| segments.stay_of(id)), items);
            let mean_bytes = self.mean_bytes();
            self.leaving = Leaving { segment: Some(segment), compact, mean_bytes, ..Leaving::default() };
        }
        is_ours
    }

    /// The segment to empty next, and whether its live items stay.
    fn choose_victim(&self) -> Option<(SegmentId, bool)> {
        if self.core.flushed_before() != 0
            && let Some(flushed) = self.flushed()
        {
            return Some((flushed, true));
        }
        let has_credit = self.core.evicts && self.copy_credit > 0;
        let live_percent = match has_credit {
            _ if self.core.evicts && self.has_bar() => LATE_LIVE_PERCENT,
            true => COMPACT_CREDIT_LIVE_PERCENT,
            false => COMPACT_LIVE_PERCENT,
        };
        if let Some(id) = self.worth_most(live_percent) {
            return Some((id, true));
        }
        if !self.core.evicts {
            // There may be one that this turn has not come to.
            let light = self.core.segments.light(COMPACT_WEIGHT, self.look_from.get());
            return self.least_alive(light).map(|id| (id, true));
        }
        let oldest = |queue| self.core.segments.oldest(queue, |id| self.can_leave(id));
        let small_has_its_share =
            self.core.segments.len(Queue::Small) * 100 >= self.core.segments.resident() * SMALL_QUEUE_PERCENT;
        let (first, second) = if small_has_its_share || self.has_bar() {
            (Queue::Small, Queue::Main)
        } else {
            (Queue::Main, Queue::Small)
        };
        oldest(first).or_else(|| oldest(second)).map(|id| (id, false))
    }

    /// One in which nothing lives, if the lightest is such; else of a part of the sealed segments, and of all the
    /// lightest, the one that is worth most to be compacted, if one is. Those whose turn is near are left out while
    /// little is garbage.
    fn worth_most(&self, live_percent: usize) -> Option<SegmentId> {
        let lightest = self.core.segments.lightest().filter(|&id| self.can_leave(id));
        if let Some(empty) = lightest.filter(|&id| self.live_bytes(id) == 0) {
            return Some(empty);
        }
        self.count_window();
        let part = self.core.segments.sealed_among(self.victim_turn, VICTIM_WINDOW);
        let lightest = lightest.map(|id| (id, self.core.segments.get(id)));
        let near = [Queue::Small, Queue::Main].map(|queue| self.turn_is_near_before(queue));
        let (mut best, mut best_late) = ((0, None), (0, None));
        let (mut used, mut live) = (0, 0);
        for (id, segment) in part.chain(lightest) {
            if !self.can_leave(id) {
                continue;
            }
            let (its_used, its_live) = (self.core.arena.used(id), self.live_bytes(id));
            (used, live) = (used + its_used, live + its_live);
            let is_late = segment.sequence() < near[segment.queue().index()]
                && its_live * 100 >= its_used * TURN_NEAR_LIVE_PERCENT;
            let gain = self.gain_of_compacting(id, segment, live_percent);
            let best = if is_late { &mut best_late } else { &mut best };
            if gain > best.0 {
                *best = (gain, Some(id));
            }
        }
        let is_wasteful = used.saturating_sub(live) > used / TOLERATED_GARBAGE_SHARE;
        if is_wasteful && best_late.0 > best.0 { best_late.1 } else { best.1 }
    }

    /// Segments of `queue` that were opened before this sequence are to be decided upon soon.
    fn turn_is_near_before(&self, queue: Queue) -> u64 {
        let segments = &self.core.segments;
        let Some(oldest) = segments.oldest(queue, |_| true).filter(|_| self.core.evicts) else { return 0 };
        let oldest = segments.get(oldest).sequence();
        oldest + segments.next_sequence().saturating_sub(oldest) / TURN_NEAR_SHARE
    }

    /// How much is gained by copying what lives in a sealed segment elsewhere; 0 where that is more than `live_percent`
    /// of its records. It is the bytes freed for those read and written, and more for an older segment: a young one may
    /// soon have more holes by itself.
    fn gain_of_compacting(&self, id: SegmentId, segment: &Segment, live_percent: usize) -> u64 {
        let (live, size) = (self.live_bytes(id), self.core.sizes.segment_bytes);
        // What the last record left empty at a segment's end is no hole.
        if live * 100 >= self.core.arena.used(id).min(size) * live_percent {
            return 0;
        }
        let age = self.core.segments.next_sequence() - segment.sequence();
        let freed_per_cost = (size.saturating_sub(live) * GAIN_UNIT / (size + live)) as u64;
        1 + freed_per_cost * age.isqrt()
    }

    pub(super) fn can_leave(&self, id: SegmentId) -> bool {
        let segment = self.core.segments.get(id);
        segment.uploads() == 0 && !segment.is_waiting_for_dead() && !self.core.arena.is_held(id)
    }

    /// Does a share of emptying the leaving segment. Returns how many bytes were looked at.
    pub(super) fn empty_some(&mut self, share: Share) -> usize {
        let (mut examined, mut records, before) = (0, 0, self.work.get());
        while let Some(segment) = self.leaving.segment
            && (share.goes_on(examined, self.work.get())
                || records < EVICTION_STEP_RECORDS && self.work.get() - before < EVICTION_STEP_BYTES)
        {
            if self.extent.is_some() {
                examined += self.go_on_with_extent();
            } else {
                let (bytes, count) = self.decide_some(segment);
                examined += bytes;
                records += count;
            }
            if self.leaving.segment != Some(segment) {
                break;
            }
            let is_at_end =
                self.leaving.at >= self.core.arena.used(segment) && self.leaving.next[0].is_none();
            if is_at_end && self.extent.is_none() || self.live_bytes(segment) == 0 {
                self.finish_leaving(segment);
            }
        }
        examined
    }

    /// Decides on the records that were looked at last, and looks at the next ones. Returns how many bytes and records
    /// were decided on, without what is left of an extent.
    fn decide_some(&mut self, segment: SegmentId) -> (usize, usize) {
        let at = self.leaving.at;
        let (next, count) = self.next_candidates(segment);
        let now = std::mem::replace(&mut self.leaving.next, next);
        let (bytes, records) = std::mem::replace(&mut self.leaving.looked, (self.leaving.at - at, count));
        self.count_work(count * WORK_PER_LOOK_BYTES);
        self.counters().examined.add(count as u64);
        for candidate in now.into_iter().flatten() {
            self.count_work(WORK_PER_RECORD_BYTES);
            self.decide(candidate);
        }
        (bytes.saturating_sub(self.left_of_extent()), records)
    }

    /// The next few live records, with what is to be known of them on the way, and how many records were looked at.
    fn next_candidates(&mut self, segment: SegmentId) -> ([Option<Candidate>; EVICTION_BATCH], usize) {
        let mut candidates = [None; EVICTION_BATCH];
        let (mut found, mut records) = (0, 0);
        let end = self.leaving.at + EVICTION_STEP_BYTES;
        let is_small = self.core.segments.get(segment).queue() == Queue::Small;
        while found < EVICTION_BATCH {
            let left = 4 * EVICTION_BATCH - records;
            let (at, passed) = self.core.arena.pass_dead(segment, self.leaving.at, end, left);
            self.leaving.at = at;
            records += passed;
            if passed == left || at >= end {
                break;
            }
            let Some((location, record)) = self.core.arena.record_at(segment, at) else { break };
            self.leaving.at += self.core.arena.rounded(record.bytes());
            records += 1;
            let hash = (record.kind() == RecordKind::Item).then(|| self.core.hasher.hash(record.key()));
            if let Some(hash) = hash {
                self.core.index.prefetch(hash);
                if is_small && !self.leaving.compact {
                    self.core.ghosts.prefetch(hash);
                }
            }
            candidates[found] = Some(Candidate { location, hash });
            found += 1;
        }
        (candidates, records)
    }

    /// Moves a record of the leaving segment, or removes its item.
    fn decide(&mut self, candidate: Candidate) {
        let record = self.core.arena.record(candidate.location);
        if record.flags() & flag::DEAD != 0 || self.leaving.segment.is_none() {
            return;
        }
        let Some(hash) = candidate.hash else { return self.decide_extent(candidate.location) };
        let locked = self.core.index.lock(hash);
        if let Some(slot) = self.core.index.find(hash, |location| location == candidate.location) {
            self.decide_item(Found { slot, location: candidate.location }, hash);
        }
        self.core.index.unlock(locked);
    }

    fn decide_item(&mut self, found: Found, hash: KeyHash) {
        match self.fate(found) {
            Fate::Reclaim => self.reclaim(found),
            Fate::Evict => self.evict_to_ghosts(found, hash),
            Fate::Move(queue, mark) => match self.move_item(found, queue) {
                Some(now) if self.is_flushed_meanwhile(found, now) => {}
                Some(now) => self.core.index.set_mark(now.slot, mark),
                None => self.evict_or_stay(found),
            },
        }
    }

    pub(super) fn evict_to_ghosts(&mut self, found: Found, hash: KeyHash) {
        if self.core.segments.get(self.core.arena.segment_of(found.location)).queue() == Queue::Small {
            self.core.ghosts.add(hash);
            self.admission.dropped();
        }
        self.evict(found);
    }

    /// There is no room for the copy of an item: it goes, or where nothing may be evicted its segment stays.
    pub(super) fn evict_or_stay(&mut self, found: Found) {
        if self.core.evicts {
            self.evict(found);
        } else if let Some(segment) = self.end_leaving() {
            self.leaving.lacks_room = true;
            self.core.segments.stay(segment);
        }
    }

    /// Removes an item to make room.
    pub(super) fn evict(&mut self, found: Found) {
        if !mm_base::canary!("eviction not counted", 8) {
            self.count_evicted(found.location, self.core.index.mark(found.slot));
        }
        self.remove(found);
    }

    /// Counts an eviction by what the item is like.
    pub(super) fn count_evicted(&mut self, location: Location, mark: u8) {
        if self.observed.is_on {
            self.observe_evicted(location, mark);
        }
        mm_base::mark!("item evicted");
        self.counters().evicted.add(1);
        let age_s = self.now_s.saturating_sub(self.last_access_s(location));
        self.counters().last_eviction.set(u64::from(self.now_s) << 32 | u64::from(age_s));
        if mark & mark::FETCHED == 0 {
            self.counters().evicted_unfetched.add(1);
        } else {
            self.counters().evicted_fetched.add(1);
            self.counters().evicted_active.add(u64::from(mark & mark::FREQUENCY > 1));
        }
        if self.core.arena.record(location).flags() & flag::EXPIRES != 0 {
            self.counters().evicted_with_expiry.add(1);
        }
    }

    /// All records of the leaving segment are garbage.
    fn finish_leaving(&mut self, segment: SegmentId) {
        self.end_leaving();
        self.core.segments.count_drops(self.admission.take_drops());
        let book = self.core.segments.get(segment);
        let dead_bytes = book.dead_bytes();
        if self.live_bytes(segment) != 0 {
            // What counts as alive is in no index: another shard is about to remove it, or to tell that it did.
            book.wait_for_dead(dead_bytes);
            return self.core.segments.stay(segment);
        }
        // In this order: a walk that is not waited for, because its shard has come after this, sees that no records are
        // left.
        self.core.segments.hold(segment);
        self.core.arena.retire::<S>(segment);
        self.refresh();
        self.take_back_held();
        self.finish_flush();
    }

    /// A flush is worked off when no segment from before it is left.
    pub(super) fn finish_flush(&mut self) {
        let before = self.core.flushed_before();
        if before != 0 && !self.core.segments.has_before(before) {
            self.core.end_flush(before);
        }
    }
}

#[cfg(all(test, feature = "smp", not(loom)))]
mod tests {
    use super::*;
    use crate::{Config, Put, StoreHandles};

    #[test]
    fn a_shard_that_has_not_counted_the_items_yet_forgets_no_ghosts() {
        let handles = StoreHandles::open(&Config::new(8 << 20, 1), 2).unwrap();
        let (mut filling, mut idle) = (handles.clone().take().unwrap(), handles.take().unwrap());
        for number in 0..400_000_u32 {
            let bytes = number.to_le_bytes();
            let key = filling.key(&bytes).unwrap();
            assert!(filling.put(key, &Put::default(), b"value", 1).is_ok());
        }
        assert_ne!(filling.core.ghosts.bytes(), 0);
        let oldest = filling.core.segments.oldest(Queue::Small, |_| true).unwrap();
        assert!(idle.leave(oldest, false));
        assert_ne!(filling.core.ghosts.bytes(), 0);
    }
}
