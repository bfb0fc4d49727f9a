//! Growth and shrink, bucket by bucket, while others read and write.

use super::geometry::Geometry;
use super::held::Held;
use super::{Index, Slot};
use crate::hash::KeyHash;
use crate::limits::{
    DISCARD_STEP_LINES, INDEX_GROW_LOAD, INDEX_GROW_SHARE, INDEX_LEAST_LOAD, INDEX_MOST_LOAD,
    INDEX_ROOM_LOAD, INDEX_SHRINK_LOAD, INDEX_SHRUNK_LOAD, MIN_BUCKETS, STUCK_MAX,
};
use crate::memory::{Location, SLOTS};
use crate::narrow::scale;
use crate::primitive::Ordering;
use crate::sharing::{Exclusive, Sharing};

/// Locations and marks of items that found no slot and are no longer in the index.
pub(crate) type Lost = [Option<(Location, u8)>; SLOTS];

/// What becomes of the items of a bucket that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// There is none, or it stays.
    Stays,
    /// It stands in this slot too.
    Moves(Slot),
    /// There is no slot for it.
    Goes,
}

/// A bucket that is needed is another shard's at the moment.
#[derive(Debug)]
struct Busy;

/// Why no bucket was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmoved {
    /// No resize is under way, or another shard is at it or in the way.
    Busy,
    /// There is no slot for an item that may not be lost, or not yet.
    Stuck,
}

/// Whether so many items in so many buckets are less, or more, than `percent` of the slots. On 32 bits a hundred times
/// as many would not fit a `usize`.
#[inline]
fn compare_load(items: usize, buckets: usize, percent: usize) -> std::cmp::Ordering {
    (items as u64 * 100).cmp(&(buckets as u64 * (SLOTS * percent) as u64))
}

impl<S: Sharing> Index<S> {
    /// Number of buckets in use.
    pub(crate) fn buckets(&self) -> usize {
        let geometry = self.layout.load::<S>();
        geometry.len.max(geometry.next_len)
    }

    /// Whether a growth or shrink is under way.
    #[inline]
    pub(crate) fn is_moving(&self) -> bool {
        self.layout.load::<S>().is_moving()
    }

    /// Whether the load with so many items is below the bound that it is to keep.
    pub(crate) fn is_sparse(&self, items: usize) -> bool {
        compare_load(items, self.buckets(), INDEX_LEAST_LOAD).is_lt()
    }

    /// Whether the load with so many items is well below that at which the index grows.
    pub(crate) fn has_room(&self, items: usize) -> bool {
        compare_load(items, self.layout.load::<S>().len, INDEX_ROOM_LOAD).is_lt()
    }

    /// Whether so many items are too many, so that the index must grow, or a resize go on, before anything is added. A
    /// shrink cannot be taken back: it is brought to its end while there are slots enough.
    pub(crate) fn is_too_full(&self, items: usize) -> bool {
        let geometry = self.layout.load::<S>();
        let buckets = if geometry.is_shrinking() { geometry.next_len } else { geometry.in_use() };
        compare_load(items, buckets, INDEX_MOST_LOAD).is_gt()
    }

    /// Whether the shrink under way should be nearer to its end with so many items: insertions are to help, before one
    /// has to do all that is left.
    pub(crate) fn is_filling(&self, items: usize) -> bool {
        let geometry = self.layout.load::<S>();
        geometry.is_shrinking() && compare_load(items, geometry.next_len, INDEX_ROOM_LOAD).is_gt()
    }

    /// How many buckets the resize under way has still to move.
    pub(crate) fn left_to_move(&self) -> usize {
        let geometry = self.layout.load::<S>();
        match geometry.is_moving() {
            false => 0,
            true if geometry.is_growing() => geometry.boundary,
            true => geometry.len - geometry.boundary,
        }
    }

    /// How many buckets the index should have for its load, where that is not the number it has.
    #[inline]
    pub(crate) fn wanted_len(&self, items: usize) -> Option<usize> {
        let geometry = self.layout.load::<S>();
        let len = geometry.len;
        if geometry.is_moving() {
            None
        } else if compare_load(items, len, INDEX_GROW_LOAD).is_gt() {
            let wanted = (len + (len / INDEX_GROW_SHARE).max(MIN_BUCKETS)).min(self.table.capacity());
            (wanted > len).then_some(wanted)
        } else if compare_load(items, len, INDEX_SHRINK_LOAD).is_lt() && len > 8 * MIN_BUCKETS {
            let wanted = items as u64 * 100 / (SLOTS * INDEX_SHRUNK_LOAD) as u64;
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            Some(wanted.clamp(len - len / 4, len - len / 12))
        } else {
            None
        }
    }

