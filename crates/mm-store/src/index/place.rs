//! Slots for new items, by displacing others where both buckets are full.

use super::geometry::Geometry;
use super::held::Held;
use super::{Contents, Full, Index, Locked, Slot, mark};
use crate::hash::KeyHash;
use crate::memory::{Location, SLOTS};
use crate::sharing::Sharing;

/// The bucket that is being moved, and the geometry when it is.
type Step = (usize, Geometry);

/// How often an insertion looks for a slot again because another shard had a bucket that it needed.
const INSERT_TRIES: usize = 16;

impl<S: Sharing> Index<S> {
    /// Adds an item whose key is not there yet and whose buckets are locked. `hash_of` gives the hash of the key at a
    /// location.
    ///
    /// # Errors
    /// [`Full`] where neither bucket has a slot and nothing can be displaced; the caller then removes the item of
    /// [`Index::weakest`].
    pub(crate) fn insert(
        &self,
        locked: &Locked,
        hash: KeyHash,
        location: Location,
        hash_of: impl Fn(Location) -> KeyHash,
    ) -> Result<Slot, Full> {
        let positions = if S::IS_SHARED { locked.positions } else { self.positions(hash) };
        let slot = self.slot_in(positions, &hash_of)?;
        self.fill(slot, Contents { tag: hash.tag(), location: location.raw(), mark: 0, is_seen: false });
        Ok(slot)
    }

    /// Sees to it that there is an empty slot in the locked buckets of a key.
    ///
    /// # Errors
    /// [`Full`] where nothing can be displaced.
    pub(crate) fn make_slot_for(
        &self,
        locked: &Locked,
        hash_of: impl Fn(Location) -> KeyHash,
    ) -> Result<(), Full> {
        self.slot_in(locked.positions, &hash_of).map(|_| ())
    }

    /// An empty slot in one of two locked buckets: the emptier one, or one that an item can be moved out of.
    fn slot_in(&self, positions: [usize; 2], hash_of: &impl Fn(Location) -> KeyHash) -> Result<Slot, Full> {
        let [first, second] = positions;
        let fuller_first = self.table.line(first).len() > self.table.line(second).len();
        let position = if fuller_first { second } else { first };
        if let Some(slot) = self.empty_slot(position) {
            return Ok(slot);
        }
        for _ in 0..INSERT_TRIES {
            let mut held = Held::with(self, &positions);
            if let Some(slot) = self.make_slot(positions, &mut held, None, hash_of) {
                return Ok(slot);
            }
            if !held.was_refused {
                return Err(Full { was_busy: false });
            }
        }
        Err(Full { was_busy: true })
    }

    pub(super) fn empty_slot(&self, position: usize) -> Option<Slot> {
        self.table.line(position).empty_slot().map(|number| Slot::new(position, number))
    }

    /// A slot in one of two full buckets, which are held, that an item was moved out of. While a bucket is moved
    /// (`next`), the item stands right by the geometry after it too.
    pub(super) fn make_slot(
        &self,
        [first, second]: [usize; 2],
        held: &mut Held<'_, S>,
        next: Option<Step>,
        hash_of: &impl Fn(Location) -> KeyHash,
    ) -> Option<Slot> {
        self.displace(first, held, next, hash_of)
            .or_else(|| self.displace(second, held, next, hash_of))
            .or_else(|| self.displace_two(first, held, next, hash_of))
            .or_else(|| self.displace_two(second, held, next, hash_of))
    }

    /// Moves one item of the full bucket at `position` to its other bucket, and returns the slot that became free.
    fn displace(
        &self,
        position: usize,
        held: &mut Held<'_, S>,
        next: Option<Step>,
        hash_of: &impl Fn(Location) -> KeyHash,
    ) -> Option<Slot> {
        (0..SLOTS).map(|number| Slot::new(position, number)).find(|&slot| {
            let others = self.others(slot, hash_of);
            others.into_iter().flatten().any(|(other, hash)| {
                let before = held.len();
                let free = self.take_other(slot, (other, hash), held, next).then(|| self.empty_slot(other));
                let is_moved = free.flatten().is_some_and(|free| self.transfer(slot, free));
                held.give_back(before);
                is_moved
            })
        })
    }

    /// Moves an item of the full bucket at `position` to its other bucket, from which one moves on.
    fn displace_two(
        &self,
        position: usize,
        held: &mut Held<'_, S>,
        next: Option<Step>,
        hash_of: &impl Fn(Location) -> KeyHash,
    ) -> Option<Slot> {
        (0..SLOTS).map(|number| Slot::new(position, number)).find(|&slot| {
            let others = self.others(slot, hash_of);
            others.into_iter().flatten().any(|(other, hash)| {
                let before = held.len();
                let is_taken = self.take_other(slot, (other, hash), held, next);
                let free = if is_taken { self.displace(other, held, next, hash_of) } else { None };
                let is_moved = free.is_some_and(|free| self.transfer(slot, free));
                held.give_back(before);
                is_moved
            })
        })
    }

    /// Where else the item in `slot`, whose bucket is held, may stand.
    fn others(&self, slot: Slot, hash_of: &impl Fn(Location) -> KeyHash) -> [Option<(usize, KeyHash)>; 2] {
        let Some(location) = self.location(slot) else { return [None; 2] };
        let hash = hash_of(location);
        self.positions(hash).map(|other| (other != slot.position()).then_some((other, hash)))
    }

    /// Locks the other bucket of an item. False where that cannot be had, or the item does not belong there any more.
    fn take_other(
        &self,
        slot: Slot,
        (other, hash): (usize, KeyHash),
        held: &mut Held<'_, S>,
        next: Option<Step>,
    ) -> bool {
        if !held.take(other) {
            return false;
        }
        let belongs = |geometry: Geometry| {
            let positions = geometry.positions(hash);
            positions.contains(&other) && positions.contains(&slot.position())
        };
        let now = self.layout.load::<S>();
        // What may stand in the bucket being moved may be on its way already.
        belongs(now)
            && next.is_none_or(|(moved, next)| belongs(next) && !now.positions(hash).contains(&moved))
    }

    /// Moves what is in the slot `from` to the empty slot `to`. Both buckets are held.
    pub(super) fn transfer(&self, from: Slot, to: Slot) -> bool {
        let contents = self.contents(from);
        self.fill(to, contents);
        self.count_move(contents.tag);
        self.remove(from);
        true
    }

    /// The item with the lowest frequency of those in the buckets of `hash`, which are locked: its slot, and where it
    /// is. `None` where both are empty.
    pub(crate) fn weakest(&self, hash: KeyHash) -> Option<(Slot, Location)> {
        let slots = |position| (0..SLOTS).map(move |number| Slot::new(position, number));
        let [first, second] = self.positions(hash);
        let items = slots(first)
            .chain(slots(second))
            .filter_map(|slot| self.location(slot).map(|location| (slot, location)));
        items.min_by_key(|&(slot, _)| self.mark(slot) & mark::FREQUENCY)
    }
}
