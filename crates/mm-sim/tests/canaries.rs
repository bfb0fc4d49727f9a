//! Mistakes made on purpose are caught. Built with the feature `canaries` only: `cargo xtask sim --canary all` does it.

#![cfg(feature = "canaries")]

use mm_sim::{CANARIES, catch, run};

#[test]
fn every_mistake_is_caught() {
    for canary in CANARIES {
        assert!(catch(canary).is_some(), "nobody has noticed: {}", canary.name);
    }
}

#[test]
fn without_a_mistake_nothing_is_caught() {
    assert_eq!(run(0).map(|_report| ()), Ok(()));
}
