//! What the commands have done, counted by shard.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one shard counts up and every shard may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one more. For the owning shard: a plain load and store, no locked instruction.
    #[inline]
    pub(crate) fn count(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again. A count of the owning shard at the same time may get lost or undo it, which is bearable for a
    /// statistic that somebody sets back by hand.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// One shard's counters, by memcached's names.
#[derive(Debug, Default)]
#[repr(align(128))] // no cache line is shared with another shard's
pub(crate) struct Counters {
    pub(crate) get_hits: Counter,
    pub(crate) get_misses: Counter,
    pub(crate) cmd_set: Counter,
    pub(crate) cmd_flush: Counter,
    pub(crate) cmd_meta: Counter,
    pub(crate) delete_hits: Counter,
    pub(crate) delete_misses: Counter,
    pub(crate) incr_hits: Counter,
    pub(crate) incr_misses: Counter,
    pub(crate) decr_hits: Counter,
    pub(crate) decr_misses: Counter,
    pub(crate) cas_hits: Counter,
    pub(crate) cas_misses: Counter,
    pub(crate) cas_badval: Counter,
    pub(crate) touch_hits: Counter,
    pub(crate) touch_misses: Counter,
    pub(crate) store_too_large: Counter,
    pub(crate) store_no_memory: Counter,
    /// How often an upload was put off because its memory was being populated.
    pub(crate) upload_waits: Counter,
}

impl Counters {
    /// Begins again.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.get_hits,
            &self.get_misses,
            &self.cmd_set,
            &self.cmd_flush,
            &self.cmd_meta,
            &self.delete_hits,
            &self.delete_misses,
            &self.incr_hits,
            &self.incr_misses,
            &self.decr_hits,
            &self.decr_misses,
            &self.cas_hits,
            &self.cas_misses,
            &self.cas_badval,
            &self.touch_hits,
            &self.touch_misses,
            &self.store_too_large,
            &self.store_no_memory,
        ] {
            counter.reset();
        }
    }
}
