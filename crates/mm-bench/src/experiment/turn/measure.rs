//! Runs the ways against the load and prints what each costs.

use std::io::Write as _;
use std::process::Command;

use super::TurnArguments;
use super::table::{ITEMS, PREFIX, VALUE_BYTES};
use super::ways::WAYS;
use crate::load::{Load, Plan, Sizes, Stop};
use crate::machine::{Server, free_port, median, tell};

/// What the floors are called in the table; the first is the yardstick.
const FLOORS: [&str; 2] = ["canned-epoll", "canned-uring"];

/// How long a server is loaded each time before it is measured, in seconds: its caches are cold by then.
const WARM_UP_S: f64 = 0.01;

/// One way: its server, the load on it, and its figures, one per round.
struct Row {
    name: &'static str,
    server: Server,
    load: Load,
    cpu_ns: Vec<f64>,
    multiple: Vec<f64>,
    rate: Vec<f64>,
    median_us: Vec<f64>,
    p99_us: Vec<f64>,
}

/// Measures everything asked for.
pub(super) fn run(arguments: &TurnArguments) -> Result<(), String> {
    if let Some(part) = arguments.only.iter().find(|part| !WAYS.iter().any(|(name, _)| name.contains(*part)))
    {
        let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).collect();
        return Err(format!("--only {part} names no way; there are {}", names.join(", ")));
    }
    if arguments.rounds == 0 {
        return Err("--rounds 0 would measure nothing; give 1 or more".to_owned());
    }
    for connections in &arguments.connections {
        let mut rows = Vec::new();
        for name in names(&arguments.only) {
            tell(&format!("{connections} connections: starting {name}"));
            rows.push(start(name, *connections, arguments.spin)?);
        }
        let Some((floor, ways)) = rows.split_first_mut() else { return Ok(()) };
        for round in 1..=arguments.rounds {
            tell(&format!("{connections} connections: round {round} of {}", arguments.rounds));
            for way in ways.iter_mut() {
                let floor_ns = measure(floor, arguments.seconds)?;
                floor.multiple.push(1.0);
                let cpu_ns = measure(way, arguments.seconds)?;
                way.multiple.push(cpu_ns / floor_ns);
            }
        }
        tell("");
        print(&mut rows, *connections).map_err(|error| format!("cannot write the table: {error}"))?;
    }
    Ok(())
}

fn names(only: &[String]) -> Vec<&'static str> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let ways = WAYS.iter().map(|(name, _)| *name).filter(|name| wanted(name));
    FLOORS.into_iter().chain(ways).collect()
}

/// Starts the server of a way and connects the load to it.
fn start(name: &'static str, connections: usize, spin: bool) -> Result<Row, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let (mut command, port) = (Command::new(program), free_port()?);
    let is_floor = FLOORS.contains(&name);
    if is_floor {
        command.args(["floor", name]);
    } else {
        command.args(["experiment", "turn-server", name]);
    }
    let server = Server::start(command.args(["--port", &port.to_string()]), port)?;
    let mut plan = Plan::new(port);
    plan.connections = connections;
    plan.keys = ITEMS;
    plan.prefix = PREFIX.to_owned();
    plan.sizes = Sizes::fixed(VALUE_BYTES);
    plan.checked = !is_floor;
    plan.spin = spin;
    let load = Load::connect(&plan)?;
    let figures = Vec::new;
    Ok(Row {
        name,
        server,
        load,
        cpu_ns: figures(),
        multiple: figures(),
        rate: figures(),
        median_us: figures(),
        p99_us: figures(),
    })
}

/// Loads a server and notes its figures; gives the processor time per get in nanoseconds.
fn measure(row: &mut Row, seconds: f64) -> Result<f64, String> {
    row.load.run(Stop::Seconds(WARM_UP_S))?;
    let before = row.server.cpu_time()?;
    let report = row.load.run(Stop::Seconds(seconds))?;
    let used = row.server.cpu_time()?.since_ns(&before);
    if let Some(complaint) = report.complaint() {
        return Err(format!("{}: {complaint}", row.name));
    }
    if report.tally.misses > 0 {
        return Err(format!("{}: {} keys were missing", row.name, report.tally.misses));
    }
    let cpu_ns = used as f64 / report.tally.keys() as f64;
    row.cpu_ns.push(cpu_ns);
    row.rate.push(report.keys_per_s());
    row.median_us.push(report.latency.percentile_ns(0.5) as f64 / 1e3);
    row.p99_us.push(report.latency.percentile_ns(0.99) as f64 / 1e3);
    Ok(cpu_ns)
}

fn print(rows: &mut [Row], connections: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{connections} connections")?;
    writeln!(out, "| way | CPU ns per get | x floor | gets/s | p50 us | p99 us |")?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|")?;
    for row in rows {
        writeln!(
            out,
            "| {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} |",
            row.name,
            median(&mut row.cpu_ns),
            median(&mut row.multiple),
            median(&mut row.rate),
            median(&mut row.median_us),
            median(&mut row.p99_us),
        )?;
    }
    writeln!(out)
}
