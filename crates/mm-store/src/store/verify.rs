//! Checks of every invariant, for tests and simulation.

use super::Store;
use crate::hash::KeyHash;
use crate::memory::{Location, RecordKind, SegmentId, flag};
use crate::sharing::Sharing;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the store's invariant is broken: {}", self.0)
    }
}

impl std::error::Error for Broken {}

impl<S: Sharing> Store<S> {
    /// Whether a record is in no index: before it counts as dead it has to be, for its segment may be used again then.
    pub(super) fn is_found_nowhere(&self, location: Location) -> bool {
        let record = self.core.arena.record(location);
        let is_item = record.kind() == RecordKind::Item;
        !is_item || self.core.index.find(self.core.hasher.hash(record.key()), |at| at == location).is_none()
    }

    /// Walks the whole store and checks every invariant. Takes time in proportion to the memory. Handles that have not
    /// rested tell first what they know ([`Store::tell_dead`]).
    ///
    /// # Errors
    /// The first invariant found broken.
    pub fn verify(&self) -> Result<(), Broken> {
        self.verify_items()?;
        self.verify_limit()
    }

    /// The same, but not that memory is within the limit: a lower one is kept only after a while.
    ///
    /// # Errors
    /// The first invariant found broken.
    pub fn verify_items(&self) -> Result<(), Broken> {
        self.tell_dead();
        self.verify_index()?;
        self.core.segments.ids().try_for_each(|id| self.verify_segment(id))
    }

    /// Bytes of segments held by items that had expired by `before_s`: items still in the index, and garbage whose
    /// segment is not free again (of the latter all that was found up to now). Takes time in proportion to the memory.
    #[must_use]
    pub fn expired_bytes(&self, before_s: u32) -> usize {
        let mut bytes = self.garbage_of_expired();
        self.core.index.for_each(|_, _, location| {
            let expiry_s = self.core.arena.record(location).expiry();
            if expiry_s != 0 && expiry_s <= before_s {
                bytes += self
                    .chain(location)
                    .map(|at| self.core.arena.rounded(self.core.arena.record(at).bytes()))
                    .sum::<usize>();
            }
        });
        bytes
    }

    /// Every slot points to a live item of its hash, and their number is right.
    fn verify_index(&self) -> Result<(), Broken> {
        let (mut items, mut bytes, mut broken) = (0, 0, None);
        self.core.index.for_each(|slot, tag, location| {
            items += 1;
            bytes += self.item_bytes(location);
            let record = self.core.arena.record(location);
            let hash = self.core.hasher.hash(record.key());
            let looked_up = self.core.index.find(hash, |at| self.core.arena.record(at).key() == record.key());
            let wrong = if record.kind() == RecordKind::Extent {
                "a slot points to an extent"
            } else if record.flags() & flag::DEAD != 0 {
                "a slot points to garbage"
            } else if tag != hash.tag() || !self.core.index.belongs(slot, hash) {
                "an item stands where its hash does not belong"
            } else if looked_up != Some(slot) {
                "a key is in the index twice"
            } else {
                return;
            };
            broken = Some(Broken(format!("{wrong}: {slot:?}, {location:?}")));
        });
        match broken {
            Some(broken) => Err(broken),
            None if items != self.core.count_items() => {
                Err(Broken(format!("{items} slots are taken, {} are counted", self.core.count_items())))
            }
            None if bytes != self.core.counted().item_bytes => Err(Broken(format!(
                "items have {bytes} bytes, {} are counted",
                self.core.counted().item_bytes
            ))),
            None => Ok(()),
        }
    }

    /// The records of a segment are whole, and its live bytes are right. Every live item is in the index, every
    /// live extent in its item's chain; uploads under way are neither.
    fn verify_segment(&self, id: SegmentId) -> Result<(), Broken> {
        let segment = self.core.segments.get(id);
        let (mut at, mut live_bytes, mut strangers, mut early_bytes) = (0, 0, 0, 0);
        let has_records = segment.state().has_records();
        while has_records && let Some((location, record)) = self.core.arena.record_at(id, at) {
            let bytes = self.core.arena.rounded(record.bytes());
            at += bytes;
            if record.flags() & flag::DEAD != 0 {
                continue;
            }
            live_bytes += bytes;
            let is_known = match record.kind() {
                RecordKind::Item => {
                    let hash: KeyHash = self.core.hasher.hash(record.key());
                    self.core.index.find(hash, |item| item == location).is_some()
                }
                RecordKind::Extent => {
                    record.owner().is_some_and(|owner| self.chain(owner).any(|extent| extent == location))
                }
            };
            strangers += u32::from(!is_known);
            let is_early = record.expiry() < segment.sweep_at_s() && !segment.is_searched();
            if record.kind() == RecordKind::Item && record.expiry() != 0 && is_known && is_early {
                early_bytes += record.layout().value_at() + record.total_len();
            }
        }
        if has_records && at != self.core.arena.used(id) {
            return Err(Broken(format!(
                "the last record of {id:?} ends at {at}, not {}",
                self.core.arena.used(id)
            )));
        }
        if live_bytes != self.live_bytes(id) {
            return Err(Broken(format!(
                "{id:?} has {live_bytes} live bytes, counts {}",
                self.live_bytes(id)
            )));
        }
        let tolerated = 2 * self.tolerance().bytes as usize;
        if early_bytes > tolerated {
            return Err(Broken(format!(
                "{id:?} does not know of expiries: {early_bytes} bytes, {tolerated} may be"
            )));
        }
        if !self.core.segments.is_in_order(id) {
            return Err(Broken(format!("{id:?} is not found by what it is: {segment:?}")));
        }
        if strangers > segment.uploads() {
            return Err(Broken(format!("{id:?} has {strangers} records of nobody")));
        }
        Ok(())
    }

    /// Segments, index and ghosts are within the limit. Where nothing is evicted, items that fill a lower limit but for
    /// a tenth are above it: what is free lies between them.
    fn verify_limit(&self) -> Result<(), Broken> {
        let sizes = &self.core.sizes;
        let used = self.core.segments.resident() * sizes.segment_bytes
            + sizes.backed_bytes(self.core.index.bytes())
            + sizes.backed_bytes(self.core.ghosts.bytes());
        let is_filled = || !self.core.evicts && self.stats().item_bytes > self.stats().limit_bytes / 10 * 9;
        if used > self.core.limit_bytes() && !is_filled() {
            return Err(Broken(format!("{used} bytes are in use, the limit is {}", self.core.limit_bytes())));
        }
        Ok(())
    }
}
