//! Ghosts: fingerprints of keys that left the small queue, so that one that comes back soon is known.

use crate::hash::KeyHash;
use crate::narrow::{scale, to_u16};

/// Fingerprints in a bucket. With the bucket's cursor they fill a cache line.
const GHOSTS_PER_BUCKET: usize = 31;

/// A cache line of fingerprints, overwritten in turn: the oldest goes first.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Bucket {
    fingerprints: [u16; GHOSTS_PER_BUCKET],
    cursor: u16,
}

impl Bucket {
    const EMPTY: Self = Self { fingerprints: [0; GHOSTS_PER_BUCKET], cursor: 0 };
}

/// The ghosts of a store. Wrong hits are possible (one in some two thousand), and harmless.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    buckets: Vec<Bucket>,
}

impl Ghosts {
    const fn buckets_for(items: usize) -> usize {
        items.div_ceil(GHOSTS_PER_BUCKET)
    }

    /// Bytes in use.
    pub(crate) const fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    /// Makes room for as many ghosts as there are `items`, if there is much less or much more. Ghosts are forgotten
    /// then: a loss of some hits, seldom.
    pub(crate) fn fit(&mut self, items: usize) {
        let wanted = Self::buckets_for(items);
        if wanted > self.buckets.len() * 3 / 2 || wanted * 2 < self.buckets.len() {
            self.buckets = vec![Bucket::EMPTY; wanted];
        }
    }

    /// Remembers a key.
    pub(crate) fn add(&mut self, hash: KeyHash) {
        let (fingerprint, Some(bucket)) = (fingerprint(hash), self.bucket(hash)) else { return };
        let at = usize::from(bucket.cursor) % GHOSTS_PER_BUCKET;
        bucket.fingerprints[at] = fingerprint;
        bucket.cursor = to_u16(at + 1);
    }

    /// Whether a key is remembered. It is forgotten by that.
    pub(crate) fn take(&mut self, hash: KeyHash) -> bool {
        let (fingerprint, Some(bucket)) = (fingerprint(hash), self.bucket(hash)) else { return false };
        let Some(at) = bucket.fingerprints.iter().position(|&ghost| ghost == fingerprint) else {
            return false;
        };
        bucket.fingerprints[at] = 0;
        true
    }

    fn bucket(&mut self, hash: KeyHash) -> Option<&mut Bucket> {
        let position = scale(hash.second(), self.buckets.len());
        self.buckets.get_mut(position)
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

    fn hash(i: u64) -> KeyHash {
        KeyHash(
            (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9),
        )
    }

    #[test]
    fn a_ghost_is_found_once_and_the_oldest_go_first() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.take(hash(1)), "without room nothing is remembered");
        ghosts.fit(10_000);
        (0..40_000).for_each(|i| ghosts.add(hash(i)));
        let recent = (38_000..40_000).filter(|&i| ghosts.take(hash(i))).count();
        let old = (0..2_000).filter(|&i| ghosts.take(hash(i))).count();
        assert!(recent > 1_950, "{recent} of the last 2,000");
        assert!(old < 50, "{old} of the first 2,000");
        assert!(!ghosts.take(hash(39_999)), "taken already");
    }
}
