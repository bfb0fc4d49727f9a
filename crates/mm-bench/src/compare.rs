//! The floors, mmem and its peers side by side: processor time per key, as multiples of the canned epoll floor.
//!
//! Every server runs on one core and the load on another. A row is one kind of work; its rounds load one server after
//! the other for a fraction of a second, so that all meet the same weather on the host, and medians are taken.

mod contenders;
mod report;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::load::{Load, Plan, Sizes, Stop};
use crate::machine::tell;
use contenders::{Contender, Contenders};
use report::Figures;
use rows::{ROWS, Row};

/// How long a server is loaded each time before it is measured, in seconds: its caches are cold by then.
const WARM_UP_S: f64 = 0.02;

/// What to compare.
#[derive(Args, Debug)]
pub(crate) struct CompareArguments {
    /// Fewer and shorter rounds: good for a look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Another server to measure, started with memcached's flags; may be given several times.
    #[arg(long, value_name = "PATH")]
    peer: Vec<PathBuf>,
    /// Only rows whose name contains this; may be given several times.
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Rounds per row [default: 15, with --quick 4].
    #[arg(long)]
    rounds: Option<usize>,
    /// Write all figures to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Let the load watch for answers without sleeping, so that servers need not wake it.
    #[arg(long)]
    spin: bool,
    /// The mmem to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mmem: Option<PathBuf>,
}

/// Measures, prints the table, writes the file asked for.
///
/// # Errors
/// Two cores are not to be had, a server does not start or answers wrongly, or the arguments name nothing.
pub(crate) fn run(arguments: &CompareArguments) -> Result<ExitCode, String> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_wanted(&arguments.only)).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("--only names no row; there are {}", names.join(", ")));
    }
    let mut contenders = contenders::start(arguments.mmem.as_deref(), &arguments.peer)?;
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 4 } else { 15 });
    let seconds = if arguments.quick { 0.15 } else { 0.3 };
    let mut tables = Vec::new();
    for row in rows {
        contenders.fill(row)?;
        tables.push((row, measure(row, &contenders, rounds, seconds, arguments.spin)?));
    }
    tell("");
    report::print(&tables, contenders.remarks())?;
    if let Some(path) = &arguments.json {
        report::write_json(&tables, path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One row: all contenders, round by round.
fn measure(
    row: &Row,
    contenders: &Contenders,
    rounds: usize,
    seconds: f64,
    spin: bool,
) -> Result<Vec<Figures>, String> {
    let mut entries = Vec::new();
    for contender in contenders.of(row) {
        let mut plan = plan(row, contender);
        plan.spin = spin;
        entries.push((contender, Load::connect(&plan)?, Figures::new(&contender.name)));
    }
    for round in 1..=rounds {
        let mut floor_ns = None;
        for (contender, load, figures) in &mut entries {
            tell(&format!("{}: round {round} of {rounds}: {}", row.name, contender.name));
            load.run(Stop::Seconds(WARM_UP_S))?;
            let before = contender.server.cpu_ns()?;
            let report = load.run(Stop::Seconds(seconds))?;
            let used_ns = contender.server.cpu_ns()? - before;
            if let Some(complaint) = report.complaint() {
                return Err(format!("{}, {}: {complaint}", row.name, contender.name));
            }
            let cpu_ns = used_ns as f64 / report.tally.keys() as f64;
            // The canned epoll floor is the first of every row.
            let floor_ns = *floor_ns.get_or_insert(cpu_ns);
            figures.add(cpu_ns, cpu_ns / floor_ns, &report);
        }
    }
    Ok(entries.into_iter().map(|(_, _, figures)| figures).collect())
}

/// The load of a row on one of the servers.
fn plan(row: &Row, contender: &Contender) -> Plan {
    let mut plan = Plan::new(contender.server.port);
    plan.protocol = contender.protocol;
    plan.checked = !contender.is_floor;
    plan.connections = row.connections;
    plan.depth = row.depth;
    plan.multiget = row.multiget;
    plan.set_ratio = row.set_ratio;
    plan.zipf = row.zipf;
    plan.keys = row.values.keys();
    plan.prefix = row.values.prefix().to_owned();
    plan.sizes = Sizes::fixed(row.values.bytes());
    plan
}
