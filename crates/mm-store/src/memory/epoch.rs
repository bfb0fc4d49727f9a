//! Epochs: when nobody can be reading any more what was taken out of the index.
//!
//! A shard that works on the store notes the epoch in which it began, and takes the note away when it rests. What
//! is retired gets the number of the epoch that ends with it; it is free when every shard rests or began in a later
//! one (Fraser, "Practical lock-freedom", 2004, section 5.2.3, with a note for each turn instead of each call).

use crate::primitive::{AtomicU64, Ordering, fence};
use crate::sharing::{Apart, Sharing, take_next};

/// Not working on the store.
const RESTING: u64 = 0;

/// The epochs of a store.
#[derive(Debug)]
pub(crate) struct Epochs {
    current: Apart<AtomicU64>,
    /// One for each shard.
    notes: Box<[Apart<AtomicU64>]>,
}

impl Epochs {
    pub(crate) fn new(shards: usize) -> Self {
        let notes = (0..shards).map(|_| Apart(AtomicU64::new(RESTING))).collect();
        Self { current: Apart(AtomicU64::new(1)), notes }
    }

    /// `shard` begins to work, or holds nothing any more of what it has read up to now.
    #[inline]
    pub(crate) fn enter(&self, shard: usize) {
        let epoch = self.current.load(Ordering::Acquire);
        self.notes[shard].store(epoch, Ordering::Release);
        // Either whoever retires something sees the note, or this shard sees that it is out of the index: one of the
        // two fences (the other is in `has_passed`) comes first.
        if !mm_base::canary!("reader without a fence", 1) {
            fence(Ordering::SeqCst);
        }
    }

    /// `shard` has stopped working, and holds nothing of what it has read.
    #[inline]
    pub(crate) fn rest(&self, shard: usize) {
        self.notes[shard].store(RESTING, Ordering::Release);
    }

    /// The epoch of something that was just taken out of the index.
    pub(super) fn retire<S: Sharing>(&self) -> u64 {
        take_next::<S>(&self.current)
    }

    /// Whether nobody can be reading what was retired in `epoch`.
    pub(super) fn has_passed(&self, epoch: u64) -> bool {
        fence(Ordering::SeqCst);
        self.notes.iter().all(|note| {
            let began = note.load(Ordering::Acquire);
            began == RESTING || began > epoch
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharing::Local;

    #[test]
    fn what_is_retired_is_kept_until_everyone_who_was_working_has_moved_on() {
        let epochs = Epochs::new(3);
        epochs.enter(0);
        epochs.enter(1);
        let epoch = epochs.retire::<Local>();
        assert!(!epochs.has_passed(epoch));
        epochs.enter(0);
        epochs.enter(2);
        assert!(!epochs.has_passed(epoch), "shard 1 still works");
        epochs.rest(1);
        assert!(epochs.has_passed(epoch), "2 began later");
    }
}
