//! Giving the memory of expired items back without waiting for an access.

use super::share::Share;
use super::{Found, Store, is_expired};
use crate::hash::KeyHash;
use crate::limits::{
    EVICTION_BATCH, EVICTION_STEP_RECORDS, EXPIRE_FIRST_RECORDS, EXPIRED_SHARE, RECORDS_PER_RECLAIM,
    RECORDS_PER_RESIZE_STEP, VICTIM_WINDOW, WORK_MAX_BYTES,
};
use crate::memory::{Location, RecordKind, SegmentId, flag};
use crate::narrow::to_u32;
use crate::segment::{NEVER, State, Tolerance};
use crate::sharing::Sharing;
use crate::whole::whole;

/// Where the search for expired items stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// The segment being searched, and its sequence when the search of it began.
    segment: SegmentId,
    sequence: u64,
    /// Bytes of it that are done; `None` before it is begun.
    at: Option<usize>,
    /// What was met in it that is still to expire.
    horizon: Horizon,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { segment: SegmentId(0), sequence: 0, at: None, horizon: Horizon::EMPTY }
    }
}

/// Classes of times still to live: each second below 8, then four to an octave.
const HORIZON_CLASSES: usize = 124;

/// How many bytes expire when.
#[derive(Debug, Clone, Copy)]
struct Horizon {
    bytes: [u32; HORIZON_CLASSES],
    earliest_s: u32,
    /// What classes count from.
    base_s: u32,
}

impl Horizon {
    const EMPTY: Self = Self { bytes: [0; HORIZON_CLASSES], earliest_s: NEVER, base_s: 0 };

    fn note(&mut self, expiry_s: u32, bytes: u32) {
        self.earliest_s = self.earliest_s.min(expiry_s);
        let class = &mut self.bytes[Self::class(expiry_s.saturating_sub(self.base_s))];
        *class = class.saturating_add(bytes);
    }

    const fn class(left_s: u32) -> usize {
        if left_s < 8 {
            return left_s as usize;
        }
        let octave = left_s.ilog2();
        (octave as usize - 1) * 4 + (left_s >> (octave - 2) & 3) as usize
    }

    /// The least time of a class.
    fn starts_s(class: usize) -> u32 {
        if class < 8 { to_u32(class) } else { to_u32((4 + class % 4) << (class / 4 - 1)) }
    }

    /// When more than is tolerated may have expired.
    fn search_again_s(&self, tolerance: Tolerance) -> u32 {
        let mut bytes = 0_u32;
        let too_many = self.bytes.iter().position(|&class| {
            bytes = bytes.saturating_add(class);
            bytes > tolerance.bytes
        });
        let latest_s = self.earliest_s.saturating_add(tolerance.late_s);
        too_many
            .map_or(latest_s, |class| latest_s.min(self.base_s.saturating_add(Self::starts_s(class).max(1))))
    }
}

/// An expired item that was met.
type Expired = Option<(Location, KeyHash)>;

impl<S: Sharing> Store<S> {
    /// Background work: looks at up to `records` records for expired items, empties segments from before a flush,
    /// and goes on with the index's growth or shrink. Returns false when there is nothing to do for now.
    ///
    /// Of the segments those are passed by in which next to nothing can have expired, and each is searched once a
    /// second at most.
    pub fn maintain(&mut self, records: usize, now_s: u32) -> bool {
        self.begin(now_s);
        whole(|| self.do_upkeep(records))
    }

    fn do_upkeep(&mut self, records: usize) -> bool {
        self.tell_dead();
        self.count_items(1);
        self.resizing.look();
        for _ in 0..records.div_ceil(RECORDS_PER_RESIZE_STEP) {
            self.resize_step();
        }
        if S::IS_SHARED && self.core.segments.held() != 0 {
            self.refresh();
            while self.take_back_held() {}
        }
        if self.has_surplus() || self.has_surplus_ahead() {
            self.close_excess(None);
            self.give_back_surplus(self.core.reserve_segments());
        }
        let is_giving_back = self.has_surplus() && self.core.segments.free() > self.core.reserve_segments();
        let is_emptying = self.maintain_leaving(records);
        let left = self.sweep_some(records);
        self.follow_removals_beside(0);
        let is_shrinking =
            self.core.index.wanted_len(self.items()).is_some_and(|len| len < self.core.index.buckets());
        let is_moving = is_shrinking || self.core.index.is_moving();
        left == 0 || is_emptying || is_giving_back || is_moving || self.has_surplus_ahead()
    }

    /// Empties segments from before a flush, those too many, and those of expired items where there are many of them.
    /// False where there is none that can be emptied.
    fn maintain_leaving(&mut self, records: usize) -> bool {
        self.work.set(0);
        self.close_flushed_heads();
        let is_leaving = self.leaving.segment.is_some()
            || self.core.flushed_before() != 0 && self.begin_leaving_flushed()
            || self.must_empty_for_limit() && self.begin_leaving();
        if !is_leaving && self.garbage_of_expired() > self.core.limit_bytes() / EXPIRED_SHARE {
            // Where it is not in this part of the segments, it may be in the next.
            let parts = self.core.segments.turns(VICTIM_WINDOW);
            if !self.begin_leaving_expired() && !self.victim_turn.is_multiple_of(parts) {
                return true;
            }
        }
        let Some(segment) = self.leaving.segment else { return false };
        for _ in 0..records.div_ceil(EVICTION_STEP_RECORDS) {
            if self.work.get() < WORK_MAX_BYTES {
                self.empty_some(Share::LEAST);
            }
        }
        // One that stays, because there is no room for what lives in it, would stay again if it were tried at once.
        !matches!(self.core.segments.get(segment).state(), State::Sealed(_))
    }

