//! Emptying segments: which one, and what becomes of its items.
//!
//! The order is: a segment from before a flush, one that is garbage to a good part (its live items move to the end
//! of their queue), then by policy (S3-FIFO over segments, docs/decisions/0002): the small queue's oldest while
//! that queue has its share, else the main queue's.

use super::{Found, Store, is_expired};
use crate::hash::KeyHash;
use crate::index::mark;
use crate::limits::{
    COMPACT_CREDIT_LIVE_PERCENT, COMPACT_LIVE_PERCENT, EVICTION_BATCH, EVICTION_STEP_RECORDS, EXPIRED_SHARE,
    SMALL_QUEUE_PERCENT, STAY_AFTER_SMALL, STAY_IN_MAIN,
};
use crate::memory::{Location, RecordKind, SegmentId, flag};
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
}

/// What becomes of a record whose segment is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its time is over.
    Reclaim,
    /// It makes room for others.
    Evict,
    /// It moves to the end of this queue, with this mark.
    Move(Queue, u8),
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
        let before = self.stats.segments_reused;
        while self.stats.segments_reused == before {
            if self.take_back_held() {
                continue;
            }
            if self.leaving.segment.is_none() && !self.begin_leaving() {
                return false;
            }
            let (segment, had) = (self.leaving.segment, self.segments.resident());
            while self.leaving.segment == segment {
                self.empty_some(self.sizes.segment_bytes);
            }
            let stayed = segment.is_some_and(|id| matches!(self.segments.get(id).state, State::Sealed(_)));
            if self.stats.segments_reused == before && self.segments.resident() == had {
                // A pin holds it: another one has to go. One that stayed found no room for what lives in it.
                return !stayed && self.begin_leaving();
            }
        }
        true
    }

    /// Chooses the next segment to empty.
    pub(super) fn begin_leaving(&mut self) -> bool {
        let Some((segment, compact)) = self.choose_victim() else { return false };
        self.leave(segment, compact);
        true
    }

    /// The same for segments from before a flush only.
    pub(super) fn begin_leaving_flushed(&mut self) -> bool {
        let is_flushed = |(id, segment): (_, &Segment)| {
            (segment.sequence < self.flushed_before && self.can_leave(id)).then_some(id)
        };
        let Some(segment) = self.segments.sealed().find_map(is_flushed) else { return false };
        self.leave(segment, true);
        true
    }

    /// The same for the segment with most bytes of expired items, if it has many.
    pub(super) fn begin_leaving_expired(&mut self) -> bool {
        let sealed = self.segments.sealed().filter(|&(id, _)| self.can_leave(id)).map(|(id, _)| id);
        let most = sealed.chain(self.heads.into_iter().flatten().filter(|&id| self.can_leave(id)));
        let expired_bytes = |id: SegmentId| self.segments.get(id).expired_bytes as usize;
        let Some(segment) = most.max_by_key(|&id| expired_bytes(id)) else { return false };
        if expired_bytes(segment) < self.sizes.segment_bytes / EXPIRED_SHARE {
            return false;
        }
        for head in &mut self.heads {
            if *head == Some(segment) {
                *head = None;
                self.segments.seal(segment);
            }
        }
        self.leave(segment, true);
        true
    }

    fn leave(&mut self, segment: SegmentId, compact: bool) {
        if !compact && !self.has_surplus() {
            // There is room for them: the target counts what they want.
            self.ghosts.fit(self.index.items());
        }
        self.segments.leave(segment);
        self.leaving = Leaving { segment: Some(segment), at: 0, compact };
    }

    /// The segment to empty next, and whether its live items stay.
    fn choose_victim(&self) -> Option<(SegmentId, bool)> {
        let mut deadest: Option<(u32, SegmentId)> = None;
        for (id, segment) in self.segments.sealed() {
            if segment.uploads != 0 || self.arena.is_held(id) {
                continue;
            }
            if segment.sequence < self.flushed_before {
                return Some((id, true));
            }
            if deadest.is_none_or(|(live_bytes, _)| segment.live_bytes < live_bytes) {
                deadest = Some((segment.live_bytes, id));
            }
        }
        let (live_bytes, deadest) = deadest?;
        let has_credit = self.evict && self.copy_credit > 0;
        let percent = if has_credit { COMPACT_CREDIT_LIVE_PERCENT } else { COMPACT_LIVE_PERCENT };
        // What the last record left empty at a segment's end is no hole.
        if live_bytes as usize * 100 < self.arena.used(deadest).min(self.sizes.segment_bytes) * percent {
            return Some((deadest, true));
        }
        if !self.evict {
            return None;
        }
        let oldest = |queue| self.segments.oldest_first(queue).find(|&id| self.can_leave(id));
        let small_has_its_share =
            self.segments.len(Queue::Small) * 100 >= self.segments.resident() * SMALL_QUEUE_PERCENT;
        let (first, second) =
            if small_has_its_share { (Queue::Small, Queue::Main) } else { (Queue::Main, Queue::Small) };
        oldest(first).or_else(|| oldest(second)).map(|id| (id, false))
    }

    fn can_leave(&self, id: SegmentId) -> bool {
        self.segments.get(id).uploads == 0 && !self.arena.is_held(id)
    }

    /// Looks at records of the leaving segment: at least [`EVICTION_STEP_RECORDS`], and `bytes` of it.
    pub(super) fn empty_some(&mut self, bytes: usize) {
        let (mut examined, mut records) = (0, 0);
        while let Some(segment) = self.leaving.segment
            && (examined < bytes || records < EVICTION_STEP_RECORDS)
        {
            let before = self.leaving.at;
            let (candidates, count) = self.next_candidates(segment);
            for &candidate in candidates.iter().flatten() {
                self.decide(candidate);
            }
            if self.leaving.segment != Some(segment) {
                return;
            }
            examined += self.leaving.at - before;
            records += count;
            if self.leaving.at >= self.arena.used(segment) || self.segments.get(segment).live_bytes == 0 {
                self.finish_leaving(segment);
            }
        }
    }

    /// The next few live records, with their index buckets on the way, and how many records were looked at.
    fn next_candidates(&mut self, segment: SegmentId) -> ([Option<Candidate>; EVICTION_BATCH], usize) {
        let mut candidates = [None; EVICTION_BATCH];
        let (mut found, mut records) = (0, 0);
        while found < EVICTION_BATCH && records < 4 * EVICTION_BATCH {
            let Some((location, record)) = self.arena.record_at(segment, self.leaving.at) else { break };
            self.leaving.at += self.arena.rounded(record.bytes());
            records += 1;
            if record.flags() & flag::DEAD != 0 {
                continue;
            }
            let hash = (record.kind() == RecordKind::Item).then(|| self.hasher.hash(record.key()));
            if let Some(hash) = hash {
                self.index.prefetch(hash);
            }
            candidates[found] = Some(Candidate { location, hash });
            found += 1;
        }
        (candidates, records)
    }

    /// Moves a record of the leaving segment, or removes its item.
    fn decide(&mut self, candidate: Candidate) {
        let record = self.arena.record(candidate.location);
        if record.flags() & flag::DEAD != 0 || self.leaving.segment.is_none() {
            return;
        }
        let Some(hash) = candidate.hash else { return self.decide_extent(candidate.location) };
        let Some(slot) = self.index.find(hash, |location| location == candidate.location) else { return };
        let found = Found { slot, location: candidate.location };
        match self.fate(found) {
            Fate::Reclaim => self.reclaim(found),
            Fate::Evict => self.evict_to_ghosts(found, hash),
            Fate::Move(queue, mark) => {
                if self.move_item(found, queue) {
                    self.index.set_mark(found.slot, mark);
                } else {
                    self.evict_or_stay(found);
                }
            }
        }
    }

    /// Moves an extent of the leaving segment behind its item, whose fate was decided when its own record's turn
    /// came. Only where that was passed by, because an upload holds its segment, it is decided here.
    fn decide_extent(&mut self, location: Location) {
        let Some(owner) = self.arena.record(location).owner() else { return };
        let sequence = |at| self.segments.get(self.arena.segment_of(at)).sequence;
        let queue = self.segments.get(self.arena.segment_of(owner)).queue();
        if self.leaving.compact || sequence(owner) >= sequence(location) {
            return self.move_extent(location, owner, queue);
        }
        let hash = self.hasher.hash(self.arena.record(owner).key());
        let Some(slot) = self.index.find(hash, |at| at == owner) else { return };
        let found = Found { slot, location: owner };
        match self.fate(found) {
            Fate::Reclaim => self.reclaim(found),
            Fate::Evict => self.evict_to_ghosts(found, hash),
            Fate::Move(queue, mark) => {
                self.index.set_mark(slot, mark);
                self.move_extent(location, owner, queue);
            }
        }
    }

    fn fate(&self, found: Found) -> Fate {
        if self.is_flushed(found.location) || is_expired(self.arena.record(found.location), self.now_s) {
            return Fate::Reclaim;
        }
        let old_mark = self.index.mark(found.slot);
        let frequency = old_mark & mark::FREQUENCY;
        let others = old_mark & !mark::FREQUENCY;
        let queue = self.segments.get(self.arena.segment_of(found.location)).queue();
        if self.leaving.compact {
            return Fate::Move(queue, old_mark);
        }
        match queue {
            Queue::Small if self.is_worth(found.location, frequency, STAY_AFTER_SMALL) => {
                Fate::Move(Queue::Main, others)
            }
            Queue::Main if self.is_worth(found.location, frequency, STAY_IN_MAIN) => {
                Fate::Move(Queue::Main, others | (frequency - 1))
            }
            Queue::Small | Queue::Main => Fate::Evict,
        }
    }

    /// Whether an item was read often enough for its size: `frequency * sqrt(mean size / size) >= needed`. Small items
    /// stay on fewer reads and large ones on more, which gives more hits for the same memory.
    fn is_worth(&self, location: Location, frequency: u8, needed: u64) -> bool {
        let resident_bytes = self.segments.resident() as u64 * self.sizes.segment_bytes as u64;
        let mean_bytes = resident_bytes / (self.index.items() as u64).max(1);
        let frequency = u64::from(frequency);
        frequency * frequency * mean_bytes >= needed * needed * self.item_bytes(location) && frequency != 0
    }

    fn evict_to_ghosts(&mut self, found: Found, hash: KeyHash) {
        if self.segments.get(self.arena.segment_of(found.location)).queue() == Queue::Small {
            self.ghosts.add(hash);
        }
        self.evict(found);
    }

    /// There is no room for the copy of an item: it goes, or where nothing may be evicted its segment stays.
    pub(super) fn evict_or_stay(&mut self, found: Found) {
        if self.evict {
            self.evict(found);
        } else if let Some(segment) = self.leaving.segment {
            self.leaving = Leaving::default();
            self.segments.stay(segment);
        }
    }

    /// Removes an item to make room.
    pub(super) fn evict(&mut self, found: Found) {
        self.count_evicted(found.location, self.index.mark(found.slot));
        self.remove(found);
    }

    /// Counts an eviction by what the item is like.
    pub(super) fn count_evicted(&mut self, location: Location, mark: u8) {
        if self.observed.is_on {
            self.observe_evicted(location, mark);
        }
        mm_base::mark!("item evicted");
        self.stats.evicted += 1;
        if mark & mark::FETCHED == 0 {
            self.stats.evicted_unfetched += 1;
        } else {
            self.stats.evicted_fetched += 1;
        }
        if self.arena.record(location).flags() & flag::EXPIRES != 0 {
            self.stats.evicted_with_expiry += 1;
        }
    }

    /// All records of the leaving segment are garbage.
    fn finish_leaving(&mut self, segment: SegmentId) {
        self.leaving = Leaving::default();
        debug_assert_eq!(self.segments.get(segment).live_bytes, 0, "every record was looked at");
        if self.arena.reset(segment) {
            self.reuse(segment);
        } else {
            mm_base::mark!("emptied segment held by a pin");
            self.segments.hold(segment);
        }
        self.take_back_held();
        self.finish_flush();
    }

    /// A flush is worked off when no segment from before it is left.
    pub(super) fn finish_flush(&mut self) {
        let before = self.flushed_before;
        let is_left = |id| {
            let segment = self.segments.get(id);
            matches!(segment.state, State::Open(_) | State::Sealed(_) | State::Leaving(_))
                && segment.sequence < before
        };
        if before != 0 && !self.segments.ids().any(is_left) {
            self.flushed_before = 0;
        }
    }
}
