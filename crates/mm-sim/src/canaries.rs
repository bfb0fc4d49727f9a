//! Mistakes made on purpose, each of which has to be caught.

use std::panic::catch_unwind;

use mm_base::canary;

use crate::limits::CANARY_SEEDS;
use crate::{Failure, run};

/// The mistakes: what each is called in the code.
pub const CANARIES: &[&str] = &[
    "lost wake-up",
    "dropped byte",
    "stale read",
    "leaked buffer",
    "pin ignored",
    "expired item served",
    "connection closed for nothing",
    "eviction not counted",
];

/// Runs seeds with a mistake built in until one shows it. `None`: none did. Without the feature `canaries` no mistake
/// is made.
#[must_use]
pub fn catch(name: &'static str) -> Option<Failure> {
    canary::choose(Some(name));
    let caught = (0..CANARY_SEEDS).find_map(|seed| {
        canary::choose(Some(name));
        // What a mistake makes break may break by a panic, too.
        let ran = catch_unwind(|| run(seed));
        ran.unwrap_or_else(|_| Err(Failure { seed, what: "a panic".to_owned() })).err()
    });
    canary::choose(None);
    caught
}