    /// Dead bytes that were items which had expired.
    #[expect(clippy::cast_possible_truncation, reason = "bytes of memory")]
    pub(super) fn garbage_of_expired(&self) -> usize {
        let sum =
            self.core.counters.iter().fold(0_u64, |sum, shard| sum.wrapping_add(shard.expired_bytes.get()));
        // While shards count, what is taken off may be seen first.
        if sum > u64::MAX / 2 { 0 } else { sum as usize }
    }

    /// Leaves the segment being searched to another search.
    pub(super) fn give_up_sweep(&mut self) {
        let segment = self.core.segments.get(self.sweep.segment);
        if self.sweep.at.take().is_some() && segment.sequence() == self.sweep.sequence {
            self.core.segments.end_sweep(self.sweep.segment, 0);
        }
    }

    /// Goes on to the next segment in which something may have expired; false where there is none in this second.
    fn begin_sweep(&mut self) -> bool {
        let Some(id) = self.core.segments.begin_sweep(self.now_s) else { return false };
        self.counters().segments_examined.add(1);
        let sequence = self.core.segments.get(id).sequence();
        let horizon = Horizon { base_s: self.now_s, ..Horizon::EMPTY };
        self.sweep = Sweep { segment: id, sequence, at: Some(0), horizon };
        true
    }

    /// Looks for expired items in up to `records` records; returns how many are left to look at.
    fn sweep_some(&mut self, records: usize) -> usize {
        let mut left = records;
        while left != 0 && (self.sweep.at.is_some() || self.begin_sweep()) {
            left = self.sweep_segment(left);
        }
        left
    }

    /// Beside a write, before anything is chosen to be evicted: a part of the search for expired items, if there is one
    /// to be made and the write can wait. False where there is not.
    pub(super) fn expire_first(&mut self) -> bool {
        self.available() > self.core.reserve_segments()
            && self.sweep_some(EXPIRE_FIRST_RECORDS) != EXPIRE_FIRST_RECORDS
    }

    /// Looks at up to `left` records of the segment being searched; returns how many are left to look at.
    fn sweep_segment(&mut self, left: usize) -> usize {
        let id = self.sweep.segment;
        let state = self.core.segments.get(id).state_of(self.sweep.sequence);
        let is_there = matches!(state, Some(State::Open(_) | State::Sealed(_)));
        let (expired, left) =
            if is_there { self.look_for_expired(left) } else { ([None; EVICTION_BATCH], left) };
        for (location, hash) in expired.into_iter().flatten() {
            let locked = self.core.index.lock(hash);
            if let Some(slot) = self.core.index.find(hash, |at| at == location)
                && is_expired(self.core.arena.record(location), self.now_s)
            {
                self.reclaim(Found { slot, location });
                self.counters().reclaimed_by_search.add(1);
            }
            self.core.index.unlock(locked);
        }
        if is_there && self.sweep.at.is_some_and(|at| at < self.core.arena.used(id)) {
            return left;
        }
        self.sweep.at = None;
        if state.is_some() {
            // One that is being emptied may come back from that: what was found out so far does not count.
            let again_s = if is_there { self.sweep.horizon.search_again_s(self.tolerance()) } else { 0 };
            self.core.segments.end_sweep(id, again_s);
        }
        if is_there && self.live_bytes(id) == 0 {
            self.leave_empty(id);
        }
        left
    }

    /// The next few expired items of the segment being searched, with their index buckets on the way, and how many
    /// records are left to look at.
    fn look_for_expired(&mut self, mut left: usize) -> ([Expired; EVICTION_BATCH], usize) {
        let mut expired = [None; EVICTION_BATCH];
        let (mut found, mut at) = (0, self.sweep.at.unwrap_or(0));
        while left != 0 && found < EVICTION_BATCH {
            let Some((location, record)) = self.core.arena.record_at(self.sweep.segment, at) else { break };
            at += self.core.arena.rounded(record.bytes());
            left -= 1;
            self.counters().examined.add(1);
            let flags = record.flags();
            if record.kind() == RecordKind::Extent || flags & (flag::DEAD | flag::EXPIRES) != flag::EXPIRES {
                continue;
            }
            if is_expired(record, self.now_s) {
                let hash = self.core.hasher.hash(record.key());
                self.core.index.prefetch(hash);
                expired[found] = Some((location, hash));
                found += 1;
                left = left.saturating_sub(RECORDS_PER_RECLAIM);
            } else {
                let bytes = to_u32(record.layout().value_at()).saturating_add(to_u32(record.total_len()));
                self.sweep.horizon.note(record.expiry(), bytes);
            }
        }
        self.sweep.at = Some(at);
        (expired, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_time_are_in_order_and_begin_where_they_say() {
        let mut last = 0;
        for left_s in (1..100_000).chain([1 << 30, u32::MAX]) {
            let class = Horizon::class(left_s);
            assert!(class >= last && class < HORIZON_CLASSES, "{left_s}");
            assert!(Horizon::starts_s(class) <= left_s, "{left_s}");
            assert_eq!(Horizon::class(Horizon::starts_s(class)), class, "{left_s}");
            last = class;
        }
    }
}
