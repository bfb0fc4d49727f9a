//! What of the index's growth and shrink falls to each call: a little to each write, and more to what removes items,
//! for one write may remove dozens of them, and deletes come without any.

use std::cell::Cell;

use super::Store;
use crate::index::{BUCKET_BYTES, Lost, Unmoved};
use crate::limits::{
    BUCKETS_FOR_REMOVALS_MAX, BUCKETS_PER_REMOVAL, BUCKETS_PER_WRITE, COMPACT_WEIGHT, FITTING_SHARE,
    HELP_BUCKETS, HELP_BYTES, MOVE_TRIES, PIECE_SHARE, STEP_OWN_BYTES, STEPS_MAX,
};
use crate::primitive::{Ordering, pause, yield_now};
use crate::sharing::Sharing;

/// About what an item's record has beside key and value.
const HEAD_BYTES: usize = 8;

/// How far a handle has gone with resizing.
#[derive(Debug)]
pub(super) struct Resizing {
    /// With about so many items the index needed no resize when that was last looked at.
    fitting_items: usize,
    /// Items removed that nothing was moved for yet.
    removed: Cell<usize>,
    /// Buckets to be moved for those before, because it was too much for the calls that removed them.
    owed: Cell<usize>,
    /// Buckets moved for removals beside the last step of a write, whose upkeep then moves so many fewer.
    moved: Cell<usize>,
    /// The last growth that was to begin had no memory, and nothing may be evicted or compacted for it.
    lacks_memory: bool,
}

impl Default for Resizing {
    fn default() -> Self {
        let [removed, owed, moved] = [0; 3].map(Cell::new);
        Self { fitting_items: usize::MAX, removed, owed, moved, lacks_memory: false }
    }
}

impl Resizing {
    /// Has the index looked at by the next step.
    pub(super) const fn look(&mut self) {
        self.fitting_items = usize::MAX;
    }

    /// Whether a growth was found not to have the memory that it takes, nor to be able to come to it.
    pub(super) const fn lacks_memory(&self) -> bool {
        self.lacks_memory
    }

    /// Counts an item that was removed.
    #[inline]
    pub(super) fn count_removal(&self) {
        self.removed.set(self.removed.get() + 1);
    }
}

impl<S: Sharing> Store<S> {
    /// Beside each write: a step of the index's growth or shrink, or its beginning.
    #[inline(always)]
    pub(super) fn resize_step(&mut self) {
        let fitting = self.resizing.fitting_items;
        if self.items().abs_diff(fitting) > fitting / FITTING_SHARE || self.core.index.is_moving() {
            self.resize_step_slowly();
        }
    }

    #[inline(never)]
    fn resize_step_slowly(&mut self) {
        self.resizing.look();
        self.resizing.moved.set(0);
        if self.core.index.is_moving() {
            let _moved = self.move_some();
            self.resizing.moved.set(self.follow_removals_by(BUCKETS_FOR_REMOVALS_MAX));
        } else if let Some(len) = self.wanted_len() {
            if len > self.core.index.buckets() {
                self.begin_growth(len);
            } else {
                self.begin_shrink();
            }
        } else if self.wanted_index_bytes() != 0 && self.may_stop_wanting() {
            self.core.wanted_index_bytes.store(0, Ordering::Relaxed);
        } else if self.wanted_index_bytes() == 0 {
            self.resizing.fitting_items = self.items();
        }
    }

    /// Whether no more memory need be made for a growth that is not due any more, and was not begun. As long as nothing
    /// may be evicted, writes are refused beside what is free for it.
    fn may_stop_wanting(&self) -> bool {
        !self.core.evicts || self.core.index.has_room(self.items())
    }

