//! The machine as a measurement sees it: cores, servers under test, and the processor time they use.

mod cpu;
mod priority;
mod server;

pub(crate) use cpu::{CpuTime, own_wait_ns};
pub(crate) use priority::{Awake, RealTime, SessionFirst, go_first, go_last};
pub(crate) use server::{Server, free_port};

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core servers run on while they are measured.
pub(crate) const SERVER_CORE: usize = 0;

/// The core the load runs on.
pub(crate) const LOAD_CORE: usize = 1;

/// Keeps the calling thread, and whatever it starts from now on, on one core.
///
/// # Errors
/// The process may not use that core.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None::<Pid>, &set).map_err(|error| {
        format!("cannot run on core {core}: {error}; measuring takes two cores, 0 for servers and 1 for load")
    })
}

/// Whether a program can be run; a bare name is looked up as the shell would.
pub(crate) fn is_there(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Replaces the progress line, where standard error is a terminal; an empty line erases it.
pub(crate) fn tell(line: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // A progress line that cannot be written is no reason to stop measuring.
        drop(write!(terminal, "\r\x1b[K{line}"));
    }
}

/// Writes a line that stays, terminal or not: how far a long measurement is.
pub(crate) fn announce(line: &str) {
    tell("");
    // A progress line that cannot be written is no reason to stop measuring.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The middle of some figures; 0 of none.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
