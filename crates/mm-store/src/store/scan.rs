//! Walking over all items in bounded steps.

use super::{Found, Item, Store, is_expired};
use crate::memory::{RecordKind, SegmentId, flag};
use crate::segment::State;
use crate::sharing::Sharing;

/// Where a walk stands. A new one begins at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    segment: u32,
    sequence: u64,
    at: usize,
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
        self.now_s = now_s;
        for _ in 0..records {
            let id = SegmentId(cursor.segment);
            let is_same = cursor.segment != 0
                && self.segments.get(id).sequence == cursor.sequence
                && matches!(
                    self.segments.get(id).state,
                    State::Open(_) | State::Sealed(_) | State::Leaving(_)
                );
            let record = if is_same { self.arena.record_at(id, cursor.at) } else { None };
            let Some((location, record)) = record else {
                if cursor.segment == self.sizes.segments {
                    return false;
                }
                cursor.segment += 1;
                cursor.at = 0;
                cursor.sequence = self.segments.get(SegmentId(cursor.segment)).sequence;
                continue;
            };
            cursor.at += self.arena.rounded(record.bytes());
            let is_item = record.kind() == RecordKind::Item && record.flags() & flag::DEAD == 0;
            if !is_item || is_expired(record, now_s) || self.is_flushed(location) {
                continue;
            }
            let hash = self.hasher.hash(record.key());
            if let Some(slot) = self.index.find(hash, |at| at == location) {
                let mark = self.index.mark(slot);
                visit(&self.item(Found { slot, location }, mark, false));
            }
        }
        true
    }
}
