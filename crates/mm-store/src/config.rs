//! Configuration, and the sizes that follow from it.

use crate::limits::{
    GENERATIONS_FROM_SEGMENTS, HUGE_PAGE_BYTES, HUGE_PAGES_FROM_BYTES, INLINE_MAX_BYTES, MAX_SEGMENT_BYTES,
    MIN_LIMIT_BYTES, MIN_SEGMENT_BYTES, MIN_SEGMENTS, RECORDS_PER_SEGMENT, RESERVE_SEGMENTS, ROOMY_SEGMENTS,
    SEGMENTS_PER_LIMIT, SHARD_SEGMENTS, TTL_GROUPS_FROM_SEGMENTS,
};
use crate::memory::Untouched;
use crate::narrow::to_u32;
use crate::segment::{GENERATIONS, QUEUES, SEGMENT_BOOK_BYTES, TTL_GROUPS};

/// What a store is to be like.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bound of the memory of items and index together, in bytes; at least
    /// [`MIN_LIMIT_BYTES`].
    pub limit_bytes: usize,
    /// Whether items may be evicted for new ones (memcached's `-M` turns it off).
    pub evict: bool,
    /// Seed of the hash of keys: a random number, so that nobody can choose keys that collide.
    pub hash_seed: u64,
    /// What is given memory that will be used soon, to have it populated by another thread; `None`: memory becomes
    /// resident when it is used.
    pub populate: Option<fn(Untouched)>,
}

impl Config {
    /// A store of `limit_bytes` that evicts, and populates no memory ahead.
    #[must_use]
    pub const fn new(limit_bytes: usize, hash_seed: u64) -> Self {
        Self { limit_bytes, evict: true, hash_seed, populate: None }
    }

    /// How many shards a store of this limit can have: 32 in the smallest one, and 256 or more from 8 MiB on.
    #[must_use]
    pub fn shards_max(&self) -> usize {
        let sizes = Sizes::new(self.limit_bytes, 1);
        sizes.limit_bytes / sizes.segment_bytes / SHARD_SEGMENTS
    }
}

/// Sizes that follow from the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) limit_bytes: usize,
    /// A power of two.
    pub(crate) segment_bytes: usize,
    /// A power of two from 4: with locations of 32 bits it bounds the memory that can be reached.
    pub(crate) granule_bytes: usize,
    /// What the limit can be raised to.
    pub(crate) reserved_bytes: usize,
    /// How many segments there is address space for.
    pub(crate) segments: u32,
    /// Largest record of an item.
    pub(crate) record_max_bytes: usize,
    /// How many items there is index for.
    pub(crate) items_max: usize,
    pub(crate) huge_pages: bool,
    /// How many groups of times to live have open segments of their own.
    pub(crate) ttl_groups: u32,
    /// How many generations of records have open segments of their own.
    pub(crate) generations: u8,
}

/// How many granules a location of 32 bits can tell apart.
const LOCATIONS: u64 = 1 << 32;

impl Sizes {
    /// Sizes with address space for `factor` times the limit, as far as locations reach.
    pub(crate) fn new(limit_bytes: usize, factor: usize) -> Self {
        let limit_bytes = limit_bytes.max(MIN_LIMIT_BYTES);
        let share = (limit_bytes / SEGMENTS_PER_LIMIT).max(1);
        let power = if share.is_power_of_two() { share } else { share.next_power_of_two() / 2 };
        let segment_bytes = power.clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
        let mut granule_bytes = 4;
        while (limit_bytes / granule_bytes) as u64 > LOCATIONS {
            granule_bytes *= 2;
        }
        // Locations of the first segment's worth of granules are not used. Where that would be the one too many, a
        // segment less is no loss: the index takes more than that.
        let addressable = LOCATIONS / segment_bytes as u64 * granule_bytes as u64 - 1;
        let reach = usize::try_from(LOCATIONS * granule_bytes as u64).unwrap_or(usize::MAX);
        let reserved_bytes = limit_bytes.saturating_mul(factor).min(reach).max(limit_bytes);
        let addressable = u32::try_from(addressable).unwrap_or(u32::MAX);
        let segments = to_u32(reserved_bytes / segment_bytes).min(addressable);
        // The smallest item is a key and a value of a byte or so, and eight bytes of index.
        let items_max = reserved_bytes / (granule_bytes.max(8) + 8);
        Self {
            limit_bytes,
            segment_bytes,
            granule_bytes,
            reserved_bytes,
            segments,
            record_max_bytes: (segment_bytes / RECORDS_PER_SEGMENT).min(INLINE_MAX_BYTES),
            items_max,
            huge_pages: limit_bytes >= HUGE_PAGES_FROM_BYTES,
            ttl_groups: if limit_bytes / segment_bytes < TTL_GROUPS_FROM_SEGMENTS {
                1
            } else {
                to_u32(TTL_GROUPS)
            },
            generations: 1,
        }
    }

