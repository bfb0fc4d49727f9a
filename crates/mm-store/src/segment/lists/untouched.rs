//! The segments that were never opened: which of them are populated before they are.

use super::{Counts, Segments};
use crate::memory::SegmentId;
use crate::narrow::to_u32;
use crate::primitive::Ordering;
use crate::sharing::Sharing;

impl<S: Sharing> Segments<S> {
    /// How many segments were ever opened, about.
    pub(crate) fn ever_opened(&self) -> usize {
        self.counts.opened_below.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// How many segments [`Segments::take_untouched`] has returned that nobody has opened since.
    pub(crate) fn untouched(&self) -> usize {
        let opened_below = self.counts.opened_below.load(Ordering::Relaxed).max(1);
        self.counts.populated_below.load(Ordering::Relaxed).saturating_sub(opened_below)
    }

    /// The last of them.
    pub(crate) fn last_untouched(&self) -> Option<SegmentId> {
        (self.untouched() > 0)
            .then(|| SegmentId(to_u32(self.counts.populated_below.load(Ordering::Relaxed) - 1)))
    }

    /// The segment that is opened next, where [`Segments::take_untouched`] has returned it.
    pub(crate) fn next_untouched(&self) -> Option<SegmentId> {
        let next = self.counts.opened_below.load(Ordering::Relaxed).max(1);
        let is_next = self.free() == 0 && self.counts.populated_below.load(Ordering::Relaxed) > next;
        is_next.then(|| SegmentId(to_u32(next)))
    }

    /// Of the next `ahead` segments that were never opened those that no call has returned before: the first one, and
    /// how many there are. `None` where there are none.
    pub(crate) fn take_untouched(&self, ahead: usize) -> Option<(SegmentId, usize)> {
        let end = |opened_below: usize| (opened_below.max(1) + ahead).min(self.table.len());
        let Counts { opened_below, populated_below, .. } = &*self.counts;
        if end(opened_below.load(Ordering::Relaxed)) <= populated_below.load(Ordering::Relaxed) {
            return None;
        }
        self.with(|_| {
            let opened_below = opened_below.load(Ordering::Relaxed).max(1);
            let (first, end) = (opened_below.max(populated_below.load(Ordering::Relaxed)), end(opened_below));
            let count = end.checked_sub(first).filter(|&count| count > 0)?;
            populated_below.store(end, Ordering::Relaxed);
            Some((SegmentId(to_u32(first)), count))
        })
    }

    /// Gives the last segment that [`Segments::take_untouched`] has returned and nobody has opened since to `discard`,
    /// which says whether it is discarded. False where there is none, too.
    pub(crate) fn discard_untouched(&self, discard: impl FnOnce(SegmentId) -> bool) -> bool {
        self.untouched() > 0
            && self.with(|_| {
                let last = self.last_untouched();
                let is_discarded = last.is_some_and(discard);
                if let (Some(last), true) = (last, is_discarded) {
                    self.counts.populated_below.store(last.index(), Ordering::Relaxed);
                }
                is_discarded
            })
    }
}
