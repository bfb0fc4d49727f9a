//! Moving extents out of a segment that is being emptied.
//!
//! An extent may fill its segment, so it is copied over several writes. Until all of the copy is there nobody finds it:
//! one store of one word puts it in the place of the extent, so whoever reads the chain meanwhile reads either.

use super::fate::Fate;
use super::{Found, Store};
use crate::hash::KeyHash;
use crate::limits::{EVICTION_STEP_BYTES, MIN_EXTENT_BYTES};
use crate::memory::{Location, OpenRecord, SegmentId, flag};
use crate::segment::Queue;
use crate::sharing::Sharing;

/// An extent that is being copied to the end of a queue.
#[derive(Debug)]
pub(super) struct ExtentCopy {
    from: Location,
    queue: Queue,
    /// Bytes of it that are copied.
    copied: usize,
    /// The records of the copy, as many as the room made them.
    ends: Option<(Location, Location)>,
    /// The last of them while it is being filled, and how many of its bytes are.
    open: Option<(OpenRecord, usize)>,
}

impl<S: Sharing> Store<S> {
    /// Makes the extents of an item garbage, of which `next` is the first.
    #[cold]
    pub(super) fn bury_extents(&self, mut next: Option<Location>) {
        while let Some(location) = next {
            next = self.core.arena.record(location).next();
            self.bury_record(location);
        }
    }

    /// Begins to move an extent of the leaving segment behind its item, whose fate was decided when its own record's
    /// turn came. Only where that was passed by, because an upload holds its segment, it is decided here.
    pub(super) fn decide_extent(&mut self, location: Location) {
        let begins =
            self.with_owner(location, |store, found, hash| store.queue_of_extent(location, found, hash));
        if let Some(queue) = begins.flatten() {
            mm_base::mark!("extent moved");
            debug_assert!(self.extent.is_none(), "one that takes several steps is the last of its batch");
            self.extent = Some(ExtentCopy { from: location, queue, copied: 0, ends: None, open: None });
            self.go_on_with_extent();
        }
    }

    /// Calls `work` with the item of a live extent, whose buckets are locked.
    fn with_owner<T>(
        &mut self,
        location: Location,
        mut work: impl FnMut(&mut Self, Found, KeyHash) -> T,
    ) -> Option<T> {
        loop {
            let record = self.core.arena.record(location);
            // The memory of the owner of a dead one may be another record's by now.
            let owner = record.owner().filter(|_| record.flags() & flag::DEAD == 0)?;
            let hash = self.core.hasher.hash(self.core.arena.record(owner).key());
            let locked = self.core.index.lock(hash);
            let record = self.core.arena.record(location);
            // Until now another shard may have moved the owner, or removed both.
            let is_current = record.owner() == Some(owner);
            let is_live = is_current && record.flags() & flag::DEAD == 0;
            let slot = self.core.index.find(hash, |at| at == owner).filter(|_| is_live);
            let done = slot.map(|slot| work(self, Found { slot, location: owner }, hash));
            self.core.index.unlock(locked);
            if is_current {
                return done;
            }
        }
    }

    /// The queue that an extent moves to; `None` where its item goes.
    fn queue_of_extent(&mut self, location: Location, found: Found, hash: KeyHash) -> Option<Queue> {
        let segment = |at| self.core.segments.get(self.core.arena.segment_of(at));
        let queue = segment(found.location).queue();
        if self.leaving.compact || segment(found.location).sequence() >= segment(location).sequence() {
            return Some(queue);
        }
        match self.fate(found) {
            Fate::Reclaim => self.reclaim(found),
            Fate::Evict => self.evict_to_ghosts(found, hash),
            Fate::Move(queue, mark) => {
                self.core.index.set_mark(found.slot, mark);
                return Some(queue);
            }
        }
        None
    }

    /// Copies the next bytes of the extent that is being moved, [`EVICTION_STEP_BYTES`] at most. Returns how many bytes
    /// of it are done with by that.
    pub(super) fn go_on_with_extent(&mut self) -> usize {
        let left = self.left_of_extent();
        if let Some(copy) = self.extent.take() {
            self.copy_extent(copy);
        }
        left - self.left_of_extent()
    }

