//! What of the index's growth and shrink falls to each call: a little to each write, and more to what removes items,
//! for one write may remove dozens of them, and deletes come without any.

use std::cell::Cell;

use super::Store;
use crate::index::BUCKET_BYTES;
use crate::limits::{
    BUCKETS_FOR_REMOVALS_MAX, BUCKETS_PER_LARGE_REMOVAL, BUCKETS_PER_REMOVAL, BUCKETS_PER_WRITE,
    FITTING_SHARE, HELP_STEPS, MOVE_TRIES,
};
use crate::primitive::{Ordering, pause, yield_now};
use crate::sharing::Sharing;

/// How far a handle has gone with resizing.
#[derive(Debug)]
pub(super) struct Resizing {
    /// With about so many items the index needed no resize when that was last looked at.
    fitting_items: usize,
    /// Items removed that nothing was moved for yet.
    removed: Cell<usize>,
    /// Buckets to be moved for those before, because it was too much for the calls that removed them.
    owed: usize,
}

impl Default for Resizing {
    fn default() -> Self {
        Self { fitting_items: usize::MAX, removed: Cell::new(0), owed: 0 }
    }
}

impl Resizing {
    /// Has the index looked at by the next step.
    pub(super) const fn look(&mut self) {
        self.fitting_items = usize::MAX;
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
        let items = self.items();
        self.resizing.look();
        if self.core.index.is_moving() {
            let _moved = self.move_buckets(BUCKETS_PER_WRITE);
            if self.resizing.owed != 0 {
                // The call's upkeep comes to it.
                self.countdown = 0;
            }
        } else if let Some(len) = self.core.index.wanted_len(items) {
            self.begin_resize(len);
        } else if self.wanted_index_bytes() != 0 && self.core.index.has_room(items) {
            self.core.wanted_index_bytes.store(0, Ordering::Relaxed);
        } else if self.wanted_index_bytes() == 0 {
            self.resizing.fitting_items = items;
        }
    }

    /// Beside whatever may have removed items: a share of the resize by how many they were, so that the load stays
    /// above a bound. What is too much for one call falls to the next ones.
    #[inline]
    pub(super) fn follow_removals(&mut self) {
        if self.resizing.removed.get() != 0 || self.resizing.owed != 0 {
            self.follow_some_removals();
        }
    }

    #[inline(never)]
    fn follow_some_removals(&mut self) {
        let removed = self.resizing.removed.take();
        self.count_items(removed);
        if !self.core.index.is_moving() {
            self.resize_step();
        }
        if !self.core.index.is_moving() {
            self.resizing.owed = 0;
            return;
        }
        let due = self.resizing.owed.saturating_add(removed * BUCKETS_PER_REMOVAL);
        let most = BUCKETS_FOR_REMOVALS_MAX.max(removed * BUCKETS_PER_LARGE_REMOVAL);
        let due_now = due.min(most);
        let mut moved = self.move_buckets(due_now);
        // Where it only looks whether another shard is at it, that one would have to move what both remove.
        let mut tries = 0;
        while S::IS_SHARED && moved < due_now && tries < MOVE_TRIES && self.core.index.is_moving() {
            pause();
            let more = self.move_buckets(due_now - moved);
            tries = if more == 0 { tries + 1 } else { 0 };
            moved += more;
        }
        self.resizing.owed = due - moved;
    }

    /// There is no slot for a new item as long as the index does not grow: does a good part of that.
    pub(super) fn help_to_resize(&mut self) {
        self.writes_to_count = 0;
        self.count_items(1);
        for _ in 0..HELP_STEPS {
            self.resize_step();
        }
        yield_now();
    }

    /// Moves so many buckets, less where the resize ends or another shard is at it. Returns how many were moved.
    fn move_buckets(&mut self, most: usize) -> usize {
        for moved in 0..most {
            self.core.index.prefetch_step(|location| self.core.arena.prefetch(location));
            let (arena, hasher) = (&self.core.arena, &self.core.hasher);
            let Some(lost) = self.core.index.step(|at| hasher.hash(arena.record(at).key())) else {
                return moved;
            };
            self.counters().buckets_moved.add(1);
            for (location, mark) in lost.into_iter().flatten() {
                self.count_evicted(location, mark);
                self.counters().items.subtract(1);
                self.bury(location);
            }
        }
        most
    }

    /// Begins a resize as soon as the limit has room for the larger index; until then segments make room for it. A
    /// store that does not evict waits only where free segments are enough.
    fn begin_resize(&mut self, len: usize) {
        let bytes = len * BUCKET_BYTES;
        let reserve = self.core.reserve_segments();
        let to_spare = self.core.segments.free().saturating_sub(reserve);
        let resident = self.core.segments.resident();
        if !self.core.evicts && resident - to_spare > self.segments_beside(bytes.max(self.core.index.bytes()))
        {
            return;
        }
        self.core.wanted_index_bytes.store(bytes, Ordering::Relaxed);
        if self.has_surplus() {
            self.countdown = 0;
            self.give_back_surplus(reserve + usize::from(self.core.evicts));
        }
        if bytes <= self.core.index.bytes() || !self.has_surplus() {
            mm_base::mark!("index resized");
            self.core.index.begin_resize(len, || self.core.count_items());
            self.core.wanted_index_bytes.store(0, Ordering::Relaxed);
        }
    }
}