    /// How many buckets the index should have, where that is not the number it has. Who does little may have counted
    /// items long ago: it counts them before it begins anything.
    fn wanted_len(&self) -> Option<usize> {
        let index = &self.core.index;
        let wanted = index.wanted_len(self.items())?;
        let is_awaited = wanted > index.buckets() && self.wanted_index_bytes() != 0;
        if !S::IS_SHARED || is_awaited {
            return Some(wanted);
        }
        self.writes_to_count.set(0);
        self.count_items(0);
        index.wanted_len(self.items())
    }

    /// Moves the buckets that fall to a write, or tells why there were not so many to be moved.
    fn move_some(&mut self) -> Result<(), Unmoved> {
        for _ in 0..BUCKETS_PER_WRITE {
            for (location, mark) in self.move_bucket(true)?.into_iter().flatten() {
                self.count_evicted(location, mark);
                self.counters().items.subtract(1);
                self.bury(location);
            }
        }
        Ok(())
    }

    /// Beside whatever may have removed items, reads among it: a share of the resize by how many they were, so that the
    /// load stays above a bound. What is too much for one call falls to the next ones.
    #[inline]
    pub(super) fn follow_removals(&self) {
        self.follow_removals_by(BUCKETS_FOR_REMOVALS_MAX);
    }

    /// The same after the call's step of the resize, in a call that stores so many bytes: the more these are, the more
    /// items go for them.
    #[inline]
    pub(super) fn follow_removals_beside(&self, bytes: usize) {
        let most = BUCKETS_FOR_REMOVALS_MAX * (bytes / STEP_OWN_BYTES).clamp(1, STEPS_MAX);
        self.follow_removals_by(most.saturating_sub(self.resizing.moved.take()));
    }

    /// How many bytes of a value may come at once, so that what goes for them can be followed.
    pub(super) fn piece_max(&self) -> usize {
        if self.resizing.owed.get() != 0 && self.core.index.is_moving() {
            return STEP_OWN_BYTES;
        }
        (self.core.limit_bytes() / PIECE_SHARE).max(STEP_OWN_BYTES)
    }

    /// The same with up to `most` buckets. Returns how many were moved.
    #[inline]
    fn follow_removals_by(&self, most: usize) -> usize {
        if self.resizing.removed.get() == 0 && self.resizing.owed.get() == 0 {
            return 0;
        }
        self.follow_some_removals(most)
    }

    #[inline(never)]
    fn follow_some_removals(&self, most: usize) -> usize {
        let removed = self.resizing.removed.take();
        self.count_items(removed);
        self.begin_shrink();
        let due = self.resizing.owed.get().saturating_add(removed.saturating_mul(BUCKETS_PER_REMOVAL));
        let moved = self.move_most_of(due.min(most));
        // Nothing of what one resize has left undone is owed to another, which is as large as the items then need it.
        self.resizing.owed.set((due - moved).min(self.core.index.left_to_move()));
        moved
    }

    /// Moves so many buckets, less where the resize ends before or other shards are in the way for long. Returns how
    /// many.
    fn move_most_of(&self, buckets: usize) -> usize {
        let (mut moved, mut tries) = (0, 0);
        while moved < buckets && self.core.index.is_moving() {
            match self.move_bucket(false) {
                Ok(_) => (moved, tries) = (moved + 1, 0),
                Err(Unmoved::Busy) if S::IS_SHARED && tries < MOVE_TRIES => {
                    // If it only looked whether another shard is at it, that one would have to move what both remove.
                    tries += 1;
                    pause();
                }
                // To search once more would take long, and find nothing.
                Err(_) => break,
            }
        }
        moved
    }

    /// Moves the next bucket, where there is one and no other shard is at it or in the way. Returns what found no slot,
    /// if it `may_lose` that.
    fn move_bucket(&self, may_lose: bool) -> Result<Lost, Unmoved> {
        self.core.index.prefetch_step(|location| self.core.arena.prefetch(location));
        let (arena, hasher) = (&self.core.arena, &self.core.hasher);
        let lost = self.core.index.step(may_lose, |at| hasher.hash(arena.record(at).key()))?;
        self.counters().buckets_moved.add(1);
        Ok(lost)
    }

