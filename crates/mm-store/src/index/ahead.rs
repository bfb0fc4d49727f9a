//! Looking for keys ahead of the calls that are about them.

use super::{Index, Slot};
use crate::hash::KeyHash;
use crate::memory::Location;
use crate::narrow::to_u32;
use crate::sharing::Sharing;

/// What a look ahead has found out about a key: the positions of its two buckets, then the slot of its item. Whether
/// the item stands there later is to be looked up: its key is to be compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hint([u32; 2]);

impl Hint {
    /// Nothing: no table has such a position.
    pub(crate) const NONE: Self = Self([u32::MAX; 2]);

    #[inline]
    pub(super) const fn slot(self) -> Slot {
        let Self([position, number]) = self;
        Slot { position, number }
    }
}

impl<S: Sharing> Index<S> {
    /// Brings both buckets of `hash` near. The hint is for [`Index::look_ahead`].
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: KeyHash) -> Hint {
        let positions = self.positions(hash);
        positions.iter().for_each(|&position| self.table.prefetch(position));
        Hint(positions.map(to_u32))
    }

    /// The same for writing, where other shards may have them.
    #[inline(always)]
    pub(crate) fn prefetch_buckets_to_write(&self, hash: KeyHash) -> Hint {
        if !S::IS_SHARED {
            return self.prefetch(hash);
        }
        let positions = self.positions(hash);
        positions.iter().for_each(|&position| self.table.prefetch_to_write(position));
        Hint(positions.map(to_u32))
    }

    /// From the hint of [`Index::prefetch`]: a slot with the tag of `hash`, which nearly always is that of its item,
    /// and what stands in it.
    #[inline(always)]
    pub(crate) fn look_ahead(&self, hash: KeyHash, hint: Hint) -> Option<(Hint, Location)> {
        let tag = hash.tag();
        let Hint([first, second]) = hint;
        self.look_at(first, tag).or_else(|| self.look_at(second, tag))
    }

    /// Brings the bucket that a hint of [`Index::look_ahead`] leads to near for writing.
    #[inline(always)]
    pub(crate) fn prefetch_to_write(&self, hint: Hint) {
        self.table.prefetch_to_write(hint.slot().position());
    }

    #[inline(always)]
    fn look_at(&self, position: u32, tag: u16) -> Option<(Hint, Location)> {
        let bucket = self.table.get(position as usize)?;
        let number = bucket.slots_with(tag).trailing_zeros();
        let location = bucket.location_if_any(number as usize)?;
        Some((Hint([position, number]), Location::from_raw(location)?))
    }
}
