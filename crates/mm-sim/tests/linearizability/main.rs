//! One store and several threads: what they are answered can have happened one request after the other.
//!
//! Threads ask for a few keys while others make the index grow and shrink and segments be emptied. Where the store does
//! not evict, nothing may be missing; where it does, an item may be gone at any time, but must not come back.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test")]

mod history;
mod requests;
mod service;
mod store;

use history::{Histories, KEYS};
use mm_sim::linear::{check, key};
use mm_store::{Config, StoreHandles};

/// Threads whose requests are checked.
const CLIENTS: usize = 3;

/// Threads that store and delete other keys meanwhile.
const CROWD: usize = 1;

/// A store of this many shards, and whether it evicts.
fn open(evict: bool) -> StoreHandles {
    let limit_bytes = if evict { 1 << 20 } else { 4 << 20 };
    // One handle more is for a look at everything in the end.
    StoreHandles::open(&Config { evict, ..Config::new(limit_bytes, 3) }, CLIENTS + CROWD + 1).unwrap()
}

/// A seed: that of the environment, or another one each time.
fn seed() -> u64 {
    let given = std::env::var("LINEAR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_nanos() & 0xffff_ffff).unwrap()
    });
    eprintln!("LINEAR_SEED={seed}");
    seed
}

/// Checks what was answered about each key.
fn explain(histories: &Histories, may_vanish: bool) -> Result<(), String> {
    for (key, history) in histories.keys.iter().enumerate() {
        check(&key::Key { may_vanish }, history).map_err(|violation| format!("key {key}: {violation}"))?;
    }
    Ok(())
}

fn rounds(evict: bool, mut round: impl FnMut(&StoreHandles, u64) -> Histories) {
    let seed = seed();
    for number in 0..history::ROUNDS {
        let handles = open(evict);
        let histories = round(&handles, seed.wrapping_add(number));
        if let Err(why) = explain(&histories, evict) {
            panic!("seed {seed}, round {number}: {why}");
        }
        assert!(histories.keys.iter().all(|history| history.len() > 100), "{KEYS} keys are asked for");
        let mut last = handles.take().unwrap();
        while last.maintain(1 << 12, 1) {}
        last.verify().unwrap();
    }
}

#[test]
fn a_store_that_does_not_evict() {
    rounds(false, store::round);
}

#[test]
fn a_store_that_evicts() {
    rounds(true, store::round);
}

#[test]
fn the_service_over_a_store_that_does_not_evict() {
    rounds(false, service::round);
}

#[test]
fn the_service_over_a_store_that_evicts() {
    rounds(true, service::round);
}

/// Mistakes made on purpose show in what is answered. Built with the feature `canaries` only.
#[cfg(feature = "canaries")]
#[test]
fn a_mistake_is_caught() {
    let handles = open(false);
    let mistaken = store::mistaken_round(&handles, seed(), "stale read");
    assert!(explain(&mistaken, false).is_err(), "values were not stored, and nobody has noticed");
}
