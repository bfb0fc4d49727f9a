//! Instructions per request, counted by callgrind: a figure that no other program on the machine can disturb.
//!
//! A server is run twice under valgrind with the same contents and two numbers of requests; what the longer run takes
//! more, by the requests it has more, is the cost of one. Keys have 20 bytes, values 64, and 20 requests arrive
//! together.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::load::{self, Plan, Sizes, Stop};
use crate::machine::{Server, free_port, is_there, tell};

/// 14 bytes, to which each key adds a number of six digits.
const PREFIX: &str = "instructions--";
const FIRST_KEY: u64 = 100_000;
const KEYS: u64 = 5_000;
const VALUE_BYTES: usize = 64;
const DEPTH: usize = 20;

/// Descriptors a server may have.
const DESCRIPTORS: &str = "--nofile=1024:1024";

/// Connections memcached is told to allow. It sets its limit of descriptors to that; valgrind permits only what is
/// left after it has kept twelve for itself.
const PEER_CONNECTIONS: &str = "1012";

/// Connections mmem is told to allow: it needs descriptors of its own besides.
const OWN_CONNECTIONS: &str = "100";

/// Requests of the shorter and the longer run.
const RUNS: [u64; 2] = [10_000, 40_000];

/// What to count.
#[derive(Args, Debug)]
pub(crate) struct InstructionsArguments {
    /// The mmem to count [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mmem: Option<PathBuf>,
    /// Another server, started with memcached's flags; may be given several times.
    #[arg(long, value_name = "PATH")]
    peer: Vec<PathBuf>,
}

/// Counts and prints a line per server.
///
/// # Errors
/// valgrind is missing, or a program that was named. What does not run under valgrind is in the table, and the exit
/// code a failure.
pub(crate) fn run(arguments: &InstructionsArguments) -> Result<ExitCode, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is missing; install it with `apt-get install valgrind`".to_owned());
    }
    let beside = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mmem = arguments.mmem.clone().unwrap_or_else(|| beside.with_file_name("mmem"));
    let peers = arguments.peer.iter().map(|peer| (peer.clone(), PEER_CONNECTIONS));
    let mut programs: Vec<(PathBuf, &str)> = [(mmem, OWN_CONNECTIONS)].into_iter().chain(peers).collect();
    if let Some((missing, _)) = programs.iter().find(|(program, _)| !is_there(program)) {
        return Err(format!("{}: there is no such program", missing.display()));
    }
    programs.push((PathBuf::from("memcached"), PEER_CONNECTIONS));
    let mut text = String::from("instructions per request         get     set\n");
    let mut all_counted = true;
    for (program, connections) in programs {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        if !is_there(&program) {
            text.push_str(&format!("{name} is missing; it is left out\n"));
            continue;
        }
        let line = match count_both(&program, connections) {
            Ok([get, set]) => format!("{name:<28} {get:>7.0} {set:>7.0}\n"),
            Err(complaint) => {
                all_counted = false;
                format!("{name} ({}): {complaint}\n", program.display())
            }
        };
        text.push_str(&line);
    }
    tell("");
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("cannot write the table: {error}"))?;
    Ok(if all_counted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Instructions per get and per set.
fn count_both(program: &Path, connections: &str) -> Result<[f64; 2], String> {
    let mut figures = [0.0; 2];
    for (figure, set_ratio) in figures.iter_mut().zip([0.0, 1.0]) {
        let mut totals = [0; 2];
        for (total, requests) in totals.iter_mut().zip(RUNS) {
            tell(&format!("{}: {requests} requests under callgrind", program.display()));
            *total = count(program, connections, set_ratio, requests)?;
        }
        *figure = totals[1].saturating_sub(totals[0]) as f64 / (RUNS[1] - RUNS[0]) as f64;
    }
    Ok(figures)
}

/// All instructions of one run.
fn count(program: &Path, connections: &str, set_ratio: f64, requests: u64) -> Result<u64, String> {
    let port = free_port()?;
    let log = std::env::temp_dir().join(format!("mm-bench-callgrind-{port}.log"));
    let mut command = Command::new("prlimit");
    command.args([DESCRIPTORS, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--log-file={}", log.display())).arg(program);
    command.args(["-p", &port.to_string(), "-l", "127.0.0.1", "-t", "1", "-m", "64", "-c", connections]);
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    let server = Server::start(&mut command, port)?;
    let mut plan = Plan::new(port);
    (plan.connections, plan.depth) = (1, DEPTH);
    (plan.keys, plan.first_key) = (KEYS, FIRST_KEY);
    plan.prefix = PREFIX.to_owned();
    plan.sizes = Sizes::fixed(VALUE_BYTES);
    plan.set_ratio = set_ratio;
    for stop in [Stop::Filled, Stop::Requests(requests)] {
        plan.stop = stop;
        let report = load::run(&plan)?;
        let misses = report.tally.misses;
        let missed = || (misses > 0).then(|| format!("{misses} keys that were stored are missing"));
        if let Some(complaint) = report.complaint().or_else(missed) {
            return Err(complaint);
        }
    }
    server.terminate()?;
    let text = fs::read_to_string(&log).map_err(|error| format!("cannot read {}: {error}", log.display()))?;
    fs::remove_file(&log).unwrap_or(());
    let total = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    total.ok_or_else(|| "callgrind gave no count".to_owned())
}
