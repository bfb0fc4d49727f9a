//! What well-behaved connections feel while others misbehave: half requests, one byte a second, no reading, resets,
//! thousands of connections, more of them than there are descriptors, values of a gigabyte.
//!
//! Gets arrive at a fixed rate, first alone (*quiet*), then beside the neighbour at another server on the same core
//! (*control*: what two cores make of so many programs), then beside it at the same server. Load and neighbour share a
//! core: the load goes first there, and sleeps until a get is due or answered.

mod kinds;
mod stage;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::framework::raise_descriptors;
use crate::load::{Load, Plan, Stop};
use crate::machine::{
    Awake, LOAD_CORE, Server, SessionFirst, announce, free_port, go_first, median, pin, tell,
};
use kinds::{KINDS, Kind, Memory};
use stage::{Actor, Client};

/// Share of what the server answers in a closed loop that is due at the fixed rate.
const SHARE: f64 = 0.25;

/// Keys of the well-behaved.
const KEYS: u64 = 20_000;

/// How long the server is loaded before each measurement, in seconds.
const WARM_UP_S: f64 = 0.3;

/// Memory that servers are started with, in MiB: twice the longest value, as memcached wants it.
const LIMIT_MIB: u64 = 2048;

/// What a server of one shard may hold above its limit, in MiB: 8, and 64 KiB for the shard.
const ABOVE_LIMIT_MIB: f64 = 8.0 + 64.0 / 1024.0;

/// Statistics that the well-behaved change, too.
const ORDINARY: &[&str] = &["bytes_read", "bytes_written", "runs", "turns", "connections_total"];

/// Why a neighbour is not measured.
const NOT_ON_RINGS: &str = "not on io_uring, whose accept keeps the limit that it began with";

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct NeighboursArguments {
    /// Rounds.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Only the neighbours whose names contain this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// How the server waits for its connections: auto, epoll, uring or poll.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    driver: String,
    /// The server.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
}

