//! The load generator: one thread, one epoll, as many connections as asked for; every answer is checked.
//!
//! Two ways to drive. *Closed loop*: each connection sends its next batch when the last is answered; latency is that
//! of a batch. *Fixed rate* (`--rate`): batches are due at fixed times whatever the server does, and latency counts
//! from the time a batch was due, so that a server that stalls cannot hide it by slowing its client down.

mod arguments;
mod batch;
mod client;
mod histogram;
mod keys;
mod random;
mod report;
mod sizes;
mod values;
mod wire;

pub(crate) use arguments::{LoadArguments, Plan, Protocol, Stop, Target};
pub(crate) use client::{Load, run};
pub(crate) use keys::Keys;
pub(crate) use random::Random;
pub(crate) use report::Report;
pub(crate) use sizes::Sizes;
pub(crate) use values::Values;
#[cfg(test)]
pub(crate) use {histogram::Histogram, report::Tally};

use std::io::Write as _;
use std::process::ExitCode;

/// `mm-bench load`: runs, reports on standard output; the exit code is a failure if any answer was bad.
///
/// # Errors
/// The arguments contradict each other or the server cannot be reached.
pub(crate) fn command(arguments: &LoadArguments) -> Result<ExitCode, String> {
    let report = run(&arguments.plan()?)?;
    let text = if arguments.json { report.to_json() } else { report.to_text() };
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("cannot write the report: {error}"))?;
    match report.complaint() {
        None => Ok(ExitCode::SUCCESS),
        Some(complaint) => Err(complaint),
    }
}