    /// Begins to grow to `next_len` buckets or fewer, or to shrink, if that is still wanted for as many items as there
    /// are now. [`Index::step`] does the work.
    pub(crate) fn begin_resize(&self, mut next_len: usize, items: impl FnOnce() -> usize) {
        let Some(_mover) = self.mover.try_lock() else { return };
        let len = self.layout.load::<S>().len;
        if S::IS_SHARED {
            // Another shard may have resized it since this one looked, and many items may have come.
            let grows = next_len > len;
            let Some(wanted) = self.wanted_len(items()).filter(|&wanted| (wanted > len) == grows) else {
                return;
            };
            // There is memory for so many.
            next_len = if grows { wanted.min(next_len) } else { wanted };
        }
        self.layout.set::<S>(Geometry { len, next_len, boundary: if next_len > len { len } else { 0 } });
    }

    /// Until this is dropped, nobody moves anything, as where a shard is stopped in the middle of a step.
    #[cfg(all(test, feature = "smp", not(loom)))]
    pub(crate) fn stop_moving(&self) -> <S::Exclusive<()> as Exclusive<()>>::Guard<'_> {
        Exclusive::lock(&self.mover)
    }

    /// Brings near the items of the bucket that the step after next will move.
    pub(crate) fn prefetch_step(&self, prefetch: impl Fn(Location)) {
        const AHEAD: usize = 2;
        let geometry = self.layout.load::<S>();
        if !geometry.is_moving() {
            return;
        }
        let position = if geometry.is_growing() {
            geometry.boundary.saturating_sub(1 + AHEAD)
        } else {
            (geometry.boundary + AHEAD).min(geometry.len - 1)
        };
        let bucket = self.table.line(position);
        (0..SLOTS).filter_map(|number| Location::from_raw(bucket.location(number))).for_each(prefetch);
    }

    /// Moves the next bucket's items to where the new number of buckets wants them. Items for which there is no slot
    /// get lost, which takes more bad luck than a test has ever met; unless one `may_lose` them, they stay, and nothing
    /// is moved.
    ///
    /// # Errors
    /// Why nothing is moved.
    pub(crate) fn step(
        &self,
        may_lose: bool,
        hash_of: impl Fn(Location) -> KeyHash,
    ) -> Result<Lost, Unmoved> {
        let mut lost = [None; SLOTS];
        let _mover = self.mover.try_lock().ok_or(Unmoved::Busy)?;
        let now = self.layout.load::<S>();
        let (position, next) = now.next().ok_or(Unmoved::Busy)?;
        let mut held = Held::with(self, &[]);
        if !held.take(position) {
            return Err(Unmoved::Busy);
        }
        let mut fates = [Fate::Stays; SLOTS];
        for number in 0..SLOTS {
            match self.fate(Slot::new(position, number), (now, next), &mut held, &hash_of) {
                Ok(fate) if fate != Fate::Goes || may_lose && self.gives_up() => fates[number] = fate,
                unmoved => {
                    self.take_back(&fates);
                    return Err(if unmoved.is_ok() { Unmoved::Stuck } else { Unmoved::Busy });
                }
            }
        }
        self.stuck.store(0, Ordering::Relaxed);
        self.layout.set_boundary(next.boundary);
        for (number, fate) in fates.into_iter().enumerate() {
            let slot = Slot::new(position, number);
            let contents = self.contents(slot);
            if fate == Fate::Goes {
                lost[number] =
                    Location::from_raw(contents.location).map(|location| (location, contents.mark));
            }
            if fate != Fate::Stays {
                self.count_move(contents.tag);
                self.remove(slot);
            }
        }
        // Memory given back must not be touched again by an unlock.
        drop(held);
        self.discard_passed(next);
        if next.is_done() {
            self.finish_resize(next);
        }
        Ok(lost)
    }

    /// Finds the item in `slot` a place by the next geometry, and puts it there too.
    fn fate(
        &self,
        slot: Slot,
        (now, next): (Geometry, Geometry),
        held: &mut Held<'_, S>,
        hash_of: &impl Fn(Location) -> KeyHash,
    ) -> Result<Fate, Busy> {
        let Some(location) = self.location(slot) else { return Ok(Fate::Stays) };
        let hash = hash_of(location);
        let [first, second] = next.positions(hash);
        if first == slot.position() || second == slot.position() {
            return Ok(Fate::Stays);
        }
        // Buckets keep the order of hashes, so this target is near the last one, the item's other bucket is not.
        let is_first = scale(hash.first(), now.len) == slot.position();
        let (near, far) = if is_first { (first, second) } else { (second, first) };
        if !held.take(near) {
            return Err(Busy);
        }
        let mut place = self.empty_slot(near);
        if place.is_none() {
            if !held.take(far) {
                return Err(Busy);
            }
            held.was_refused = false;
            place = self
                .empty_slot(far)
                .or_else(|| self.make_slot([near, far], held, Some((slot.position(), next)), hash_of));
            if place.is_none() && held.was_refused {
                return Err(Busy);
            }
        }
        let Some(place) = place else { return Ok(Fate::Goes) };
        self.fill(place, self.contents(slot));
        Ok(Fate::Moves(place))
    }

    /// Whether the bucket that the resize has come to was tried so often that an item of it is lost. Before, others may
    /// be about to remove items from where it might go, or to move them.
    fn gives_up(&self) -> bool {
        !S::IS_SHARED || self.stuck.fetch_add(1, Ordering::Relaxed) >= STUCK_MAX
    }

    /// Nobody has looked yet where the items of a bucket were put: they are taken away again.
    fn take_back(&self, fates: &[Fate; SLOTS]) {
        for fate in fates {
            if let Fate::Moves(place) = fate {
                self.remove(*place);
            }
        }
    }

    /// While shrinking: gives back what the boundary has left behind of the table's end, piece by piece.
    fn discard_passed(&self, geometry: Geometry) {
        let Geometry { next_len, boundary, .. } = geometry;
        if !geometry.is_growing() && boundary.is_multiple_of(DISCARD_STEP_LINES) && boundary > next_len {
            self.table.discard(next_len.max(boundary - DISCARD_STEP_LINES), boundary);
        }
    }

    fn finish_resize(&self, geometry: Geometry) {
        let Geometry { len, next_len, .. } = geometry;
        self.layout.set::<S>(Geometry { len: next_len, next_len, boundary: 0 });
        if next_len < len {
            let last = len / DISCARD_STEP_LINES * DISCARD_STEP_LINES;
            self.table.discard(next_len.max(last), len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_of_more_items_than_a_hundredth_of_32_bits() {
        for buckets in [5_000_000, 50_000_000] {
            let items = |percent: usize| buckets / 100 * SLOTS * percent;
            assert!(compare_load(items(90), buckets, 91).is_lt());
            assert!(compare_load(items(91), buckets, 91).is_eq());
            assert!(compare_load(items(92), buckets, 91).is_gt());
        }
    }

    #[cfg(all(feature = "smp", not(loom)))]
    #[test]
    fn a_resize_is_as_large_as_the_items_of_its_beginning_want_it() {
        use crate::memory::{Ground, Table};
        use crate::sharing::Shared;

        const LEN: usize = 10_000;
        let next_len = |wanted: usize, items: usize| {
            let table = Table::reserve(2 * LEN, false, &mut Ground::own()).unwrap();
            let index = Index::<Shared>::with(table, LEN);
            index.begin_resize(wanted, || items);
            index.layout.load::<Shared>().next_len
        };
        let items = |percent: usize| LEN / 100 * SLOTS * percent;
        // As one wants it that has counted fewer items, or more buckets, long ago.
        assert_eq!(next_len(LEN - LEN / 4, items(77)), items(77) * 100 / (SLOTS * INDEX_SHRUNK_LOAD));
        assert_eq!(next_len(2 * LEN, items(92)), LEN + LEN / INDEX_GROW_SHARE);
        assert_eq!(next_len(LEN + 100, items(92)), LEN + 100);
        assert_eq!(next_len(LEN - LEN / 4, items(80)), LEN);
    }

    #[cfg(all(feature = "smp", not(loom)))]
    #[test]
    fn an_item_is_lost_only_where_its_bucket_was_stuck_for_long() {
        use super::super::Contents;
        use crate::memory::{Ground, Table};
        use crate::sharing::Shared;

        const LEN: usize = 1024;
        let table = Table::reserve(LEN, false, &mut Ground::own()).unwrap();
        let index = Index::<Shared>::with(table, LEN);
        let [now, after] = [LEN, LEN / 2].map(|len| Geometry { len, next_len: len, boundary: 0 });
        let is_apart = |hash: &KeyHash| {
            let [first, second] = now.positions(*hash);
            (500..700).contains(&first) && (800..1000).contains(&second)
        };
        let hashes = (1_u64..).map(|number| KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let hash = hashes.take(10_000).find(is_apart).unwrap();
        let ([first, second], [target, _]) = (now.positions(hash), after.positions(hash));
        index.layout.set::<Shared>(Geometry { next_len: after.len, ..now });
        let step = |may_lose| index.step(may_lose, |_| hash);
        while index.layout.load::<Shared>().boundary < first {
            assert!(step(false).is_ok());
        }
        let mut location = 0;
        // All are items of this hash: none of them can go elsewhere.
        for (position, items) in [(target, SLOTS), (second, SLOTS), (first, 1)] {
            for number in 0..items {
                location += 1;
                let contents = Contents { tag: hash.tag(), location, mark: 0, is_seen: false };
                index.fill(Slot::new(position, number), contents);
            }
        }
        assert_eq!(step(false).err(), Some(Unmoved::Stuck));
        for _ in 0..STUCK_MAX {
            assert_eq!(step(true).err(), Some(Unmoved::Stuck));
        }
        assert_eq!(step(true).unwrap().iter().flatten().count(), 1);
    }
}