/// Measures and prints, a line for each neighbour.
///
/// # Errors
/// Two cores are not to be had, a server does not start, or a well-behaved connection was answered wrongly.
pub(crate) fn run(arguments: &NeighboursArguments) -> Result<ExitCode, String> {
    raise_descriptors();
    let _first = SessionFirst::begin();
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let server = arguments.server.clone().unwrap_or_else(|| this.with_file_name("mmem"));
    let only = arguments.only.as_deref().unwrap_or("");
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.name.contains(only)).collect();
    if kinds.is_empty() {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(format!("no neighbour has a name with '{only}'; there are {}", names.join(", ")));
    }
    if !kinds.iter().any(|kind| kind.can_be_on(&arguments.driver)) {
        return Err(format!("nothing to measure: {only} is {NOT_ON_RINGS}"));
    }
    if arguments.rounds == 0 {
        return Err("--rounds 0 would measure nothing; give 1 or more".to_owned());
    }
    pin(LOAD_CORE)?;
    let (_awake, priority) = (Awake::begin(), go_first());
    let mut out = std::io::stdout();
    let failed = |error: std::io::Error| format!("cannot write the report: {error}");
    writeln!(
        out,
        "gets at a quarter of what the server can, in us: medians of {} rounds of p90 and p99, and the least p99 of \
         all rounds, which other programs of the machine have disturbed least; the load has {priority}\n\
         {:<22}{:>21}{:>21}{:>21}{:>21}{:>21}  what the server counted",
        arguments.rounds, "neighbour", "quiet", "control", "beside", "control x quiet", "beside x quiet"
    )
    .map_err(failed)?;
    for kind in kinds {
        if !kind.can_be_on(&arguments.driver) {
            writeln!(out, "{:<22}{NOT_ON_RINGS}", kind.name).map_err(failed)?;
            continue;
        }
        let line = measure(kind, arguments, &server)?;
        tell("");
        writeln!(out, "{line}").map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One neighbour's line.
fn measure(kind: &Kind, arguments: &NeighboursArguments, program: &Path) -> Result<String, String> {
    let mut tested = Tested::begin(kind, arguments, program)?;
    let [mut quiet, mut control, mut beside] = [const { Latencies::new() }; 3];
    let mut done = 0;
    for round in 1..=arguments.rounds {
        tell(&format!("{}: round {round} of {}", kind.name, arguments.rounds));
        if round > 1 && kind.memory == Memory::Fresh {
            drop(tested);
            tested = Tested::begin(kind, arguments, program)?;
        }
        let Tested { server, other, load, .. } = &mut tested;
        quiet.add(load, kind)?;
        let actor = Actor::begin(kind, other.port)?;
        control.add(load, kind)?;
        actor.end()?;
        let actor = Actor::begin(kind, server.port)?;
        beside.add(load, kind)?;
        done += actor.end()?;
    }
    let mut noticed = tested.noticed()?;
    if kind.descriptors_left.is_some() && !noticed.iter().any(|counted| counted.starts_with("accept_pauses "))
    {
        return Err(format!("{}: the server has had descriptors enough", kind.name));
    }
    let peak_mib = tested.server.peak_bytes()? as f64 / f64::from(1 << 20);
    noticed.push(format!("{peak_mib:.0} MiB at most"));
    let [quiet, control, beside] = [quiet, control, beside].map(Latencies::figures);
    if peak_mib > LIMIT_MIB as f64 + ABOVE_LIMIT_MIB {
        return Err(format!("{}: {peak_mib:.1} MiB resident at -m {LIMIT_MIB}", kind.name));
    }
    Ok(format!(
        "{:<22}{}{}{}{}{}  {done} {}; {}",
        kind.name,
        show(quiet, 0),
        show(control, 0),
        show(beside, 0),
        show(std::array::from_fn(|at| control[at] / quiet[at]), 2),
        show(std::array::from_fn(|at| beside[at] / quiet[at]), 2),
        kind.unit,
        noticed.join(", "),
    ))
}

/// The server that is measured, the control's, and the load.
struct Tested {
    server: Server,
    other: Server,
    load: Load,
    /// What the server had counted before.
    before: Vec<(String, i64)>,
}

impl Tested {
    fn begin(kind: &Kind, arguments: &NeighboursArguments, program: &Path) -> Result<Self, String> {
        let (server, other) = (start(kind, arguments, program)?, start(kind, arguments, program)?);
        for port in [server.port, other.port] {
            (kind.prepare)(&mut Client::connect(port)?)?;
        }
        let load = loaded(&server)?;
        let before = Client::connect(server.port)?.stats()?;
        if let Some(left) = kind.descriptors_left {
            server.limit_descriptors(left)?;
            other.limit_descriptors(left)?;
        }
        Ok(Self { server, other, load, before })
    }

    /// What the server has counted that the well-behaved do not cause.
    fn noticed(&self) -> Result<Vec<String>, String> {
        let after = Client::connect(self.server.port)?.stats()?;
        let changed = after
            .iter()
            .zip(&self.before)
            .filter(|((name, after), (_, before))| after != before && !ORDINARY.contains(&name.as_str()));
        Ok(changed.map(|((name, after), (_, before))| format!("{name} {:+}", after - before)).collect())
    }
}

/// A server of one shard.
fn start(kind: &Kind, arguments: &NeighboursArguments, program: &Path) -> Result<Server, String> {
    let port = free_port()?;
    let connections = kind.connections_max.unwrap_or(15_000);
    let mut command = Command::new(program);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-t", "1", "-I", "1g"]);
    command.args(["-m", &LIMIT_MIB.to_string(), "-c", &connections.to_string()]);
    command.args(["--driver", &arguments.driver]);
    if kind.memory == Memory::Resident {
        command.arg("-L");
    }
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    let server = Server::start(&mut command, port)?;
    if arguments.driver == "uring" {
        server.need_rings(1)?;
    }
    Ok(server)
}

/// The connections of the well-behaved: they have stored all keys, and are to load the server at its rate.
fn loaded(server: &Server) -> Result<Load, String> {
    let mut plan = Plan::new(server.port);
    plan.keys = KEYS;
    if let Some(complaint) = Load::connect(&plan)?.run(Stop::Filled)?.complaint() {
        return Err(format!("the keys could not be stored: {complaint}"));
    }
    let most = Load::connect(&plan)?.run(Stop::Seconds(WARM_UP_S))?.keys_per_s();
    plan.rate = Some(most * SHARE);
    let mut load = Load::connect(&plan)?;
    load.run(Stop::Seconds(WARM_UP_S))?;
    Ok(load)
}

/// p90 and p99 of the rounds, in microseconds.
#[derive(Clone)]
struct Latencies {
    rounds: [Vec<f64>; SHARES.len()],
}

/// The shares of gets that took no longer than what is told.
const SHARES: [f64; 2] = [0.9, 0.99];

/// What is told of each way: medians of p90 and p99, and the least p99.
const FIGURES: usize = 3;

impl Latencies {
    const fn new() -> Self {
        Self { rounds: [Vec::new(), Vec::new()] }
    }

    /// One measurement.
    ///
    /// # Errors
    /// A get was answered wrongly.
    fn add(&mut self, load: &mut Load, kind: &Kind) -> Result<(), String> {
        // What the one before has left behind, such as connections to be closed, is not this one's.
        load.run(Stop::Seconds(WARM_UP_S))?;
        let report = load.run(Stop::Seconds(kind.seconds))?;
        if let Some(complaint) = report.complaint() {
            announce(&format!("{}: a well-behaved connection was answered wrongly", kind.name));
            return Err(complaint);
        }
        let (misses, gets) = (report.tally.misses, report.tally.requests);
        if misses > 0 {
            announce(&format!("{}: {misses} of {gets} gets found nothing", kind.name));
        }
        for (figures, share) in self.rounds.iter_mut().zip(SHARES) {
            figures.push(report.latency.percentile_ns(share) as f64 / 1e3);
        }
        Ok(())
    }

    /// The medians, and the least p99.
    fn figures(self) -> [f64; FIGURES] {
        let [mut p90, mut p99] = self.rounds;
        let least = p99.iter().copied().fold(f64::INFINITY, f64::min);
        [median(&mut p90), median(&mut p99), least]
    }
}

fn show(figures: [f64; FIGURES], digits: usize) -> String {
    figures.iter().map(|figure| format!("{figure:>7.digits$}")).collect()
}
