//! A few seeds, and that a seed is the same run each time. `cargo xtask sim --seeds M` runs more.

use mm_sim::{limits, run, run_shown};

#[test]
fn a_few_seeds_show_nothing_wrong() {
    for seed in 0..5 {
        match run(seed) {
            Ok(report) => {
                assert!(report.ops >= limits::OPS_MIN, "seed {seed}: {report:?}");
                assert!(report.fault_kinds >= limits::FAULT_KINDS_MIN, "seed {seed}: {report:?}");
            }
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [0, 7, 19] {
        assert_eq!(run(seed).unwrap(), run(seed).unwrap());
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(run(1).unwrap().digest, run(2).unwrap().digest);
}

#[test]
fn a_panic_names_its_seed() {
    let failure = run_shown(7, |line| panic!("shown: {} bytes", line.len().min(1))).unwrap_err();
    assert_eq!(failure.to_string(), "seed 7: a panic: shown: 1 bytes");
}
