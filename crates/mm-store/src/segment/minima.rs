//! Which segments have the least of something, without a look at all of them.
//!
//! Each segment has a key; above the keys stand the least of each 64, of each 4,096, and of each 262,144 of them.
//! Whoever has the lists of segments changes keys, so that a least is right at every moment; anybody may look.

use std::ops::Range;

use crate::primitive::{AtomicU64, Ordering};

/// Numbers that stand below one of the next level, as a power of two.
const FAN_POWER: usize = if cfg!(loom) { 1 } else { 6 };

/// Keys, and levels of minima above them.
const LEVELS: usize = 4;

/// The key of a segment that is not to be found.
pub(super) const NONE: u64 = u64::MAX;

/// Bytes for each segment; those of the levels above the keys are one in 63 of it.
pub(super) const KEY_BYTES: usize = size_of::<u64>();

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Minima([Box<[AtomicU64]>; LEVELS]);

impl Minima {
    /// `count` keys, all [`NONE`].
    pub(super) fn new(count: usize) -> Self {
        let level = |level: usize| {
            let cells = count.div_ceil(1 << (FAN_POWER * level));
            (0..cells).map(|_| AtomicU64::new(NONE)).collect()
        };
        Self(std::array::from_fn(level))
    }

    /// Changes a key. Nobody else changes one meanwhile.
    pub(super) fn set(&self, number: usize, key: u64) {
        let (mut below, mut was_below) = (key, NONE);
        for level in 0..LEVELS {
            let cell = &self.0[level][number >> (FAN_POWER * level)];
            let was = cell.load(Ordering::Relaxed);
            let now = match level {
                0 => key,
                _ if below <= was => below,
                _ if was_below == was => self.least_below(level, number),
                _ => was,
            };
            if now == was {
                return;
            }
            cell.store(now, Ordering::Release);
            (below, was_below) = (now, was);
        }
    }

    /// The least of what stands below the number of `level` that stands above `number`.
    fn least_below(&self, level: usize, number: usize) -> u64 {
        let cells = &self.0[level - 1];
        let first = number >> (FAN_POWER * level) << FAN_POWER;
        let some = &cells[first..cells.len().min(first + (1 << FAN_POWER))];
        some.iter().map(|cell| cell.load(Ordering::Acquire)).min().unwrap_or(NONE)
    }

    /// The least key.
    pub(super) fn least(&self) -> u64 {
        self.0[LEVELS - 1].iter().map(|cell| cell.load(Ordering::Acquire)).min().unwrap_or(NONE)
    }

    /// All whose key is at most `most`, from `first` on and then those before it. Keys that are changed meanwhile may
    /// be met or not.
    pub(super) fn at_most(&self, most: u64, first: usize) -> impl Iterator<Item = usize> {
        let count = self.0[0].len();
        self.among(first..count, most).chain(self.among(0..first.min(count), most))
    }

    fn among(&self, range: Range<usize>, most: u64) -> impl Iterator<Item = usize> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let found = self.next(at..range.end, most)?;
            at = found + 1;
            Some(found)
        })
    }

    fn next(&self, range: Range<usize>, most: u64) -> Option<usize> {
        let mut at = range.start;
        while at < range.end {
            let is_above =
                |level: &usize| self.0[*level][at >> (FAN_POWER * level)].load(Ordering::Acquire) > most;
            match (0..LEVELS).rev().find(is_above) {
                Some(level) => at = ((at >> (FAN_POWER * level)) + 1) << (FAN_POWER * level),
                None => return Some(at),
            }
        }
        None
    }

    /// Whether this is the key of `number`, and the minima above it are right.
    pub(super) fn is_right(&self, number: usize, key: u64) -> bool {
        let at = |level: usize| self.0[level][number >> (FAN_POWER * level)].load(Ordering::Acquire);
        at(0) == key && (1..LEVELS).all(|level| at(level) == self.least_below(level, number))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn minima_are_right_whatever_is_set() {
        let count = 3 * 4096 + 70;
        let minima = Minima::new(count);
        let (mut keys, mut state) = (vec![NONE; count], 7_u64);
        let mut choose = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..20_000 {
            let number = usize::try_from(choose(count as u64)).unwrap();
            let key = if choose(3) == 0 { NONE } else { choose(1000) };
            minima.set(number, key);
            keys[number] = key;
            assert!(minima.is_right(number, key), "round {round}");
            assert_eq!(minima.least(), keys.iter().copied().min().unwrap());
            if round % 100 == 0 {
                let (most, first) = (choose(1000), usize::try_from(choose(count as u64)).unwrap());
                let found: Vec<usize> = minima.at_most(most, first).collect();
                let is_it = |number: &usize| keys[*number] <= most;
                let expected: Vec<usize> = (first..count).chain(0..first).filter(is_it).collect();
                assert_eq!(found, expected, "at most {most} from {first}");
            }
        }
    }

    #[test]
    fn none_are_found_where_there_are_none() {
        let minima = Minima::new(100);
        assert_eq!((minima.least(), minima.at_most(NONE - 1, 50).next()), (NONE, None));
        minima.set(99, 5);
        assert_eq!((minima.at_most(5, 0).next(), minima.at_most(4, 99).next()), (Some(99), None));
        minima.set(99, NONE);
        assert_eq!(minima.least(), NONE);
    }
}
