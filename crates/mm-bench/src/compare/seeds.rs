//! Which keys servers are loaded with: whenever they are loaded, others.
//!
//! The same seed gives the same keys in the same order. A cache that was written to in that order finds itself in a
//! loop: where memory does not suffice, what was evicted comes back as one that has been evicted before, and what is
//! stored lies in the order in which it is overwritten. So what a pass has written would change what the next one
//! costs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds, each given once.
#[derive(Debug)]
pub(super) struct Seeds(AtomicU64);

impl Seeds {
    /// None given yet.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    /// The next one: the servers that are compared with it are asked for the same keys.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// One that differs in each round.
pub(super) fn of_round(seed: u64, round: usize) -> u64 {
    seed | (round as u64) << u32::BITS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_loads_have_the_same_seed() {
        let seeds = Seeds::new();
        let mut given = HashSet::new();
        for _ in 0..100 {
            let seed = seeds.next();
            assert!((0..=20).all(|round| given.insert(of_round(seed, round))));
        }
    }
}
