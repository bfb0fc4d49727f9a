//! Hashing of keys.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline};

/// A key's hash under the store's seed. Index positions and tag are taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyHash(pub(crate) u64);

impl KeyHash {
    /// The tag that an index slot keeps, at least 2: 0 marks an empty slot, and without 1 the bucket's search for
    /// empty slots has no false hits.
    #[inline]
    pub(crate) const fn tag(self) -> u16 {
        let tag = (self.0 & 0xffff) as u16;
        if tag < 2 { tag + 2 } else { tag }
    }

    /// What the first of the key's two positions is taken from, by its upper bits.
    #[inline]
    pub(crate) const fn first(self) -> u64 {
        self.0
    }

    /// What the second position is taken from. The product's upper bits depend on every bit of the hash.
    #[inline]
    pub(crate) const fn second(self) -> u64 {
        self.0.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The store's hash function with its seed, so that nobody outside can choose keys that collide.
#[derive(Debug, Clone)]
pub(crate) struct KeyHasher {
    secrets: RapidSecrets,
}

impl KeyHasher {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { secrets: RapidSecrets::seed(seed) }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(rapidhash_v3_nano_inline::<true, false>(key, &self.secrets))
    }
}
