//! Slots of the index for new items.

use super::write::Short;
use super::{Found, Key, PutError, Store};
use crate::index::{Locked, mark};
use crate::limits::{MEMORY_TRIES_MAX, SHORT_TRIES_MAX, SLOT_TRIES_MAX};
use crate::memory::Location;
use crate::segment::Queue;
use crate::sharing::Sharing;

/// How it goes with a new item for which there is no slot.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// How often in a row none was found, and the resize did not go on.
    tries: u32,
    /// What the resize had still to move then.
    left: usize,
    /// It takes the place of another item, once there is room for its record.
    replaces: bool,
}

impl Search {
    /// Counts a try, where the resize has `left` to move. As long as it goes on, whoever moves it, nobody need give up.
    const fn count(&mut self, left: usize) {
        self.tries = if left == self.left { self.tries.saturating_add(1) } else { 1 };
        self.left = left;
    }
}

impl<S: Sharing> Store<S> {
    /// Looks whether there may be a slot for a new item in the locked buckets, and room in the index as a whole.
    ///
    /// The only shard of a store that evicts makes the index larger faster than it is filled, as long as there is
    /// memory for that. Of several, one may be stopped in the middle of a step while others add; and without eviction
    /// there may be no memory for more.
    #[inline(always)]
    pub(super) fn look_for_slot(&mut self, locked: &Locked) -> Result<Result<(), PutError>, Short> {
        if !S::IS_SHARED && self.core.evicts && self.wanted_index_bytes() == 0 {
            return Ok(Ok(()));
        }
        self.look_for_slot_with_care(locked)
    }

    #[inline(never)]
    fn look_for_slot_with_care(&mut self, locked: &Locked) -> Result<Result<(), PutError>, Short> {
        let (items, evicts, index) = (self.items(), self.core.evicts, &self.core.index);
        let is_full = index.is_too_full(items + 1);
        let is_to_wait = is_full || self.search.tries == 0 && index.is_filling(items);
        let is_kept = !is_to_wait && self.is_kept_from_slot(locked);
        if !is_to_wait && !is_kept {
            self.search = Search::default();
            return Ok(Ok(()));
        }
        self.search.count(index.left_to_move());
        let is_waiting = is_kept || index.is_moving() || index.wanted_len(items).is_some();
        if is_waiting && self.search.tries < self.slot_tries_max(is_full) {
            return Err(Short::OfSlots);
        }
        if !is_waiting || is_full && !evicts {
            self.search = Search::default();
        }
        if is_full && !evicts {
            self.counters().refused.add(1);
            return Ok(Err(PutError::NoMemory));
        }
        // A shard that is stopped keeps the others from more slots, or from the memory for them.
        self.search.replaces = is_full && is_waiting;
        Ok(Ok(()))
    }

    /// How often in a row to look for a slot while the resize does not go on: less often where it waits for memory.
    fn slot_tries_max(&self, is_full: bool) -> u32 {
        if !is_full || self.core.index.is_moving() {
            return SLOT_TRIES_MAX;
        }
        if self.wanted_index_bytes() == 0 {
            return if self.resizing.lacks_memory() { SHORT_TRIES_MAX } else { SLOT_TRIES_MAX };
        }
        if self.core.evicts { SHORT_TRIES_MAX } else { MEMORY_TRIES_MAX }
    }

    /// Whether other shards have buckets without which there is no slot in the locked ones. Where these are full beyond
    /// help, others need not be, and a resize would have to go on for long to change that.
    fn is_kept_from_slot(&self, locked: &Locked) -> bool {
        if !S::IS_SHARED {
            return false;
        }
        let (arena, hasher) = (&self.core.arena, &self.core.hasher);
        let found = self.core.index.make_slot_for(locked, |at| hasher.hash(arena.record(at).key()));
        found.is_err_and(|full| full.was_busy)
    }

    #[inline(never)]
    pub(super) fn insert(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        location: Location,
    ) -> Result<(), PutError> {
        if std::mem::take(&mut self.search.replaces) {
            self.evict_weakest(key);
        }
        loop {
            let (arena, hasher) = (&self.core.arena, &self.core.hasher);
            let hash_of = |at| hasher.hash(arena.record(at).key());
            match self.core.index.insert(locked, key.hash, location, hash_of) {
                Ok(slot) => {
                    if self.segment_at(location).queue() == Queue::Main {
                        self.core.index.set_mark(slot, mark::RETURNED);
                    }
                    self.counters().items.add(1);
                    return Ok(());
                }
                Err(_) if self.core.evicts => self.evict_weakest(key),
                Err(_) => {
                    self.counters().refused.add(1);
                    self.bury(location);
                    return Err(PutError::NoMemory);
                }
            }
        }
    }

    /// Both buckets of `key` are full beyond help, or the index as a whole: the item in them that is worth least goes.
    fn evict_weakest(&mut self, key: Key<'_>) {
        if let Some((slot, location)) = self.core.index.weakest(key.hash) {
            self.evict(Found { slot, location });
        }
    }
}

