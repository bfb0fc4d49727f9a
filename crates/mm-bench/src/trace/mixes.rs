//! Sizes and popularities for measurements of running servers.

use super::generate::builtin;
use super::generate::sizes::Sizes;
use super::number::{to_usize, whole};
use super::random::mix;
pub(crate) use super::random::{Random, Zipf};

/// Sizes of values, each key with its own.
#[derive(Debug)]
pub(crate) struct Mix {
    /// What tables call it.
    pub(crate) name: String,
    sizes: Sizes,
}

impl Mix {
    /// All of one size.
    pub(crate) fn fixed(size: usize) -> Self {
        Self { name: size.to_string(), sizes: Sizes::Fixed(size) }
    }

    /// Those of Meta's pools.
    pub(crate) fn meta() -> Vec<Self> {
        let named = |(name, sizes): (&str, Sizes)| Self { name: name.to_owned(), sizes };
        builtin::meta_sizes().into_iter().map(named).collect()
    }

    /// The length of a key's value.
    pub(crate) fn len(&self, key: u64) -> usize {
        if let Sizes::Fixed(size) = self.sizes {
            return size;
        }
        to_usize(whole(self.sizes.draw(&mut Random::new(mix(key)))))
    }
}
