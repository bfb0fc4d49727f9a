//! `mm-sim`: runs seeds of the simulation and says which of them show that something is wrong.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

mod arguments;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use arguments::{Arguments, USAGE, What};
use mm_sim::limits::{DEAD_S, DEAD_SHARE_MAX, MARK_MIN};
use mm_sim::{Failure, Report, catch, hour, reached, run, run_shown};

/// Seeds from which on every marked path has to be reached.
const MARKS_FROM: u64 = 1000;

/// Failing seeds after which the rest is not run.
const FAILURES_MAX: usize = 10;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => match &arguments.what {
            What::Seeds => seeds(&arguments),
            What::Canaries(names) => canaries(names),
            What::Hour => an_hour(),
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
        self.virtual_ms += report.virtual_ms;
    }
}

fn seeds(arguments: &Arguments) -> ExitCode {
    let (start, mut total, mut failures) = (Instant::now(), Total::default(), Vec::new());
    let end = arguments.first.saturating_add(arguments.count);
    for seed in arguments.first..end {
        let ran = if arguments.show { run_shown(seed, |line| println!("{line}")) } else { run(seed) };
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
        let done = seed - arguments.first + 1;
        if done.is_multiple_of(100) && done < arguments.count {
            println!(
                "{done} of {} seeds, {} failed, {:.0?}",
                arguments.count,
                failures.len(),
                start.elapsed()
            );
            // Progress that cannot be shown is no reason to stop.
            std::io::stdout().flush().ok();
        }
        if failures.len() >= FAILURES_MAX {
            println!("{FAILURES_MAX} seeds have failed, the rest is not run");
            break;
        }
    }
    println!(
        "{} seeds without a fault in {:.1?}: {} requests (at least {} a seed), at least {} kinds of fault a seed, {} \
         items lost to eviction, {} answers of which nothing certain was known, {:.1} hours of virtual time",
        total.runs,
        start.elapsed(),
        total.ops,
        total.ops_min,
        total.kinds_min,
        total.lost,
        total.unknown,
        hours(total.virtual_ms),
    );
    let is_whole = arguments.count < MARKS_FROM || all_reached();
    if failures.is_empty() && is_whole {
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
    println!("{} rare paths, each to be reached at least {MARK_MIN} times:", counts.len());
    for (name, times, too_rarely) in &counts {
        println!("{times:>12}  {name}{}", if *too_rarely { "  TOO RARELY" } else { "" });
    }
    !counts.iter().any(|(_, _, too_rarely)| *too_rarely)
}

/// Makes mistakes on purpose.
fn canaries(names: &[&'static str]) -> ExitCode {
    if !cfg!(feature = "canaries") {
        eprintln!("mm-sim: built without the feature canaries; `cargo xtask sim --canary` builds with it");
        return ExitCode::from(2);
    }
    let mut all_caught = true;
    for name in names {
        match catch(name) {
            Some(failure) => println!("CAUGHT {name}: {failure}"),
            None => {
                println!("NOT CAUGHT {name}");
                all_caught = false;
            }
        }
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An hour of items of all ages.
fn an_hour() -> ExitCode {
    match hour(1) {
        Err(wrong) => {
            println!("FAILED {wrong}");
            ExitCode::FAILURE
        }
        Ok(hour) => {
            println!(
                "{} samples: at most {} of 1000 of the memory were held by items dead for {DEAD_S} s (at {} s; {} may \
                 be); {} values stored, {} items reclaimed, {} evicted",
                hour.samples,
                hour.most,
                hour.most_at_s,
                DEAD_SHARE_MAX,
                hour.stored,
                hour.reclaimed,
                hour.evicted
            );
            if hour.most <= DEAD_SHARE_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn tell(failure: &Failure) {
    println!("FAILED {failure}");
    println!("    to see it again: cargo xtask sim --seed {}", failure.seed);
}

fn hours(ms: u64) -> f64 {
    let minutes = u32::try_from(ms / 60_000).unwrap_or(u32::MAX);
    f64::from(minutes) / 60.0
}