    /// There is no slot for a new item as long as the index is not resized: sees to it that a good part of that is
    /// done, or makes some of the memory that it waits for.
    pub(super) fn help_to_resize(&mut self) {
        self.work.set(0);
        self.writes_to_count.set(0);
        self.count_items(1);
        self.resizing.look();
        if !self.core.index.is_moving() {
            self.resize_step();
        }
        let mut goes_on = self.advance();
        if self.wanted_index_bytes() != 0 {
            // Nobody else may make it, while all wait for slots.
            self.countdown = 0;
            self.keep_pace(HELP_BYTES);
            goes_on |= self.work.get() != 0;
            if !self.core.index.is_moving() {
                self.resize_step();
            }
        }
        if S::IS_SHARED && !goes_on && !self.resizing.lacks_memory {
            yield_now();
        }
    }

    /// Moves buckets until the resize has gone on by a good part, whoever has moved them, so that shards which add do
    /// not outrun it however many they are; less where it stands still for long. Returns whether it has gone on.
    fn advance(&mut self) -> bool {
        let part = HELP_BUCKETS.max(BUCKETS_PER_WRITE * self.core.counters.len());
        let begun = self.core.index.left_to_move();
        let (mut left, mut tries) = (begun, 0);
        while left != 0 && left + part > begun && tries < MOVE_TRIES {
            let moved = self.move_some();
            let left_now = self.core.index.left_to_move();
            if moved == Err(Unmoved::Stuck) || left_now > left {
                // The latter is another resize.
                break;
            }
            if left_now == left {
                tries += 1;
                pause();
            } else {
                tries = 0;
            }
            left = left_now;
        }
        self.core.index.left_to_move() != begun
    }

    /// Begins to shrink, if that is due. That takes no memory.
    fn begin_shrink(&self) {
        let index = &self.core.index;
        if let Some(len) = self.wanted_len()
            && len < index.buckets()
        {
            self.begin_resize(len);
            if index.is_sparse(self.items()) {
                // More went at once than could be followed.
                self.resizing.owed.set(index.left_to_move());
            }
        }
    }

    /// Begins to grow as soon as the limit has room for the larger index; until then segments make room for it.
    fn begin_growth(&mut self, len: usize) {
        let bytes = len * BUCKET_BYTES;
        self.resizing.lacks_memory = !self.core.evicts && !self.may_want_index(bytes);
        if self.resizing.lacks_memory {
            self.core.wanted_index_bytes.store(0, Ordering::Relaxed);
            return;
        }
        self.core.wanted_index_bytes.store(bytes, Ordering::Relaxed);
        if self.has_surplus() {
            self.countdown = 0;
            self.give_back_surplus(self.core.reserve_segments() + usize::from(self.core.evicts));
        }
        // Who opens a segment from now on knows what the index wants.
        if self.core.segments.resident_settled() <= self.target_segments() {
            self.begin_resize(len);
        }
    }

    fn begin_resize(&self, len: usize) {
        mm_base::mark!("index resized");
        self.core.index.begin_resize(len, || self.core.count_items());
        self.core.wanted_index_bytes.store(0, Ordering::Relaxed);
    }

    /// About how many bytes of segments are of no item.
    fn garbage(&self) -> usize {
        let segments = &self.core.segments;
        let used = segments.resident().saturating_sub(segments.free()) * self.core.sizes.segment_bytes;
        let items = self.core.count_item_bytes() + self.core.count_items() * HEAD_BYTES;
        used.saturating_sub(items)
    }

