//! Ghosts: fingerprints of keys that left the small queue, so that one that comes back soon is known.

use std::fs::File;
use std::io;

use crate::hash::KeyHash;
use crate::kept::{Reading, Refused, Writing};
use crate::limits::{DISCARD_STEP_LINES, SMALL_QUEUE_PERCENT};
use crate::memory::{GHOSTS, GhostLine, Ground, Table};
use crate::narrow::scale;
use crate::primitive::{AtomicUsize, Ordering};
use crate::sharing::{Exclusive, Sharing};

/// Bytes of a line.
const LINE_BYTES: usize = size_of::<GhostLine>();

/// The ghosts of a store, in cache lines that are overwritten in turn: the oldest goes first. Wrong hits are possible
/// (one in some two thousand), and harmless.
#[derive(Debug)]
pub(crate) struct Ghosts<S: Sharing> {
    table: Table<GhostLine>,
    len: AtomicUsize,
    /// Lines that may have memory.
    backed: AtomicUsize,
    /// Who has this may change both.
    fitter: S::Exclusive<()>,
}

impl<S: Sharing> Ghosts<S> {
    /// No ghosts, and address space for those of `max_items` items.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn new(max_items: usize, huge_pages: bool, ground: &mut Ground<'_>) -> io::Result<Self> {
        Ok(Self {
            table: Table::reserve(max_items.div_ceil(GHOSTS), huge_pages, ground)?,
            len: AtomicUsize::new(0),
            backed: AtomicUsize::new(0),
            fitter: S::Exclusive::new(()),
        })
    }

    /// Bytes of memory that may be in use.
    pub(crate) fn bytes(&self) -> usize {
        self.backed.load(Ordering::Relaxed) * LINE_BYTES
    }

    /// The same after [`Ghosts::fit`].
    pub(crate) fn bytes_to_fit(&self, items: usize) -> usize {
        self.backed.load(Ordering::Relaxed).max(self.len_for(items)) * LINE_BYTES
    }

    /// As many ghosts as the main queue has items (S3-FIFO, section 4.2), if that is much less or much more than now.
    fn len_for(&self, items: usize) -> usize {
        let in_main = items - items / 100 * SMALL_QUEUE_PERCENT;
        let wanted = in_main.div_ceil(GHOSTS).min(self.table.capacity());
        let len = self.len.load(Ordering::Relaxed);
        let fits = wanted <= len * 3 / 2 && wanted * 2 >= len;
        if fits { len } else { wanted }
    }

    /// Makes room for the ghosts of so many `items`, if there is much less or much more. Most ghosts are
    /// forgotten then, since they stand in the wrong line: a loss of some hits, seldom. What a shrink leaves behind is
    /// given back in steps, one a call.
    pub(crate) fn fit(&self, items: usize) {
        let Some(_fitter) = self.fitter.try_lock() else { return };
        let (len, mut backed) = (self.len_for(items), self.backed.load(Ordering::Relaxed));
        self.len.store(len, Ordering::Relaxed);
        if backed > len {
            let first = len.max((backed - 1) / DISCARD_STEP_LINES * DISCARD_STEP_LINES);
            self.table.discard(first, backed);
            backed = first;
        }
        self.backed.store(backed.max(len), Ordering::Relaxed);
    }

    /// Brings the line of a key near that is to be remembered or may be known.
    #[inline]
    pub(crate) fn prefetch(&self, hash: KeyHash) {
        let len = self.len.load(Ordering::Relaxed);
        if len != 0 {
            self.table.prefetch(scale(hash.second(), len));
        }
    }

    /// Remembers a key.
    pub(crate) fn add(&self, hash: KeyHash) {
        if let Some(line) = self.line(hash) {
            line.add(fingerprint(hash));
        }
    }

    /// Forgets a key. Returns about how many have been remembered after it; `None` where it is not known. A line tells
    /// the order of its own ghosts, so it is known to a 31st of what is remembered, give or take.
    pub(crate) fn take(&self, hash: KeyHash) -> Option<u64> {
        let since = self.line(hash)?.take(fingerprint(hash))?;
        Some(since as u64 * self.len.load(Ordering::Relaxed) as u64)
    }

    /// Writes down what there is besides the lines.
    pub(crate) fn save(&mut self, book: &mut Writing, digested: bool) {
        let backed = self.backed.load(Ordering::Relaxed);
        book.put(self.len.load(Ordering::Relaxed) as u64);
        book.put(backed as u64);
        book.put(if digested { self.table.digest(backed) } else { 0 });
    }

    /// Moves the lines to a file in which they begin at `start`; returns where they end there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn move_to(&mut self, file: &File, start: u64) -> io::Result<u64> {
        self.table.move_to(self.backed.load(Ordering::Relaxed), file, start)
    }

    /// Takes over lines that a store has left in the memory of this one.
    ///
    /// # Errors
    /// The lines are not those that were left.
    pub(crate) fn restore(&mut self, book: &mut Reading<'_>, digested: bool) -> Result<(), Refused> {
        let (len, backed) = (book.take_size()?, book.take_size()?);
        let digest = book.take()?;
        if len > backed || backed > self.table.capacity() {
            return Err(Refused::book());
        }
        if digested && self.table.digest(backed) != digest {
            return Err(Refused::memory());
        }
        self.table.clear_from(backed);
        self.len.store(len, Ordering::Relaxed);
        self.backed.store(backed, Ordering::Relaxed);
        Ok(())
    }

    fn line(&self, hash: KeyHash) -> Option<&GhostLine> {
        let len = self.len.load(Ordering::Relaxed);
        (len != 0).then(|| self.table.line(scale(hash.second(), len)))
    }
}

