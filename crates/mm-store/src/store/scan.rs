//! Walking over all items in bounded steps.

use super::{Found, Item, Store, is_expired};
use crate::memory::{Location, Record, RecordKind, SegmentId, flag};
use crate::sharing::Sharing;

/// Where a walk stands. A new one begins at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(super) segment: u32,
    sequence: u64,
    pub(super) at: usize,
}

impl Cursor {
    pub(super) const fn segment(&self) -> SegmentId {
        SegmentId(self.segment)
    }
}

impl<S: Sharing> Store<S> {
    /// Looks at up to `records` records and calls `visit` with each live item among them. Returns false when the
    /// walk is over.
    ///
    /// Items stored, moved or removed while the walk is under way may be met, twice even, or not.
    pub fn scan(
        &mut self,
        cursor: &mut Cursor,
        records: usize,
        now_s: u32,
        mut visit: impl FnMut(&Item<'_, S>),
    ) -> bool {
        self.begin(now_s);
        for _ in 0..records {
            let Some((location, record)) = self.record_at_cursor(cursor) else {
                if !self.leave_segment(cursor) {
                    return false;
                }
                continue;
            };
            cursor.at += self.core.arena.rounded(record.bytes());
            if let Some(item) = self.item_of_record(location, record, now_s) {
                visit(&item);
            }
        }
        true
    }

    /// Goes on to the next segment. False, and nothing is changed, where there is none.
    pub fn leave_segment(&self, cursor: &mut Cursor) -> bool {
        if cursor.segment >= self.core.sizes.segments {
            return false;
        }
        cursor.segment += 1;
        cursor.at = 0;
        cursor.sequence = self.core.segments.get(cursor.segment()).sequence();
        true
    }

    /// Whether the segment where the walk stands is still the one that it was, with records in it.
    pub(super) fn is_walking(&self, cursor: &Cursor) -> bool {
        cursor.segment != 0 && self.core.segments.get(cursor.segment()).has_records_of(cursor.sequence)
    }

    pub(super) fn record_at_cursor(&self, cursor: &Cursor) -> Option<(Location, Record<'_>)> {
        if self.is_walking(cursor) { self.core.arena.record_at(cursor.segment(), cursor.at) } else { None }
    }

    /// The live item whose own record this is.
    pub(super) fn item_of_record<'a>(
        &'a self,
        location: Location,
        record: Record<'a>,
        now_s: u32,
    ) -> Option<Item<'a, S>> {
        let is_item = record.kind() == RecordKind::Item && record.flags() & flag::DEAD == 0;
        if !is_item || is_expired(record, now_s) || self.is_flushed(location) {
            return None;
        }
        let hash = self.core.hasher.hash(record.key());
        let slot = self.core.index.find(hash, |at| at == location)?;
        Some(self.item(Found { slot, location }, record))
    }
}
