//! Finding segments by what they are now, without a look at all of them.

use super::Segments;
use crate::memory::{SegmentId, prefetch_write};
use crate::narrow::to_u32;
use crate::segment::Tolerance;
use crate::sharing::{Exclusive, Sharing};

impl<S: Sharing> Segments<S> {
    /// Brings the count of what is garbage in `id` near, for writing.
    #[inline(always)]
    pub(crate) fn prefetch_dead(&self, id: SegmentId) {
        prefetch_write(std::ptr::from_ref(&self.get(id).garbage).cast());
    }

    /// More bytes of `id` are garbage now.
    #[inline(always)]
    pub(crate) fn add_dead(&self, id: SegmentId, bytes: u32) {
        if self.get(id).add_dead::<S>(bytes, self.part) {
            self.has_changed(id);
        }
    }

    /// An item of `bytes` in `id` has an expiry now.
    #[inline]
    pub(crate) fn note_expiry(&self, id: SegmentId, expiry_s: u32, bytes: u32, tolerance: Tolerance) {
        if self.get(id).note_expiry::<S>(expiry_s, bytes, tolerance) {
            self.has_changed(id);
        }
    }

    #[cold]
    #[inline(never)]
    fn has_changed(&self, id: SegmentId) {
        let lists = self.lists.lock();
        self.put_in_order(&lists, id);
    }

    /// The segment that was to be searched for expired items first, if it was to be by `now_s`: nobody else is given it
    /// before [`Segments::end_sweep`].
    pub(crate) fn begin_sweep(&self, now_s: u32) -> Option<SegmentId> {
        if self.due.least() > u64::from(now_s) {
            return None;
        }
        let lists = self.lists.lock();
        // Another shard may have taken it meanwhile.
        let least = self.due.least();
        if least > u64::from(now_s) {
            return None;
        }
        let id = self.due.at_most(least, 0).next().map(to_id)?;
        self.get(id).begin_sweep(now_s);
        self.put_in_order(&lists, id);
        Some(id)
    }

    /// The search of `id` is over, and the next is due at `sweep_at_s`, or when something noted meanwhile asks for it.
    pub(crate) fn end_sweep(&self, id: SegmentId, sweep_at_s: u32) {
        self.get(id).sweep_by::<S>(sweep_at_s);
        self.has_changed(id);
    }

    /// Whether there are segments with records that were opened before the one of this sequence.
    pub(crate) fn has_before(&self, sequence: u64) -> bool {
        self.sequences.least() < sequence
    }

    /// Those segments, from the number `first` on and then those before it.
    pub(crate) fn before(&self, sequence: u64, first: usize) -> impl Iterator<Item = SegmentId> {
        let most = sequence.checked_sub(1);
        most.into_iter().flat_map(move |most| self.sequences.at_most(most, first)).map(to_id)
    }

    /// The sealed segments of weight `most` at most, from the number `first` on and then those before it: what lives in
    /// each has room in so many parts of a segment.
    pub(crate) fn light(&self, most: u64, first: usize) -> impl Iterator<Item = SegmentId> {
        self.weights.at_most(most, first).map(to_id)
    }

    /// A sealed segment of the least weight.
    pub(crate) fn lightest(&self) -> Option<SegmentId> {
        let least = self.weights.least();
        if least == super::NONE { None } else { self.light(least, 0).next() }
    }

    /// Whether `id` is found by what it is. Nobody changes it meanwhile.
    pub(crate) fn is_in_order(&self, id: SegmentId) -> bool {
        let minima = [&self.due, &self.sequences, &self.weights];
        minima.into_iter().zip(self.keys(id)).all(|(minima, key)| minima.is_right(id.index(), key))
    }
}

fn to_id(number: usize) -> SegmentId {
    SegmentId(to_u32(number))
}