/// 16 bits of the hash that the position does not depend on alone; 0 is an empty place.
const fn fingerprint(hash: KeyHash) -> u16 {
    let bits = (hash.first() >> 48) as u16;
    if bits == 0 { 1 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharing::Local;

    fn hash(i: u64) -> KeyHash {
        KeyHash(
            (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9),
        )
    }

    #[test]
    fn a_ghost_is_found_once_and_the_oldest_go_first() {
        let ghosts = Ghosts::<Local>::new(20_000, false, &mut Ground::own()).unwrap();
        assert!(ghosts.take(hash(1)).is_none(), "without room nothing is remembered");
        ghosts.fit(10_000);
        (0..40_000).for_each(|i| ghosts.add(hash(i)));
        let recent = (38_000..40_000).filter(|&i| ghosts.take(hash(i)).is_some()).count();
        let old = (0..2_000).filter(|&i| ghosts.take(hash(i)).is_some()).count();
        assert!(recent > 1_950, "{recent} of the last 2,000");
        assert!(old < 50, "{old} of the first 2,000");
        assert!(ghosts.take(hash(39_999)).is_none(), "taken already");
    }

    #[test]
    fn a_ghost_tells_its_age() {
        let ghosts = Ghosts::<Local>::new(34_500, false, &mut Ground::own()).unwrap();
        ghosts.fit(34_500);
        (0..31_000).for_each(|i| ghosts.add(hash(i)));
        let mean_age = |first: u64| {
            let ages: Vec<u64> = (first..first + 1_000).filter_map(|i| ghosts.take(hash(i))).collect();
            ages.iter().sum::<u64>() / ages.len() as u64
        };
        for (first, expected) in [(30_000, 500), (20_000, 10_500), (10_000, 20_500)] {
            let mean = mean_age(first);
            assert!(mean.abs_diff(expected) < 1_500, "{mean} of those from {first} on");
        }
    }

    #[test]
    fn room_follows_the_items_and_goes_back_in_steps() {
        let ghosts = Ghosts::<Local>::new(4_000_000, false, &mut Ground::own()).unwrap();
        assert_eq!(ghosts.bytes(), 0);
        assert_eq!(ghosts.bytes_to_fit(3_100_000), 90_000 * LINE_BYTES);
        ghosts.fit(3_100_000);
        assert_eq!(ghosts.bytes(), 90_000 * LINE_BYTES);
        (0..1_000_000).for_each(|i| ghosts.add(hash(i)));
        let mut calls = 0;
        while ghosts.bytes() > 1_000 * LINE_BYTES {
            let before = ghosts.bytes();
            ghosts.fit(31_000);
            assert!(before - ghosts.bytes() <= DISCARD_STEP_LINES * LINE_BYTES, "in steps");
            calls += 1;
        }
        assert_eq!(calls, 3);
        ghosts.add(hash(1));
        assert!(ghosts.take(hash(1)).is_some());
    }
}
