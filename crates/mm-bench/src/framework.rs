//! The framework measured: echo on ours, on tokio, on State Threads and on the floors; memory of idle connections;
//! instructions of tasks and timers.

mod contenders;
mod costs;
mod idle;
mod servers;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

pub(crate) use servers::{EchoArguments, raise_descriptors, serve};

use crate::load::{Load, Plan, Protocol, Report, Stop};
use crate::machine::{SessionFirst, median, tell};
use contenders::Contender;

/// What `--only` names.
const PARTS: [&str; 3] = ["echo", "idle", "costs"];

/// Connections of the echo rows, each with one message under way.
const CONNECTIONS: usize = 50;

/// How often all servers of the echo rows are started afresh: where a process's memory comes to lie decides over more
/// than what is compared.
const STARTS: usize = 8;

/// How long a server is loaded each time before it is measured, in seconds.
const WARM_UP_S: f64 = 0.02;

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct FrameworkArguments {
    /// Fewer and shorter rounds: good for a look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Rounds of the echo rows [default: 40, with --quick 4].
    #[arg(long)]
    rounds: Option<usize>,
    /// Only one part: echo, idle or costs.
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// The program that does each thing of tasks and timers so many times.
    #[arg(long, value_name = "PATH")]
    costs: Option<PathBuf>,
    /// The folder of the C programs; what is made of them goes to the folder of this program.
    #[arg(long, value_name = "DIR", default_value = "crates/mm-bench/peers")]
    peers: PathBuf,
}

/// Measures and prints.
///
/// # Errors
/// Two cores are not to be had, a server does not start or answers wrongly.
pub(crate) fn run(arguments: &FrameworkArguments) -> Result<ExitCode, String> {
    let wants = |part: &str| arguments.only.as_deref().is_none_or(|only| only == part);
    if !PARTS.iter().any(|part| wants(part)) {
        return Err(format!("--only names no part; there are {}", PARTS.join(", ")));
    }
    if arguments.rounds == Some(0) {
        return Err("--rounds 0 would measure nothing; give 1 or more".to_owned());
    }
    let _first = SessionFirst::begin();
    if wants("echo") {
        echo(arguments)?;
    }
    if wants("idle") {
        idle::run()?;
    }
    if wants("costs") {
        let beside = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let program = arguments.costs.clone().unwrap_or_else(|| beside.with_file_name("examples/costs"));
        costs::run(Path::new(&program))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot write the report: {error}"))
}

/// One server with the load on it.
struct Entry<'a> {
    contender: &'a Contender,
    load: Load,
    found: &'a mut Found,
}

/// What the rounds of one server gave.
#[derive(Default)]
struct Found {
    name: String,
    cpu_ns: Vec<f64>,
    multiple: Vec<f64>,
    per_s: Vec<f64>,
    p99_us: Vec<f64>,
}

/// What one server did for a moment.
struct Moment {
    /// Its processor time per message.
    cpu_ns: f64,
    report: Report,
}

impl<'a> Entry<'a> {
    fn new(contender: &'a Contender, found: &'a mut Found) -> Result<Self, String> {
        found.name.clone_from(&contender.name);
        Ok(Self { contender, load: Load::connect(&plan(contender))?, found })
    }

    /// Loads the server for so many seconds.
    fn load_for(&mut self, seconds: f64) -> Result<Moment, String> {
        let Self { contender, load, .. } = self;
        load.run(Stop::Seconds(WARM_UP_S))?;
        let before = contender.server.cpu_time()?;
        let report = load.run(Stop::Seconds(seconds))?;
        let used_ns = contender.server.cpu_time()?.since_ns(&before);
        match report.complaint() {
            Some(complaint) => Err(format!("{}: {complaint}", contender.name)),
            None => Ok(Moment { cpu_ns: used_ns as f64 / report.tally.requests as f64, report }),
        }
    }

