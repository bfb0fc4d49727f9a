//! Looking at a part of all items: enough to tell what sizes they have.

use super::{Cursor, Item, Store};
use crate::sharing::Sharing;

/// How far a look at a segment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// Bytes of the segment that were looked at so far; 0 where it holds nothing.
    pub bytes: usize,
    /// Bytes of it that hold records.
    pub of_bytes: usize,
    /// Whether it was the last segment.
    pub is_last: bool,
}

impl<S: Sharing> Store<S> {
    /// Looks at the next `records` records of the segment where the walk stands, without going on to the next one,
    /// and calls `visit` with each live item among them. [`Store::leave_segment`] goes on.
    pub fn sample(
        &mut self,
        cursor: &mut Cursor,
        records: usize,
        now_s: u32,
        mut visit: impl FnMut(&Item<'_, S>),
    ) -> Looked {
        self.begin(now_s);
        for _ in 0..records {
            let Some((location, record)) = self.record_at_cursor(cursor) else { break };
            cursor.at += self.core.arena.rounded(record.bytes());
            if let Some(item) = self.item_of_record(location, record, now_s) {
                visit(&item);
            }
        }
        let used = if self.is_walking(cursor) { self.core.arena.used(cursor.segment()) } else { 0 };
        let is_last = cursor.segment >= self.core.sizes.segments;
        Looked { bytes: cursor.at.min(used), of_bytes: used, is_last }
    }
}
