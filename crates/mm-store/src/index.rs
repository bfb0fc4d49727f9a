//! The index: from a key's hash to the location of its item.
//!
//! Buckets of nine slots, two positions for each key (two-choice hashing with displacement). A position is the hash
//! scaled to the number of buckets, so the number can be anything; growth and shrink move a boundary through the
//! table bucket by bucket, in place: scaling is monotonic, so going down from the end (growth) or up from the start
//! (shrink) never meets a bucket that has still to be moved. Items on the one side of the boundary stand by the old
//! number of buckets, those on the other by the new one.

use std::io;

use crate::hash::KeyHash;
use crate::limits::{
    DISCARD_STEP_LINES, INDEX_GROW_LOAD, INDEX_ROOM_LOAD, INDEX_SHRINK_LOAD, INDEX_SHRUNK_LOAD, MIN_BUCKETS,
};
use crate::memory::{Bucket, Location, SLOTS, Table};
use crate::narrow::scale;

/// Bytes of a bucket.
pub(crate) const BUCKET_BYTES: usize = size_of::<Bucket>();

/// Bits of a slot's mark byte.
pub(crate) mod mark {
    /// How often the item was read lately, 0 to 3.
    pub(crate) const FREQUENCY: u8 = 3;
    /// The item was read since it was stored.
    pub(crate) const FETCHED: u8 = 1 << 2;
    /// A client has seen the item's CAS value, so the value must not change when the item moves.
    pub(crate) const CAS_SEEN: u8 = 1 << 3;
}

/// A slot of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    position: usize,
    number: usize,
}

/// No slot can be had for an insertion, not even by displacing others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Still,
    Growing,
    Shrinking,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Index {
    table: Table<Bucket>,
    len: usize,
    next_len: usize,
    /// Growing: buckets from here on are moved. Shrinking: buckets before this are moved.
    boundary: usize,
    direction: Direction,
    items: usize,
}

