//! What all shards of a store share.

use std::io;

use crate::config::{Config, Sizes};
use crate::counters::{Counter, Counters, Totals};
use crate::ghosts::Ghosts;
use crate::hash::KeyHasher;
use crate::index::Index;
use crate::kept::Kept;
use crate::limits::{RESERVE_FACTOR, RESERVE_FROM_BYTES, RESERVE_SEGMENTS};
use crate::memory::{Arena, ArenaConfig, Ground, Untouched};
use crate::primitive::{AtomicU64, AtomicUsize, Ordering};
use crate::segment::Segments;
use crate::sharing::{Exclusive, Sharing};
use crate::stats::Stats;
use crate::whole::watch_panics;

/// What all shards of a store share.
#[derive(Debug)]
pub(super) struct Core<S: Sharing> {
    pub(super) sizes: Sizes,
    pub(super) evicts: bool,
    pub(super) populate: Option<fn(Untouched)>,
    pub(super) hasher: KeyHasher,
    pub(super) hash_seed: u64,
    pub(super) arena: Arena,
    pub(super) index: Index<S>,
    pub(super) segments: Segments<S>,
    pub(super) ghosts: Ghosts<S>,
    pub(super) limit_bytes: AtomicUsize,
    /// Items of segments opened before this are flushed; 0 where no flush is being worked off.
    pub(super) flushed_before: AtomicU64,
    /// What the index wants to grow to; segments make room for it. 0 where it does not wait.
    pub(super) wanted_index_bytes: AtomicUsize,
    /// One for each shard.
    pub(super) counters: Box<[Counters]>,
    /// Handles that nobody has, by their numbers.
    pub(super) idle: S::Exclusive<Vec<usize>>,
    /// What the counters were when they were last reset.
    pub(super) reset_at: S::Exclusive<Stats>,
    /// Memory that outlives the store.
    pub(super) kept: Option<Kept>,
}

impl<S: Sharing> Core<S> {
    pub(super) fn open(config: &Config, shards: usize) -> io::Result<Self> {
        if cfg!(target_pointer_width = "64") && config.limit_bytes >= RESERVE_FROM_BYTES {
            let reserving = Self::open_with(
                config,
                Sizes::new(config.limit_bytes, RESERVE_FACTOR),
                shards,
                &mut Ground::own(),
            );
            if reserving.is_ok() {
                return reserving;
            }
        }
        Self::open_with(config, Sizes::new(config.limit_bytes, 1), shards, &mut Ground::own())
    }

    pub(super) fn open_with(
        config: &Config,
        sizes: Sizes,
        shards: usize,
        ground: &mut Ground<'_>,
    ) -> io::Result<Self> {
        watch_panics();
        if shards > config.shards_max() {
            let why = format!(
                "a store of {} bytes can have {} shards, not {shards}: each has memory of its own to write to",
                config.limit_bytes,
                config.shards_max()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let sizes = sizes.shared_by(shards);
        let arena_config = ArenaConfig {
            segments: sizes.segments,
            segment_bytes: sizes.segment_bytes,
            granule_bytes: sizes.granule_bytes,
            huge_pages: sizes.huge_pages,
            shards,
        };
        let arena = Arena::new(arena_config, ground)?;
        Ok(Self {
            sizes,
            evicts: config.evict,
            populate: config.populate,
            hasher: KeyHasher::new(config.hash_seed),
            hash_seed: config.hash_seed,
            arena,
            index: Index::new(sizes.items_max, sizes.huge_pages, ground)?,
            segments: Segments::new(sizes.segments, sizes.segment_bytes),
            ghosts: Ghosts::new(sizes.items_max, sizes.huge_pages, ground)?,
            limit_bytes: AtomicUsize::new(sizes.limit_bytes),
            flushed_before: AtomicU64::new(0),
            wanted_index_bytes: AtomicUsize::new(0),
            counters: (0..shards).map(|_| Counters::default()).collect(),
            idle: S::Exclusive::new((0..shards).rev().collect()),
            reset_at: S::Exclusive::new(Stats::default()),
            kept: None,
        })
    }

    #[inline]
    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn flushed_before(&self) -> u64 {
        self.flushed_before.load(Ordering::Acquire)
    }

    /// The flush that began before `before` is worked off, unless there has been another one since.
    pub(super) fn end_flush(&self, before: u64) {
        if S::IS_SHARED {
            let _newer = self.flushed_before.compare_exchange(before, 0, Ordering::AcqRel, Ordering::Relaxed);
        } else {
            self.flushed_before.store(0, Ordering::Relaxed);
        }
    }

    /// The sum of all counters since the start.
    pub(super) fn counted(&self) -> Stats {
        let mut sum = Stats::default();
        self.counters.iter().for_each(|counters| counters.add_to(&mut sum));
        sum.items = not_below_zero(sum.items);
        sum.item_bytes = not_below_zero(sum.item_bytes);
        sum
    }

    /// What there is, and what has been counted since the last reset.
    pub(super) fn totals(&self) -> Totals {
        let last_eviction =
            self.counters.iter().map(|counters| counters.last_eviction.get()).max().unwrap_or(0);
        Totals { stats: self.counted().since(&self.reset_at.lock()), last_eviction }
    }

    /// How many items there are.
    pub(super) fn count_items(&self) -> usize {
        self.sum(|counters| &counters.items)
    }

    /// How many bytes their keys and values have.
    pub(super) fn count_item_bytes(&self) -> usize {
        self.sum(|counters| &counters.item_bytes)
    }

    #[expect(clippy::cast_possible_truncation, reason = "items are in memory")]
    fn sum(&self, counter: impl Fn(&Counters) -> &Counter) -> usize {
        let sum = self.counters.iter().fold(0_u64, |sum, shard| sum.wrapping_add(counter(shard).get()));
        not_below_zero(sum) as usize
    }

    /// Segments kept free for the survivors of evictions.
    #[inline]
    pub(super) fn reserve_segments(&self) -> usize {
        if !S::IS_SHARED {
            return RESERVE_SEGMENTS;
        }
        self.sizes.reserve(self.limit_bytes(), self.counters.len())
    }

    /// How many segments each shard may have open.
    pub(super) fn heads_each(&self) -> usize {
        self.sizes.heads_each(self.limit_bytes(), self.counters.len())
    }

    /// With fewer sealed segments than these, who needs one empties it at once: else shards might empty all that there
    /// are little by little, and some of them may have nothing to write for long.
    pub(super) fn least_sealed(&self) -> usize {
        self.counters.len().min(self.reserve_segments()) / 2
    }
}

/// A sum of what is there. While shards count, what one has removed may be seen before what another has added.
const fn not_below_zero(sum: u64) -> u64 {
    if sum > u64::MAX / 2 { 0 } else { sum }
}

#[cfg(all(test, feature = "smp", not(loom)))]
mod tests {
    use super::*;
    use crate::sharing::Shared;

    #[test]
    fn what_is_seen_removed_before_it_is_seen_added_counts_nothing() {
        let core = Core::<Shared>::open(&Config::new(1 << 20, 1), 2).unwrap();
        core.counters[0].items.subtract(1);
        core.counters[0].item_bytes.subtract(100);
        let counted = core.counted();
        assert_eq!((counted.items, counted.item_bytes, core.count_items()), (0, 0, 0));
        core.counters[1].items.add(3);
        core.counters[1].item_bytes.add(300);
        let counted = core.counted();
        assert_eq!((counted.items, counted.item_bytes, core.count_items()), (2, 200, 2));
    }
}