    /// How much memory the first `bytes` of a table take: whole huge pages, where it has them.
    #[inline]
    pub(crate) const fn backed_bytes(&self, bytes: usize) -> usize {
        if self.huge_pages { bytes.next_multiple_of(HUGE_PAGE_BYTES) } else { bytes }
    }

    /// Bytes of a limit that are for no segment, however few items there are: the book-keeping of segments and, where
    /// tables have huge pages, one for the index and one for the ghosts.
    const fn least_beside_segments(&self) -> usize {
        let tables = if self.huge_pages { 2 * HUGE_PAGE_BYTES } else { 0 };
        tables + self.book_bytes()
    }

    /// Bytes of book-keeping for all segments.
    pub(crate) const fn book_bytes(&self) -> usize {
        self.segments as usize * SEGMENT_BOOK_BYTES
    }

    /// How many segments there are within a limit, where tables are as small as they can be.
    pub(crate) const fn segments_within(&self, limit_bytes: usize) -> usize {
        limit_bytes.saturating_sub(self.least_beside_segments()) >> self.segment_bytes.trailing_zeros()
    }

    /// The lowest limit in bytes that the limit can be set to where there are so many shards.
    pub(crate) fn least_limit(&self, shards: usize) -> usize {
        let for_shards = self.least_beside_segments() + SHARD_SEGMENTS * shards * self.segment_bytes;
        let least = MIN_LIMIT_BYTES.max(MIN_SEGMENTS * self.segment_bytes).max(for_shards);
        least.min(self.limit_bytes)
    }

    /// How many segments each of so many shards may have open within a limit. Together with the reserve that is half of
    /// all segments where there are [`ROOMY_SEGMENTS`] for each shard: the others can be emptied.
    pub(crate) const fn heads_each(&self, limit_bytes: usize, shards: usize) -> usize {
        match self.segments_within(limit_bytes) / 2 / shards {
            ..3 => 1,
            3 => QUEUES,
            share => share - RESERVE_SEGMENTS,
        }
    }

    /// How many segments are kept free for the survivors of evictions.
    pub(crate) const fn reserve(&self, limit_bytes: usize, shards: usize) -> usize {
        let segments = self.segments_within(limit_bytes);
        if segments >= ROOMY_SEGMENTS * shards {
            RESERVE_SEGMENTS * shards
        } else {
            segments / ROOMY_SEGMENTS
        }
    }

    /// The same for so many shards, each of which has open segments of its own.
    pub(crate) const fn shared_by(mut self, shards: usize) -> Self {
        if self.heads_each(self.limit_bytes, shards) < QUEUES * TTL_GROUPS {
            self.ttl_groups = 1;
        }
        if self.limit_bytes / self.segment_bytes / shards >= GENERATIONS_FROM_SEGMENTS {
            self.generations = GENERATIONS;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_scale_with_the_limit() {
        let segment = |mib: usize| Sizes::new(mib << 20, 1).segment_bytes;
        assert_eq!(
            [segment(1), segment(8), segment(64), segment(1024), segment(2048)],
            [16 << 10, 16 << 10, 128 << 10, 2 << 20, 2 << 20]
        );
    }

    /// There is no memory for this where an address has 32 bits.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn every_granule_has_a_location() {
        for gib in [1, 8, 15, 16, 17, 32, 64, 1024] {
            let sizes = Sizes::new(gib << 30, 4);
            let bytes = (sizes.segments as usize + 1) * sizes.segment_bytes;
            assert!(bytes / sizes.granule_bytes <= 1 << 32, "{gib} GiB");
        }
        assert_eq!(Sizes::new(16 << 30, 4).granule_bytes, 4);
        assert_eq!(Sizes::new(32 << 30, 1).granule_bytes, 8);
    }
}