impl Index {
    /// An index with address space for `max_items` items.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn new(max_items: usize, huge_pages: bool) -> io::Result<Self> {
        let buckets = (max_items / SLOTS + 1).max(MIN_BUCKETS) * 10 / 7;
        let table = Table::reserve(buckets, huge_pages)?;
        let direction = Direction::Still;
        Ok(Self { table, len: MIN_BUCKETS, next_len: MIN_BUCKETS, boundary: 0, direction, items: 0 })
    }

    /// Number of items.
    pub(crate) const fn items(&self) -> usize {
        self.items
    }

    /// Bytes of memory that the buckets take, or will take when the step under way is done.
    pub(crate) fn bytes(&self) -> usize {
        self.len.max(self.next_len) * size_of::<Bucket>()
    }

    /// Number of buckets in use.
    pub(crate) fn buckets(&self) -> usize {
        self.len.max(self.next_len)
    }

    /// Whether a growth or shrink is under way.
    pub(crate) fn is_moving(&self) -> bool {
        self.direction != Direction::Still
    }

    #[inline]
    fn position(&self, scaled_from: u64) -> usize {
        let position = scale(scaled_from, self.len);
        let moved = match self.direction {
            Direction::Still => false,
            Direction::Growing => position >= self.boundary,
            Direction::Shrinking => position < self.boundary,
        };
        if moved { scale(scaled_from, self.next_len) } else { position }
    }

    #[inline]
    fn positions(&self, hash: KeyHash) -> [usize; 2] {
        [self.position(hash.first()), self.position(hash.second())]
    }

    /// Brings both buckets of `hash` near.
    #[inline]
    pub(crate) fn prefetch(&self, hash: KeyHash) {
        for position in self.positions(hash) {
            self.table.prefetch(position);
        }
    }

    /// Calls `visit` with each location that may be the item of `hash`, until it returns true; that slot is the result.
    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, mut visit: impl FnMut(Location) -> bool) -> Option<Slot> {
        let tag = hash.tag();
        for position in self.positions(hash) {
            let bucket = self.table.line(position);
            let mut hits = bucket.candidates(tag);
            while hits != 0 {
                let number = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                if let Some(location) = Location::from_raw(bucket.location(number))
                    && bucket.tag(number) == tag
                    && visit(location)
                {
                    return Some(Slot { position, number });
                }
            }
        }
        None
    }

    /// The location in `slot`.
    pub(crate) fn location(&self, slot: Slot) -> Option<Location> {
        Location::from_raw(self.table.line(slot.position).location(slot.number))
    }

    /// Points `slot` to another location of the same key.
    #[inline]
    pub(crate) fn set_location(&mut self, slot: Slot, location: Location) {
        self.table.line(slot.position).set_location(slot.number, location.raw());
    }

    /// The mark byte of `slot`.
    #[inline]
    pub(crate) fn mark(&self, slot: Slot) -> u8 {
        self.table.line(slot.position).mark(slot.number)
    }

    /// Sets the mark byte of `slot`.
    #[inline]
    pub(crate) fn set_mark(&self, slot: Slot, mark: u8) {
        self.table.line(slot.position).set_mark(slot.number, mark);
    }

    /// Empties `slot`.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.clear(slot);
        self.items -= 1;
    }

    fn clear(&self, slot: Slot) {
        let bucket = self.table.line(slot.position);
        bucket.set_tag(slot.number, 0);
        bucket.set_location(slot.number, 0);
        bucket.set_mark(slot.number, 0);
    }

    /// Adds an item whose key is not there yet. `hash_of` gives the hash of the key at a location.
    ///
    /// # Errors
    /// [`Full`] where neither bucket has a slot and nothing can be displaced; the caller then removes the item of one
    /// of [`Index::weakest`].
    pub(crate) fn insert(
        &mut self,
        hash: KeyHash,
        location: Location,
        mark: u8,
        hash_of: impl Fn(Location) -> KeyHash,
    ) -> Result<Slot, Full> {
        let slot = self.slot_for(hash, hash_of)?;
        self.fill(slot, (hash.tag(), location.raw(), mark));
        self.items += 1;
        Ok(slot)
    }

    fn fill(&self, slot: Slot, (tag, location, mark): (u16, u32, u8)) {
        let bucket = self.table.line(slot.position);
        bucket.set_location(slot.number, location);
        bucket.set_mark(slot.number, mark);
        bucket.set_tag(slot.number, tag);
    }

    /// An empty slot for `hash`: in the emptier of its two buckets, or by displacement.
    fn slot_for(&self, hash: KeyHash, hash_of: impl Fn(Location) -> KeyHash) -> Result<Slot, Full> {
        let [first, second] = self.positions(hash);
        let fuller_first = self.table.line(first).len() > self.table.line(second).len();
        let position = if fuller_first { second } else { first };
        if let Some(number) = self.table.line(position).empty_slot() {
            return Ok(Slot { position, number });
        }
        let by_one = self.displace(first, &hash_of).or_else(|| self.displace(second, &hash_of));
        by_one.or_else(|| self.displace_two(first, &hash_of)).ok_or(Full)
    }

    /// Moves one item of the full bucket at `position` to its other bucket, and returns the slot that became free.
    fn displace(&self, position: usize, hash_of: &impl Fn(Location) -> KeyHash) -> Option<Slot> {
        (0..SLOTS).map(|number| Slot { position, number }).find(|&slot| {
            let free = self.others(slot, hash_of).find_map(|other| {
                let number = self.table.line(other).empty_slot()?;
                Some(Slot { position: other, number })
            });
            free.is_some_and(|free| self.transfer(slot, free))
        })
    }

    /// Moves an item of the full bucket at `position` to its other bucket, from which one moves on.
    fn displace_two(&self, position: usize, hash_of: &impl Fn(Location) -> KeyHash) -> Option<Slot> {
        (0..SLOTS).map(|number| Slot { position, number }).find(|&slot| {
            let free = self.others(slot, hash_of).find_map(|other| self.displace(other, hash_of));
            free.is_some_and(|free| self.transfer(slot, free))
        })
    }

    /// Where else the item in `slot` may stand.
    fn others<H>(&self, slot: Slot, hash_of: &H) -> impl Iterator<Item = usize> + use<H>
    where
        H: Fn(Location) -> KeyHash,
    {
        let positions = self.location(slot).map(|location| self.positions(hash_of(location)));
        positions.into_iter().flatten().filter(move |&other| other != slot.position)
    }

    /// Moves what is in the slot `from` to the empty slot `to`.
    fn transfer(&self, from: Slot, to: Slot) -> bool {
        let bucket = self.table.line(from.position);
        self.fill(to, (bucket.tag(from.number), bucket.location(from.number), bucket.mark(from.number)));
        self.clear(from);
        true
    }

    /// The slot with the lowest frequency among those that `hash` could stand in.
    pub(crate) fn weakest(&self, hash: KeyHash) -> Slot {
        let slots = |position| (0..SLOTS).map(move |number| Slot { position, number });
        let [first, second] = self.positions(hash);
        let weakest = slots(first).chain(slots(second)).min_by_key(|&slot| self.mark(slot) & mark::FREQUENCY);
        weakest.unwrap_or(Slot { position: first, number: 0 })
    }

    /// Whether the load is well below that at which the index grows.
    pub(crate) const fn has_room(&self) -> bool {
        self.items * 100 < self.len * SLOTS * INDEX_ROOM_LOAD
    }

    /// How many buckets the index should have for its load, where that is not the number it has.
    pub(crate) fn wanted_len(&self) -> Option<usize> {
        let slots = self.len * SLOTS;
        if self.is_moving() {
            None
        } else if self.items * 100 > slots * INDEX_GROW_LOAD {
            let wanted = (self.len + (self.len / 5).max(MIN_BUCKETS)).min(self.table.capacity());
            (wanted > self.len).then_some(wanted)
        } else if self.items * 100 < slots * INDEX_SHRINK_LOAD && self.len > 4 * MIN_BUCKETS {
            let wanted = self.items * 100 / (SLOTS * INDEX_SHRUNK_LOAD);
            Some(wanted.clamp(self.len - self.len / 4, self.len - self.len / 12))
        } else {
            None
        }
    }

    /// Begins to grow or shrink to `len` buckets. [`Index::step`] does the work.
    pub(crate) fn begin_resize(&mut self, len: usize) {
        debug_assert!(!self.is_moving() && len != self.len, "one resize at a time");
        self.next_len = len;
        if len > self.len {
            (self.direction, self.boundary) = (Direction::Growing, self.len);
        } else {
            (self.direction, self.boundary) = (Direction::Shrinking, 0);
        }
    }

    /// Brings near the items of the bucket that the step after next will move.
    pub(crate) fn prefetch_step(&self, prefetch: impl Fn(Location)) {
        const AHEAD: usize = 2;
        let position = match self.direction {
            Direction::Still => return,
            Direction::Growing => self.boundary.saturating_sub(1 + AHEAD),
            Direction::Shrinking => (self.boundary + AHEAD).min(self.len - 1),
        };
        let bucket = self.table.line(position);
        (0..SLOTS).filter_map(|number| Location::from_raw(bucket.location(number))).for_each(prefetch);
    }

    /// Moves the next bucket's items to where the new number of buckets wants them. Returns locations and marks of
    /// items that found no slot and are no longer in the index (which takes more bad luck than a test has ever
    /// met).
    pub(crate) fn step(&mut self, hash_of: impl Fn(Location) -> KeyHash) -> [Option<(Location, u8)>; SLOTS] {
        let mut lost = [None; SLOTS];
        let position = match self.direction {
            Direction::Still => return lost,
            Direction::Growing => {
                self.boundary -= 1;
                self.boundary
            }
            Direction::Shrinking => {
                self.boundary += 1;
                self.boundary - 1
            }
        };
        let bucket = self.table.line(position);
        for (number, lost) in lost.iter_mut().enumerate() {
            let Some(location) = Location::from_raw(bucket.location(number)) else { continue };
            let hash = hash_of(location);
            let [first, second] = self.positions(hash);
            if first == position || second == position {
                continue;
            }
            // Buckets keep the order of hashes, so this target is near the last one, the item's other bucket is not.
            let target = if scale(hash.first(), self.len) == position { first } else { second };
            let contents = (bucket.tag(number), location.raw(), bucket.mark(number));
            self.clear(Slot { position, number });
            let near = self.table.line(target).empty_slot().map(|number| Slot { position: target, number });
            match near.map_or_else(|| self.slot_for(hash, &hash_of), Ok) {
                Ok(slot) => self.fill(slot, contents),
                Err(Full) => *lost = Some((location, contents.2)),
            }
        }
        self.items -= lost.iter().flatten().count();
        self.discard_passed();
        self.finish_resize();
        lost
    }

    /// While shrinking: gives back what the boundary has left behind of the table's end, piece by piece.
    fn discard_passed(&mut self) {
        let is_shrinking = self.direction == Direction::Shrinking;
        if is_shrinking && self.boundary.is_multiple_of(DISCARD_STEP_LINES) && self.boundary > self.next_len {
            let first = self.next_len.max(self.boundary - DISCARD_STEP_LINES);
            self.table.discard(first, self.boundary);
        }
    }

    fn finish_resize(&mut self) {
        let done = match self.direction {
            Direction::Still => false,
            Direction::Growing => self.boundary == 0,
            Direction::Shrinking => self.boundary == self.len,
        };
        if done {
            if self.next_len < self.len {
                let last = self.len / DISCARD_STEP_LINES * DISCARD_STEP_LINES;
                self.table.discard(self.next_len.max(last), self.len);
            }
            self.len = self.next_len;
            self.direction = Direction::Still;
        }
    }

    /// Calls `visit` with every taken slot, for checks.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Slot, u16, Location)) {
        for position in 0..self.buckets() {
            let bucket = self.table.line(position);
            for number in 0..SLOTS {
                let tag = bucket.tag(number);
                if let Some(location) = Location::from_raw(bucket.location(number)) {
                    visit(Slot { position, number }, tag, location);
                }
            }
        }
    }

    /// Whether an item of `hash` may stand in `slot`.
    pub(crate) fn belongs(&self, slot: Slot, hash: KeyHash) -> bool {
        self.positions(hash).contains(&slot.position)
    }
}
