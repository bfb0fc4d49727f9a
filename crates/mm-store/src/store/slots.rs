//! Slots of the index for new items.

use super::write::Short;
use super::{Found, Key, PutError, Store};
use crate::index::{Full, Locked, mark};
use crate::limits::{INDEX_FULL_LOAD, INDEX_MOST_LOAD, MEMORY_TRIES_MAX, SLOT_TRIES_MAX};
use crate::memory::Location;
use crate::segment::Queue;
use crate::sharing::Sharing;

impl<S: Sharing> Store<S> {
    /// Looks whether there may be a slot for a new item of `key`, whose buckets are locked, and room in the index as a
    /// whole.
    ///
    /// The only shard of a store that evicts makes the index larger faster than it is filled. Of several, one may be
    /// stopped in the middle of a step while others add; and without eviction there may be no memory for more.
    #[inline(always)]
    pub(super) fn look_for_slot(
        &mut self,
        key: Key<'_>,
        locked: &Locked,
    ) -> Result<Result<(), PutError>, Short> {
        if !S::IS_SHARED && self.core.evicts {
            return Ok(Ok(()));
        }
        self.look_for_slot_with_care(key, locked)
    }

    #[inline(never)]
    fn look_for_slot_with_care(
        &mut self,
        key: Key<'_>,
        locked: &Locked,
    ) -> Result<Result<(), PutError>, Short> {
        let (items, evicts) = (self.items(), self.core.evicts);
        let (arena, hasher, index) = (&self.core.arena, &self.core.hasher, &self.core.index);
        let hash_of = |at| hasher.hash(arena.record(at).key());
        let is_full = index.is_too_full(items + 1, if evicts { INDEX_FULL_LOAD } else { INDEX_MOST_LOAD });
        let is_to_help = self.slot_tries == 0 && index.is_filling(items);
        if !is_full && !is_to_help && (!S::IS_SHARED || index.make_slot_for(locked, hash_of).is_ok()) {
            self.slot_tries = 0;
            return Ok(Ok(()));
        }
        self.slot_tries += 1;
        let tries_max = match index.is_moving() {
            false if !evicts && self.wanted_index_bytes() == 0 => 2,
            false if !evicts => MEMORY_TRIES_MAX,
            _ => SLOT_TRIES_MAX,
        };
        let is_waiting = index.is_moving() || index.wanted_len(items).is_some();
        if is_waiting && self.slot_tries < tries_max {
            return Err(Short::OfSlots);
        }
        if !is_waiting {
            // These two buckets are full, and no others.
            self.slot_tries = 0;
        }
        if is_full && !evicts {
            self.slot_tries = 0;
            self.counters().refused.add(1);
            return Ok(Err(PutError::NoMemory));
        }
        if is_full && is_waiting {
            // A shard that is stopped keeps the others from more slots, or from the memory for them.
            self.evict_weakest(key);
        }
        Ok(Ok(()))
    }

    #[inline(never)]
    pub(super) fn insert(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        location: Location,
    ) -> Result<(), PutError> {
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
                Err(Full) if self.core.evicts => self.evict_weakest(key),
                Err(Full) => {
                    self.counters().refused.add(1);
                    self.bury(location);
                    return Err(PutError::NoMemory);
                }
            }
        }
    }

    /// Both buckets of `key` are full beyond help: the item in them that is worth least goes.
    fn evict_weakest(&mut self, key: Key<'_>) {
        let slot = self.core.index.weakest(key.hash);
        if let Some(location) = self.core.index.location(slot) {
            self.evict(Found { slot, location });
        }
    }
}
