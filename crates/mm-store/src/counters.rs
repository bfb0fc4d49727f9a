//! What each shard counts.

use crate::primitive::{AtomicU64, Ordering};
use crate::stats::Stats;

/// A number that one shard changes and all may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn subtract(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(by), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One shard's counters, in cache lines of their own. What several shards add to and take from (items, their bytes)
/// may be below zero in one of them; the sum is right.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) items: Counter,
    pub(crate) item_bytes: Counter,
    pub(crate) stored: Counter,
    pub(crate) evicted: Counter,
    pub(crate) evicted_unfetched: Counter,
    pub(crate) evicted_fetched: Counter,
    pub(crate) evicted_active: Counter,
    pub(crate) evicted_with_expiry: Counter,
    /// The second of the last eviction, above the seconds (32 bits) since that item was last used: of all shards the
    /// greatest is the latest.
    pub(crate) last_eviction: Counter,
    pub(crate) reclaimed: Counter,
    pub(crate) reclaimed_by_search: Counter,
    pub(crate) met_expired: Counter,
    pub(crate) met_flushed: Counter,
    pub(crate) expired_unfetched: Counter,
    pub(crate) moved: Counter,
    pub(crate) moved_bytes: Counter,
    pub(crate) examined: Counter,
    pub(crate) segments_examined: Counter,
    pub(crate) buckets_moved: Counter,
    pub(crate) segments_reused: Counter,
    pub(crate) refused: Counter,
    pub(crate) waited: Counter,
    /// Dead bytes of segments that were items which had expired.
    pub(crate) expired_bytes: Counter,
}

/// What a store has counted since its start or the last reset, for another one to go on from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) stats: Stats,
    /// [`Counters::last_eviction`] of all shards.
    pub(crate) last_eviction: u64,
}

impl Counters {
    /// Adds these counters to `stats`.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        stats.items = stats.items.wrapping_add(self.items.get());
        stats.item_bytes = stats.item_bytes.wrapping_add(self.item_bytes.get());
        for (sum, counter) in self.growing(stats) {
            *sum = sum.wrapping_add(counter.get());
        }
    }

    /// Goes on from what another store has counted, whose items, if this store has them, are not stored anew.
    pub(crate) fn go_on_from(&self, totals: Totals) {
        let Totals { mut stats, last_eviction } = totals;
        for (number, counter) in self.growing(&mut stats) {
            counter.set(*number);
        }
        self.last_eviction.set(last_eviction);
    }

    /// The counters that only grow, each beside its number in `stats`.
    fn growing<'a>(&'a self, stats: &'a mut Stats) -> [(&'a mut u64, &'a Counter); 19] {
        [
            (&mut stats.stored, &self.stored),
            (&mut stats.evicted, &self.evicted),
            (&mut stats.evicted_unfetched, &self.evicted_unfetched),
            (&mut stats.evicted_fetched, &self.evicted_fetched),
            (&mut stats.evicted_active, &self.evicted_active),
            (&mut stats.evicted_with_expiry, &self.evicted_with_expiry),
            (&mut stats.reclaimed, &self.reclaimed),
            (&mut stats.reclaimed_by_search, &self.reclaimed_by_search),
            (&mut stats.met_expired, &self.met_expired),
            (&mut stats.met_flushed, &self.met_flushed),
            (&mut stats.expired_unfetched, &self.expired_unfetched),
            (&mut stats.moved, &self.moved),
            (&mut stats.moved_bytes, &self.moved_bytes),
            (&mut stats.examined, &self.examined),
            (&mut stats.segments_examined, &self.segments_examined),
            (&mut stats.buckets_moved, &self.buckets_moved),
            (&mut stats.segments_reused, &self.segments_reused),
            (&mut stats.refused, &self.refused),
            (&mut stats.waited, &self.waited),
        ]
    }
}