#[cfg(all(test, feature = "smp", not(loom)))]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::{BUCKETS_PER_WRITE, HELP_BUCKETS};
    use crate::sharing::Shared;
    use crate::{Config, Put, StoreHandles};

    fn put(store: &mut Store<Shared>, number: u32) {
        let bytes = number.to_le_bytes();
        let key = store.key(&bytes).unwrap();
        assert!(store.put(key, &Put::default(), b"value", 1).is_ok());
    }

    /// A store whose index has just begun to shrink, and all of whose items were read. Memory is ample.
    fn shrinking() -> Store<Shared> {
        let mut store = StoreHandles::open(&Config::new(16 << 20, 1), 2).unwrap().take().unwrap();
        (0..40_000).for_each(|number| put(&mut store, number));
        while store.maintain(100, 1) {}
        for number in 0_u32..40_000 {
            let bytes = number.to_le_bytes();
            let key = store.key(&bytes).unwrap();
            if store.core.index.is_moving() {
                assert!(store.get(key, 1).is_ok());
            } else {
                assert_eq!(store.delete(key, None, 1), Ok(()));
            }
        }
        assert!(store.core.index.is_moving());
        store
    }

    /// As many more or fewer items than there are as a handle may not have seen yet.
    const UNSEEN: usize = 40;

    #[test]
    fn while_a_shard_is_stopped_new_items_take_the_places_of_others() {
        let mut store = shrinking();
        let core = Arc::clone(&store.core);
        let _stopped = core.index.stop_moving();
        (100_000..106_000).for_each(|number| put(&mut store, number));
        let (items, evicted) = (core.count_items(), store.stats().evicted);
        assert!(evicted > 2_000, "{evicted} of 6,000");
        assert!(!core.index.is_too_full(items - UNSEEN), "{items} items");
        store.verify().unwrap();
    }

    #[test]
    fn who_waits_gives_up_only_where_nothing_goes_on() {
        let mut store = shrinking();
        let core = Arc::clone(&store.core);
        let mut stopped = core.index.stop_moving();
        let mut numbers = 100_000..;
        while !core.index.is_too_full(core.count_items() + 1) {
            put(&mut store, numbers.next().unwrap());
        }
        store.writes_to_count.set(0);
        store.count_items(1);
        let mut look = || {
            let key = store.key(b"another").unwrap();
            let locked = store.core.index.lock(key.hash);
            let looked = store.look_for_slot(&locked);
            store.core.index.unlock(locked);
            (looked, store.search.replaces)
        };
        for _ in 0..4 {
            // Another shard moves a bucket.
            drop(stopped);
            assert!(core.index.step(true, |at| core.hasher.hash(core.arena.record(at).key())).is_ok());
            stopped = core.index.stop_moving();
            for _ in 1..SLOT_TRIES_MAX {
                assert_eq!(look(), (Err(Short::OfSlots), false));
            }
        }
        assert_eq!(look(), (Ok(Ok(())), true));
        assert_eq!(store.stats().evicted, 0, "before it has room");
    }

    #[test]
    fn while_another_shard_begins_a_growth_items_wait_and_none_is_lost_or_refused() {
        for evict in [true, false] {
            let config = Config { evict, ..Config::new(16 << 20, 1) };
            let mut store = StoreHandles::open(&config, 2).unwrap().take().unwrap();
            let core = Arc::clone(&store.core);
            let mut numbers = 0..;
            let is_at_rest = || core.count_items() > 40_000 && !core.index.is_moving();
            while !is_at_rest() {
                put(&mut store, numbers.next().unwrap());
            }
            let beginning = core.index.stop_moving();
            while !core.index.is_too_full(core.count_items() + 1) {
                put(&mut store, numbers.next().unwrap());
            }
            for _ in 0..SLOT_TRIES_MAX / 2 {
                let key = store.key(b"another").unwrap();
                let locked = store.core.index.lock(key.hash);
                assert_eq!(store.look_for_slot(&locked), Err(Short::OfSlots));
                store.core.index.unlock(locked);
                store.help_to_resize();
            }
            drop(beginning);
            numbers.take(20_000).for_each(|number| put(&mut store, number));
            let stats = store.stats();
            assert_eq!((stats.evicted, stats.refused), (0, 0));
        }
    }

    #[test]
    fn insertions_bring_a_shrink_to_its_end_before_they_need_it() {
        let mut store = shrinking();
        let core = Arc::clone(&store.core);
        let stopped = core.index.stop_moving();
        let mut numbers = 100_000..;
        while !core.index.is_filling(core.count_items() - UNSEEN) {
            put(&mut store, numbers.next().unwrap());
        }
        drop(stopped);
        while core.index.is_moving() {
            let left = core.index.left_to_move();
            put(&mut store, numbers.next().unwrap());
            let moved = left - core.index.left_to_move();
            let most = HELP_BUCKETS + BUCKETS_PER_WRITE;
            assert!((left.min(HELP_BUCKETS)..=most).contains(&moved), "{moved} of {left}");
        }
        assert_eq!(store.stats().evicted, 0);
    }
}