    /// Whether memory for an index of so many bytes may be there without an eviction: in segments that are free, or
    /// that are so when they are compacted.
    fn may_want_index(&self, bytes: usize) -> bool {
        let segments = &self.core.segments;
        let to_spare = segments.free().saturating_sub(self.core.reserve_segments());
        let (has, may_have) = (segments.resident().saturating_sub(to_spare), self.segments_beside(bytes));
        if has <= may_have {
            return true;
        }
        self.garbage() / self.core.sizes.segment_bytes >= has - may_have
            && (self.leaving.segment.is_some()
                || segments.light(COMPACT_WEIGHT, 0).any(|id| self.can_leave(id)))
    }
}

#[cfg(all(test, not(loom)))]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::sharing::Local;
    use crate::{Config, Put};

    fn put(store: &mut Store<Local>, number: u64) {
        let bytes = number.to_le_bytes();
        let key = store.key(&bytes).unwrap();
        assert!(store.put(key, &Put::default(), b"value", 1).is_ok());
    }

    fn delete(store: &mut Store<Local>, number: u64) {
        let bytes = number.to_le_bytes();
        assert_eq!(store.delete(store.key(&bytes).unwrap(), None, 1), Ok(()));
    }

    #[test]
    fn where_nothing_is_evicted_no_memory_is_kept_for_a_growth_that_is_not_due() {
        let config = Config { evict: false, ..Config::new(16 << 20, 1) };
        let mut store = Store::<Local>::open(&config).unwrap();
        let mut numbers = 0..;
        let is_between = |store: &Store<Local>| {
            let (index, items) = (&store.core.index, store.items());
            !index.is_moving() && !index.has_room(items) && items > 20_000
        };
        while !is_between(&store) {
            put(&mut store, numbers.next().unwrap());
        }
        assert_eq!(store.core.index.wanted_len(store.items()), None);
        store.core.wanted_index_bytes.store(store.core.index.bytes() * 2, Ordering::Relaxed);
        store.resizing.look();
        put(&mut store, numbers.next().unwrap());
        assert_eq!(store.wanted_index_bytes(), 0);
    }

    /// A store whose index shrinks, and that owes a thousand buckets. Memory is ample.
    fn owing() -> Store<Local> {
        let mut store = Store::<Local>::open(&Config::new(16 << 20, 1)).unwrap();
        (0..40_000).for_each(|number| put(&mut store, number));
        while store.maintain(100, 1) {}
        let mut numbers = 0..;
        while !store.core.index.is_moving() {
            delete(&mut store, numbers.next().unwrap());
        }
        assert!(store.core.index.left_to_move() > 2_000);
        store.resizing.owed.set(1_000);
        store.countdown = 1 << 20;
        store
    }

    #[test]
    fn a_write_that_has_nothing_to_empty_moves_what_is_owed() {
        let mut store = owing();
        let (before, counted) = (store.stats().buckets_moved, store.countdown);
        put(&mut store, 100_000);
        let moved = usize::try_from(store.stats().buckets_moved - before).unwrap();
        assert_eq!(moved, BUCKETS_PER_WRITE + BUCKETS_FOR_REMOVALS_MAX);
        assert!(store.countdown > counted / 2, "{} of {counted}", store.countdown);
    }

    #[test]
    fn no_call_moves_what_is_owed_twice() {
        let touch = |store: &mut Store<Local>| {
            let bytes = 39_999_u64.to_le_bytes();
            let key = store.key(&bytes).unwrap();
            assert_eq!(store.touch(key, 100, 1), Ok(Ok(())), "written anew with an expiry");
        };
        let set = |store: &mut Store<Local>| {
            store.countdown = 0;
            put(store, 100_000);
        };
        let maintain = |store: &mut Store<Local>| assert!(store.maintain(1, 1));
        for call in [&touch as &dyn Fn(&mut Store<Local>), &set, &maintain] {
            let mut store = owing();
            let before = store.stats().buckets_moved;
            call(&mut store);
            let moved = usize::try_from(store.stats().buckets_moved - before).unwrap();
            assert_eq!(moved, BUCKETS_PER_WRITE + BUCKETS_FOR_REMOVALS_MAX);
        }
    }
}
