//! Buckets that are locked beside those of a key.

use super::Index;
use crate::sharing::Sharing;

/// Most buckets locked at once: that being moved, and for each of its items two that it may go to.
const HELD_MAX: usize = 24;

/// How often a lock is tried. It is never waited for: its holder may be waiting for one of ours.
const TRIES: usize = 32;

/// Locked buckets. Those that were taken are unlocked in the end, those that were given are not.
#[derive(Debug)]
pub(super) struct Held<'a, S: Sharing> {
    index: &'a Index<S>,
    positions: [usize; HELD_MAX],
    given: usize,
    len: usize,
    /// A lock could not be had.
    pub(super) was_refused: bool,
}

impl<'a, S: Sharing> Held<'a, S> {
    /// Begins with buckets that somebody else has locked and will unlock.
    pub(super) fn with(index: &'a Index<S>, given: &[usize]) -> Self {
        let mut positions = [0; HELD_MAX];
        positions[..given.len()].copy_from_slice(given);
        Self { index, positions, given: given.len(), len: given.len(), was_refused: false }
    }

    /// Locks the bucket at `position` where it is not held already.
    pub(super) fn take(&mut self, position: usize) -> bool {
        if !S::IS_SHARED || self.positions[..self.len].contains(&position) {
            return true;
        }
        let bucket = self.index.table.line(position);
        let is_ours = self.len < HELD_MAX && (0..TRIES).any(|_| bucket.try_lock());
        if is_ours {
            self.positions[self.len] = position;
            self.len += 1;
        }
        self.was_refused |= !is_ours;
        is_ours
    }

    /// How many are held, for [`Held::give_back`].
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Unlocks those taken since there were `len`.
    pub(super) fn give_back(&mut self, len: usize) {
        while self.len > len {
            self.len -= 1;
            self.index.table.line(self.positions[self.len]).unlock();
        }
    }
}

impl<S: Sharing> Drop for Held<'_, S> {
    fn drop(&mut self) {
        self.give_back(self.given);
    }
}