    /// Bytes of the extent that is being moved that are still to be copied.
    pub(super) fn left_of_extent(&self) -> usize {
        let left = |copy: &ExtentCopy| self.core.arena.record(copy.from).value().len() - copy.copied;
        self.extent.as_ref().map_or(0, left)
    }

    fn copy_extent(&mut self, mut copy: ExtentCopy) {
        let record = self.core.arena.record(copy.from);
        let len = record.value().len();
        let end = len.min(copy.copied + EVICTION_STEP_BYTES);
        let mut is_whole = record.flags() & flag::DEAD == 0;
        while is_whole && copy.copied < end {
            is_whole = copy.open.is_some() || self.open_copy(&mut copy, len);
            self.fill_copy(&mut copy, end);
        }
        if is_whole && end < len {
            self.extent = Some(copy);
            return;
        }
        if copy.copied < len {
            // Its item went, or goes now for want of room.
            self.with_owner(copy.from, |store, found, _| store.evict_or_stay(found));
            return self.give_up_copy(copy);
        }
        self.splice(copy);
    }

    /// Opens the next record of the copy of an extent of `len` bytes; false where there is no room.
    fn open_copy(&mut self, copy: &mut ExtentCopy, len: usize) -> bool {
        let Some(owner) = self.core.arena.record(copy.from).owner() else { return false };
        let place = self.place_of_copy(copy.from, copy.queue, self.core.arena.record(owner).expiry());
        let Some(segment) = self.room_for_copy(place, MIN_EXTENT_BYTES) else { return false };
        let len = (len - copy.copied).min(self.core.arena.extent_room(segment));
        let Some(open) = self.core.arena.append_extent(&mut self.writer, segment, len) else { return false };
        // As with an upload: the segment is not emptied before the record belongs to somebody.
        self.core.segments.get(segment).add_upload::<S>();
        let location = open.location();
        let first = copy.ends.map_or(location, |(first, last)| {
            self.core.arena.record(last).set_next(Some(location));
            first
        });
        copy.ends = Some((first, location));
        copy.open = Some((open, 0));
        true
    }

    /// Copies bytes up to `end` of the extent, as far as the open record has room.
    fn fill_copy(&mut self, copy: &mut ExtentCopy, end: usize) {
        let Some((mut open, filled)) = copy.open.take() else { return };
        let piece = (end - copy.copied).min(open.value_len() - filled);
        self.core.arena.copy_value(&mut open, filled, copy.from, copy.copied..copy.copied + piece);
        copy.copied += piece;
        self.count_moved_bytes(piece);
        if filled + piece == open.value_len() {
            self.core.arena.publish(open);
        } else {
            copy.open = Some((open, filled + piece));
        }
    }

    /// Puts a whole copy in the place of its extent, unless that went meanwhile.
    fn splice(&mut self, copy: ExtentCopy) {
        let Some((first, last)) = copy.ends else { return };
        let is_done = self.with_owner(copy.from, |store, found, _| {
            let arena = &store.core.arena;
            for at in store.chain(first) {
                arena.record(at).set_owner(found.location);
                // Who empties its segment from now on waits for the owner's buckets.
                store.release_copy(at);
            }
            let is_before = |&at: &Location| arena.record(at).next() == Some(copy.from);
            if let Some(previous) = store.chain(found.location).find(is_before) {
                arena.record(last).set_next(arena.record(copy.from).next());
                arena.record(previous).set_next(Some(first));
            }
            store.bury_record(copy.from);
            store.counters().moved.add(1);
        });
        if is_done.is_none() {
            self.give_up_copy(copy);
        }
    }

    /// Makes garbage of a copy that nobody needs.
    fn give_up_copy(&mut self, mut copy: ExtentCopy) {
        if let Some((open, _)) = copy.open.take() {
            self.core.arena.publish(open);
        }
        let Some((first, _)) = copy.ends else { return };
        for at in self.chain(first) {
            self.bury_record(at);
            self.release_copy(at);
        }
    }

    fn release_copy(&self, at: Location) {
        self.core.segments.get(self.core.arena.segment_of(at)).subtract_upload::<S>();
    }

    /// Nothing is being emptied any more. Returns what was.
    pub(super) fn end_leaving(&mut self) -> Option<SegmentId> {
        if let Some(copy) = self.extent.take() {
            self.give_up_copy(copy);
        }
        std::mem::take(&mut self.leaving).segment
    }
}
