//! Giving the memory of expired items back without waiting for an access.

use super::{Found, Store, is_expired};
use crate::limits::{EVICTION_STEP_RECORDS, RECORDS_PER_RESIZE_STEP, RESERVE_SEGMENTS};
use crate::memory::{RecordKind, SegmentId, flag};
use crate::segment::{NEVER, State};
use crate::sharing::Sharing;

/// Where the search for expired items stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// The segment being searched, and its sequence when the search of it began.
    segment: SegmentId,
    sequence: u64,
    /// Bytes of it that are done; `None` before it is begun.
    at: Option<usize>,
    /// The earliest expiry met in it that is still to come.
    earliest: u32,
    /// The second in which the last round through all segments began.
    round_s: u32,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { segment: SegmentId(0), sequence: 0, at: None, earliest: NEVER, round_s: 0 }
    }
}

impl Sweep {
    /// Whether the search of `segment` is half done, so that its earliest expiry is not known.
    pub(super) fn is_within(&self, segment: SegmentId) -> bool {
        self.at.is_some() && self.segment == segment
    }
}

impl<S: Sharing> Store<S> {
    /// Background work: looks at up to `records` records for expired items, empties segments from before a flush,
    /// and goes on with the index's growth or shrink. Returns false when there is nothing to do for now.
    ///
    /// A round through the segments begins at most once a second and passes by those in which nothing can have expired.
    pub fn maintain(&mut self, records: usize, now_s: u32) -> bool {
        self.now_s = now_s;
        for _ in 0..records.div_ceil(RECORDS_PER_RESIZE_STEP) {
            self.resize_step();
        }
        if self.has_surplus() {
            self.give_back_surplus(RESERVE_SEGMENTS);
        }
        let is_emptying = self.maintain_leaving(records);
        let mut left = records;
        while left != 0 && (self.sweep.at.is_some() || self.begin_sweep()) {
            left = self.sweep_segment(left);
        }
        let is_shrinking = self.index.wanted_len().is_some_and(|len| len < self.index.buckets());
        left == 0 || is_emptying || is_shrinking || self.index.is_moving()
    }

    /// Empties segments from before a flush, and those too many. False where there is none that can be emptied.
    fn maintain_leaving(&mut self, records: usize) -> bool {
        let is_leaving = self.leaving.segment.is_some()
            || self.flushed_before != 0 && self.begin_leaving_flushed()
            || self.has_surplus() && self.begin_leaving();
        if !is_leaving {
            return false;
        }
        for _ in 0..records.div_ceil(EVICTION_STEP_RECORDS) {
            self.empty_some(0);
        }
        true
    }

    /// Goes on to the next segment in which something may have expired; false where there is none in this second.
    fn begin_sweep(&mut self) -> bool {
        let due = |store: &Self, after: SegmentId| {
            let mut later = store.segments.ids().skip(after.index());
            later.find(|&id| store.segments.get(id).is_due(store.now_s))
        };
        let mut next = due(self, self.sweep.segment);
        if next.is_none() && self.sweep.round_s != self.now_s {
            self.sweep.round_s = self.now_s;
            next = due(self, SegmentId(0));
        }
        let Some(id) = next else {
            self.sweep.segment = SegmentId(self.sizes.segments);
            return false;
        };
        let segment = self.segments.get_mut(id);
        segment.earliest_expiry = NEVER;
        let round_s = self.sweep.round_s;
        self.sweep = Sweep { segment: id, sequence: segment.sequence, at: Some(0), earliest: NEVER, round_s };
        true
    }

    /// Looks at up to `left` records of the segment being searched; returns how many are left to look at.
    fn sweep_segment(&mut self, mut left: usize) -> usize {
        let id = self.sweep.segment;
        let is_same = self.segments.get(id).sequence == self.sweep.sequence
            && matches!(self.segments.get(id).state, State::Open(_) | State::Sealed(_));
        let mut at = self.sweep.at.unwrap_or(0);
        while left != 0 && is_same {
            let Some((location, record)) = self.arena.record_at(id, at) else { break };
            at += self.arena.rounded(record.bytes());
            left -= 1;
            let flags = record.flags();
            if record.kind() == RecordKind::Extent || flags & (flag::DEAD | flag::EXPIRES) != flag::EXPIRES {
                continue;
            }
            if is_expired(record, self.now_s) {
                let hash = self.hasher.hash(record.key());
                if let Some(slot) = self.index.find(hash, |at| at == location) {
                    self.reclaim(Found { slot, location });
                }
            } else {
                self.sweep.earliest = self.sweep.earliest.min(record.expiry());
            }
        }
        if !is_same {
            // It is being emptied, or may come back from that: what the search has found out so far does not count.
            self.sweep.earliest = 0;
        }
        self.sweep.at = Some(at);
        if left != 0 {
            self.sweep.at = None;
            self.segments.get_mut(id).note_expiry(self.sweep.earliest);
        }
        left
    }
}