    fn note(&mut self, moment: &Moment, multiple: f64) {
        let (Moment { cpu_ns, report }, found) = (moment, &mut *self.found);
        found.cpu_ns.push(*cpu_ns);
        found.multiple.push(multiple);
        found.per_s.push(report.tally.requests as f64 / report.seconds);
        found.p99_us.push(report.latency.percentile_ns(0.99) as f64 / 1e3);
    }
}

/// One round. The floor is loaded before and after each of the others: what the host does changes within a round.
fn measure_round(floor: &mut Entry<'_>, others: &mut [Entry<'_>], seconds: f64) -> Result<(), String> {
    let mut before = floor.load_for(seconds)?;
    for other in others {
        let own = other.load_for(seconds)?;
        let after = floor.load_for(seconds)?;
        other.note(&own, own.cpu_ns / f64::midpoint(before.cpu_ns, after.cpu_ns));
        floor.note(&before, 1.0);
        before = after;
    }
    floor.note(&before, 1.0);
    Ok(())
}

/// Echo, one message of 100 bytes per round trip: processor time per message, as multiples of the epoll floor's.
fn echo(arguments: &FrameworkArguments) -> Result<(), String> {
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 4 } else { 40 });
    let seconds = if arguments.quick { 0.15 } else { 0.3 };
    let starts = STARTS.min(rounds);
    let (mut found, mut remarks) = (Vec::new(), Vec::new());
    for start in 0..starts {
        let contenders;
        (contenders, remarks) = contenders::start(&arguments.peers)?;
        found.resize_with(contenders.len(), Found::default);
        let pairs = contenders.iter().zip(&mut found);
        let mut entries = pairs.map(|(it, found)| Entry::new(it, found)).collect::<Result<Vec<_>, _>>()?;
        // The epoll floor is the first.
        let Some((floor, others)) = entries.split_first_mut() else {
            return Err("there is no server to measure".to_owned());
        };
        for round in start * rounds / starts..(start + 1) * rounds / starts {
            tell(&format!("echo: round {} of {rounds}", round + 1));
            measure_round(floor, others, seconds)?;
        }
    }
    tell("");
    let mut text = format!(
        "echo: 100 bytes, one message per trip, {CONNECTIONS} connections, {rounds} rounds, {starts} starts\n"
    );
    text.push_str(
        "  server             x floor   CPU ns/message   messages per CPU second   messages/s   p99 us\n",
    );
    for it in &mut found {
        let cpu_ns = median(&mut it.cpu_ns.clone());
        text.push_str(&format!(
            "  {:<18} {:>7.2} {:>16.0} {:>25.0} {:>12.0} {:>8.1}\n",
            it.name,
            median(&mut it.multiple),
            cpu_ns,
            1e9 / cpu_ns,
            median(&mut it.per_s),
            median(&mut it.p99_us),
        ));
    }
    text.push_str(&against_tokio(&found));
    remarks.iter().for_each(|remark| text.push_str(&format!("  {remark}\n")));
    print(&text)
}

/// Messages per second of processor time, ours by tokio's: the medians of the rounds' ratios.
fn against_tokio(found: &[Found]) -> String {
    let Some(tokio) = found.iter().find(|it| it.name == "tokio") else { return String::new() };
    let ours = found.iter().filter(|it| it.name.starts_with("ours"));
    ours.map(|it| {
        let mut ratios: Vec<_> =
            tokio.cpu_ns.iter().zip(&it.cpu_ns).map(|(tokio, own)| tokio / own).collect();
        format!(
            "  {:<18} {:>7.3} of tokio's messages per CPU second, round by round\n",
            it.name,
            median(&mut ratios)
        )
    })
    .collect()
}

fn plan(contender: &Contender) -> Plan {
    let mut plan = Plan::new(contender.server.port);
    plan.protocol = Protocol::Echo;
    plan.connections = CONNECTIONS;
    plan
}
