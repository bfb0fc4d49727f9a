//! `mm-sim`: runs seeds of the simulation and says which of them show that something is wrong.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

mod arguments;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arguments::{Arguments, USAGE, What};
use mm_sim::limits::{DEAD_S, DEAD_SHARE_MAX, GIVEN_UP_SHARE, MARK_MIN};
use mm_sim::{Canary, Failure, Hour, MIXES, Report, catch, hour, reached, run, run_shown};

/// Seeds from which on every marked path has to be reached.
const MARKS_FROM: u64 = 1000;

/// Seeds from which on it is shown how often.
const MARKS_SHOWN_FROM: u64 = 100;

/// Failing seeds after which the rest is not run.
const FAILURES_MAX: usize = 10;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => match &arguments.what {
            What::Seeds => seeds(&arguments),
            What::Canaries(mistakes) => canaries(mistakes),
            What::Hour => hours_of_all_mixes(),
        },
        Err(wrong) => {
            eprintln!("mm-sim: {wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Sums over all runs.
#[derive(Debug, Default)]
struct Total {
    runs: u64,
    ops: u64,
    ops_min: u64,
    kinds_min: usize,
    lost: u64,
    unknown: u64,
    searches: u64,
    given_up: u64,
    virtual_ms: u64,
}

impl Total {
    fn add(&mut self, report: &Report) {
        let first = self.runs == 0;
        self.ops_min = if first { report.ops } else { self.ops_min.min(report.ops) };
        self.kinds_min = if first { report.fault_kinds } else { self.kinds_min.min(report.fault_kinds) };
        self.runs += 1;
        self.ops += report.ops;
        self.lost += report.lost;
        self.unknown += report.unknown;
        self.searches += report.searches;
        self.given_up += report.given_up;
        self.virtual_ms += report.virtual_ms;
    }
}

fn seeds(arguments: &Arguments) -> ExitCode {
    let start = Instant::now();
    let progress = Mutex::new((Total::default(), Vec::new()));
    let (next, end) = (AtomicU64::new(arguments.first), arguments.first.saturating_add(arguments.count));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let ran = if arguments.show { run_shown(seed, |line| println!("{line}")) } else { run(seed) };
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let (total, failures) = &mut *progress;
            match ran {
                Ok(report) => {
                    if arguments.count == 1 {
                        println!("{report:?}");
                    }
                    total.add(&report);
                }
                Err(failure) => {
                    tell(&failure);
                    failures.push(failure.seed);
                }
            }
            let done = total.runs + failures.len() as u64;
            if done.is_multiple_of(100) && done < arguments.count {
                let (count, failed) = (arguments.count, failures.len());
                println!("{done} of {count} seeds, {failed} failed, {:.0?}", start.elapsed());
                // Progress that cannot be shown is no reason to stop.
                std::io::stdout().flush().ok();
            }
            if failures.len() == FAILURES_MAX && next.swap(end, Ordering::Relaxed) < end {
                println!("{FAILURES_MAX} seeds have failed, the rest is not run");
            }
        }
    };
    std::thread::scope(|scope| {
        (1..arguments.jobs.min(arguments.count)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let (total, failures) = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} seeds without a fault in {:.1?}: {} requests (at least {} a seed), at least {} kinds of fault a seed, {} \
         items lost to eviction, {} answers of which nothing certain was known, {} of {} searches for an order given \
         up, {:.1} hours of virtual time",
        total.runs,
        start.elapsed(),
        total.ops,
        total.ops_min,
        total.kinds_min,
        total.lost,
        total.unknown,
        total.given_up,
        total.searches,
        hours(total.virtual_ms),
    );
    let is_whole = arguments.count < MARKS_SHOWN_FROM || all_reached() || arguments.count < MARKS_FROM;
    let is_searched = total.given_up * GIVEN_UP_SHARE <= total.searches;
    if !is_searched {
        println!("too many searches were given up");
    }
    if failures.is_empty() && is_whole && is_searched {
        return ExitCode::SUCCESS;
    }
    if !failures.is_empty() {
        println!("{} seeds failed: {failures:?}", failures.len());
    }
    ExitCode::FAILURE
}

/// Shows how often each marked path was reached. False where one was too rarely.
fn all_reached() -> bool {
    let counts = reached();
    if counts.is_empty() {
        println!("built without the feature marks; `cargo xtask sim` builds with it");
        return false;
    }
    println!("{} rare paths, each to be reached at least {MARK_MIN} times:", counts.len());
    for (name, times, too_rarely) in &counts {
        println!("{times:>12}  {name}{}", if *too_rarely { "  TOO RARELY" } else { "" });
    }
    !counts.iter().any(|(_, _, too_rarely)| *too_rarely)
}

/// Makes mistakes on purpose.
fn canaries(mistakes: &[&Canary]) -> ExitCode {
    if !cfg!(feature = "canaries") {
        eprintln!("mm-sim: built without the feature canaries; `cargo xtask sim --canary` builds with it");
        return ExitCode::from(2);
    }
    let mut all_caught = true;
    for mistake in mistakes {
        let name = mistake.name;
        match catch(mistake) {
            Some(failure) => println!("CAUGHT {name}: {failure}"),
            None => {
                println!("NOT CAUGHT {name}");
                all_caught = false;
            }
        }
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Hours of items of all ages, on a store of one shard and on one of several.
fn hours_of_all_mixes() -> ExitCode {
    let (mut most, mut all_within) = (0, true);
    for (mix, shared) in MIXES.iter().flat_map(|mix| [(mix, false), (mix, true)]) {
        let store = if shared { "shared" } else { "local" };
        match hour(mix, shared, 1) {
            Err(wrong) => {
                println!("FAILED {}, {store}: {wrong}", mix.name);
                all_within = false;
            }
            Ok(hour) => {
                let Hour { samples, above, most_at_s, stored, reclaimed, evicted, .. } = hour;
                println!(
                    "{:>5.1} %  {}, {store}: at {most_at_s} s, {above} of {samples} samples above; {stored} stored, \
                     {reclaimed} reclaimed, {evicted} evicted",
                    percent(hour.most),
                    mix.name,
                );
                most = most.max(hour.most);
                // Where nothing was stored, or nothing was to go, nothing was looked at.
                all_within &= above == 0 && samples > 0 && stored > 0 && reclaimed + evicted > 0;
            }
        }
        std::io::stdout().flush().ok();
    }
    println!(
        "at most {:.1} % of the memory were held by items dead for {DEAD_S} s; {:.1} % may be",
        percent(most),
        percent(DEAD_SHARE_MAX)
    );
    if all_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Thousandths as percents.
fn percent(thousandths: u64) -> f64 {
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 10.0
}

fn tell(failure: &Failure) {
    println!("FAILED {failure}");
    println!("    to see it again: cargo xtask sim --seed {}", failure.seed);
}

fn hours(ms: u64) -> f64 {
    let minutes = u32::try_from(ms / 60_000).unwrap_or(u32::MAX);
    f64::from(minutes) / 60.0
}
