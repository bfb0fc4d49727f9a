//! `mm-bench trace`: how many requests each eviction policy would have answered.
//!
//! Traces (recorded accesses from files, workloads generated after published figures) are replayed against models of
//! caches at equal memory, each charged what its items really take. The table shows our eviction over segments beside
//! the simple policies item by item, memcached's segmented LRU, and a bound from knowledge of the future.

mod dress;
mod engine;
mod generate;
mod list;
pub(crate) mod mixes;
mod number;
mod policy;
mod random;
mod read;
mod report;
mod request;
mod run;
mod running;
mod simulate;
mod source;
mod study;
mod svg;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Args;

use crate::machine::announce;
use engine::Engine;
use run::Row;
use source::Source;

/// What can be typed after `mm-bench trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// Folder with recorded traces and workload figures; without it the generators alone run.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Whole files and every cluster described, instead of the first requests and a selection.
    #[arg(long)]
    all: bool,
    /// Only traces whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these columns.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Memory sizes, percent of the trace's footprint.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,3,10,30",
        default_value_if("running", "true", "10,30")
    )]
    memory: Vec<f64>,
    /// Variants of eviction over segments instead of the engines.
    #[arg(long)]
    study: bool,
    /// Seed of the generators.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also writes every figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also draws the means into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Instead of the engines a running memcached and a running mmem of as many resident bytes. Memory sizes are
    /// memcached's `-m` then, by default 10 and 30 %.
    #[arg(long, conflicts_with_all = ["study", "engines", "json", "svg"])]
    running: bool,
    /// The memcached to run [default: the one in the path].
    #[arg(long, value_name = "PATH", requires = "running")]
    peer: Option<PathBuf>,
    /// Requests in a second to the running caches [default: as many as they serve].
    #[arg(long, value_name = "N", requires = "running")]
    rate: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// One line that names what was wrong: a file that cannot be read or written, or a name that no trace has.
pub(crate) fn command(arguments: &TraceArguments) -> Result<ExitCode, String> {
    if let Some(wrong) = arguments.memory.iter().find(|&&percent| !(percent > 0.0 && percent <= 1000.0)) {
        return Err(format!("--memory {wrong}: must be percent above 0 and at most 1000"));
    }
    if let Some(folder) = arguments.dir.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(format!("--dir {}: no such folder", folder.display()));
    }
    if arguments.running {
        return running::compare(arguments, &wanted(arguments)?);
    }
    let mut engines = if arguments.study { study::variants() } else { engine::engines() };
    if let Some(wrong) =
        arguments.engines.iter().find(|&name| engines.iter().all(|engine| engine.name != *name))
    {
        return Err(format!("--engines {wrong}: there is {}", names(&engines)));
    }
    engines.retain(|engine| arguments.engines.is_empty() || arguments.engines.contains(&engine.name));
    let rows = replay_all(arguments, &engines).map_err(|error| error.to_string())?;
    if rows.is_empty() {
        return Err("no trace has that name, or all are too small for the memory asked for".to_owned());
    }
    let out = &mut io::stdout().lock();
    let print = if arguments.study { report::study } else { report::summary };
    print(out, &engines, &rows).map_err(|error| error.to_string())?;
    for (path, write) in [(&arguments.json, report::json as Writer), (&arguments.svg, svg::chart)] {
        if let Some(path) = path {
            save(path, write, &engines, &rows).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(engines: &[Engine]) -> String {
    engines.iter().map(|engine| engine.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Writes all rows somewhere.
type Writer = fn(&mut dyn Write, &[Engine], &[Row]) -> io::Result<()>;

fn save(path: &Path, write: Writer, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file, engines, rows)?;
    file.flush()
}

/// The traces asked for.
fn wanted(arguments: &TraceArguments) -> Result<Vec<Source>, String> {
    let mut sources =
        source::sources(arguments.dir.as_deref(), arguments.all).map_err(|error| error.to_string())?;
    if !arguments.only.is_empty() {
        sources.retain(|source| arguments.only.iter().any(|part| source.name.contains(part.as_str())));
    }
    Ok(sources)
}

/// Replays one trace after the other; a row is printed as soon as it is known.
fn replay_all(arguments: &TraceArguments, engines: &[Engine]) -> io::Result<Vec<Row>> {
    let sources = wanted(arguments).map_err(io::Error::other)?;
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "seed {}; rows of less than {} KiB are left out",
        arguments.seed,
        run::LIMIT_MIN_BYTES >> 10
    )?;
    if !arguments.study {
        report::header(out, engines)?;
    }
    let began = Instant::now();
    let mut rows = Vec::new();
    thread::scope(|scope| {
        // The next trace is made while one is replayed.
        let (sender, traces) = mpsc::sync_channel(0);
        scope.spawn(|| {
            let sender = sender;
            sources.iter().map(|source| source.load(arguments.seed)).all(|trace| sender.send(trace).is_ok())
        });
        for (number, (source, trace)) in sources.iter().zip(traces).enumerate() {
            let new = run::run(&trace?, source.family, engines, &arguments.memory)?;
            if !arguments.study {
                new.iter().try_for_each(|row| report::row(out, row))?;
            }
            rows.extend(new);
            announce(&progress(number + 1, sources.len(), began));
        }
        Ok(rows)
    })
}

/// How far a run over traces is, and how long the rest takes if that is like what has been.
fn progress(done: usize, count: usize, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    let left_s = seconds / number::real(done as u64) * number::real((count - done) as u64);
    format!("{done} of {count} traces in {seconds:.0} s, about {left_s:.0} s to go")
}
