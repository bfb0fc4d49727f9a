//! Traces replayed through the protocol against a running memcached and a running mmem of equal resident memory.
//!
//! memcached is given `-m`, a part of the trace's footprint; the most it ever held resident is what mmem may hold.
//! mmem's `-m` is what gets it there, found by running it again, so that neither's book-keeping, code or connection
//! is left out.

mod client;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use super::TraceArguments;
use super::number::{real, to_usize, whole};
use super::request::Trace;
use super::simulate::Outcome;
use super::source::Source;
use crate::machine::{announce, tell};
use crate::peer::{Kind, Peer};
use client::Client;

/// What is replayed where no trace is named, and not all are wanted.
const USUAL: [&str; 9] = [
    "zipf 0.7",
    "scans",
    "times to live",
    "overwrites",
    "meta-like kvcache",
    "meta-like graph",
    "OLTP",
    "cache2k-web12",
    "P3",
];
/// memcached has a page of 1 MiB for each size of items at least: below this it hardly heeds its limit.
const LIMIT_MIN_MIB: u64 = 12;
/// How often mmem is run at most to find the highest limit with which it holds no more than memcached holds.
const FITS_MAX: usize = 6;
/// Of how many keys the values are read in the end, if they are there.
const VERIFIED: u64 = 1000;
/// What mmem holds beside its limit, to begin with, in MiB.
const BESIDE_MIB: u64 = 6;

/// Replays the traces; a row is printed as soon as it is known.
///
/// # Errors
/// A trace cannot be read; a server is missing, does not start or breaks off; no trace is large enough.
pub(super) fn compare(arguments: &TraceArguments, sources: &[Source]) -> Result<ExitCode, String> {
    let is_wanted = |source: &&Source| {
        arguments.all || !arguments.only.is_empty() || USUAL.contains(&source.name.as_str())
    };
    let sources: Vec<&Source> = sources.iter().filter(is_wanted).collect();
    let pair = Pair {
        memcached: arguments.peer.clone().map_or_else(|| Kind::Memcached.program(), Ok)?,
        mmem: Kind::Mmem.program()?,
        rate: arguments.rate,
    };
    let version = pair.version()?;
    let out = &mut io::stdout().lock();
    header(out, &version).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let mut rows = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let trace = source.load(arguments.seed).map_err(|error| format!("{}: {error}", source.name))?;
        for &percent in &arguments.memory {
            let limit_mib = whole(real(trace.footprint_bytes()) * percent / 100.0) >> 20;
            if limit_mib < LIMIT_MIN_MIB {
                continue;
            }
            let row = pair.row(&trace, percent, limit_mib)?;
            tell("");
            row.write(out).map_err(|error| error.to_string())?;
            rows.push(row);
        }
        announce(&super::progress(number + 1, sources.len(), began));
    }
    if rows.is_empty() {
        return Err(format!("no trace has that name, or -m would be below {LIMIT_MIN_MIB} MiB"));
    }
    means(out, &rows).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The programs compared.
struct Pair {
    memcached: PathBuf,
    mmem: PathBuf,
    rate: Option<u32>,
}

impl Pair {
    /// What memcached calls itself.
    fn version(&self) -> Result<String, String> {
        let mut command = Command::new(&self.memcached);
        let output = command.arg("--version").stdin(Stdio::null()).output().map_err(|error| {
            format!(
                "{}: {error}; install it with `apt-get install memcached`, or name another with --peer PATH",
                self.memcached.display()
            )
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn row(&self, trace: &Trace, percent: f64, limit_mib: u64) -> Result<Row, String> {
        let theirs = self.replay(trace, Kind::Memcached, limit_mib)?;
        let mut limit_mib = whole(theirs.resident_mib).saturating_sub(BESIDE_MIB).max(1);
        let mut best: Option<Run> = None;
        let mut too_much = u64::MAX;
        for _ in 0..FITS_MAX {
            let ours = self.replay(trace, Kind::Mmem, limit_mib)?;
            let room = theirs.resident_mib - ours.resident_mib;
            if room < 0.0 {
                too_much = too_much.min(limit_mib);
            } else if best.as_ref().is_none_or(|best| best.limit_mib < limit_mib) {
                best = Some(ours);
            }
            let fits = best.as_ref().map_or(0, |best| best.limit_mib);
            if fits + 1 >= too_much {
                break;
            }
            let step = whole(room.abs()).max(1);
            let wanted = if room < 0.0 { limit_mib.saturating_sub(step) } else { limit_mib + step };
            limit_mib = wanted.clamp(fits + 1, too_much - 1);
        }
        let ours = best.ok_or_else(|| format!("{}: mmem holds more than memcached at any -m", trace.name))?;
        Ok(Row { trace: trace.name.clone(), percent, theirs, ours })
    }

    fn replay(&self, trace: &Trace, kind: Kind, limit_mib: u64) -> Result<Run, String> {
        let program: &Path = if kind == Kind::Mmem { &self.mmem } else { &self.memcached };
        let mut peer = Peer::start_program(kind, program, limit_mib)?;
        let began = Instant::now();
        let outcome = Client::new(&mut peer, trace, self.rate).replay(&mut |done| {
            let percent = 100 * done / trace.requests.len().max(1);
            tell(&format!("{}: {} -m {limit_mib}: {percent} %", trace.name, kind.name()));
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let resident_mib = real(peer.peak_bytes()?) / real(1 << 20);
        // The replay reads no values; of what is left at its end some are read.
        let objects = u64::from(trace.objects);
        let step = to_usize(objects.div_ceil(VERIFIED).max(1));
        peer.verify((0..objects).step_by(step), |_| None)?;
        Ok(Run { limit_mib, resident_mib, outcome, seconds })
    }
}

/// One replay.
struct Run {
    limit_mib: u64,
    /// The most that was ever resident.
    resident_mib: f64,
    outcome: Outcome,
    seconds: f64,
}

/// One line of the table.
struct Row {
    trace: String,
    percent: f64,
    theirs: Run,
    ours: Run,
}

fn header(out: &mut dyn Write, version: &str) -> io::Result<()> {
    writeln!(out, "{version}, and mmem with at most as many bytes resident; -m and resident in MiB")?;
    writeln!(
        out,
        "{:32} {:>5} | {:>5} {:>8} {:>7} {:>7} | {:>5} {:>8} {:>7} {:>7} | {:>7} {:>7} {:>11}",
        "trace",
        "mem %",
        "-m",
        "resident",
        "hits %",
        "bytes %",
        "-m",
        "resident",
        "hits %",
        "bytes %",
        "+hits",
        "+bytes",
        "seconds"
    )
}

impl Row {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let run = |run: &Run| {
            let (hits, bytes) = percents(run);
            format!("{:5} {:8.1} {hits:7.2} {bytes:7.2}", run.limit_mib, run.resident_mib)
        };
        let (hits, bytes) = self.gains();
        writeln!(
            out,
            "{:32} {:5} | {} | {} | {hits:+7.2} {bytes:+7.2} {:5.1} {:5.1}",
            self.trace,
            self.percent,
            run(&self.theirs),
            run(&self.ours),
            self.theirs.seconds,
            self.ours.seconds
        )?;
        out.flush()
    }

    /// Ours less theirs, of requests and of bytes, in points.
    fn gains(&self) -> (f64, f64) {
        let (ours, theirs) = (percents(&self.ours), percents(&self.theirs));
        (ours.0 - theirs.0, ours.1 - theirs.1)
    }
}

/// Hits of requests and of bytes.
fn percents(run: &Run) -> (f64, f64) {
    (100.0 * run.outcome.hit_ratio(), 100.0 * run.outcome.byte_hit_ratio())
}

fn means(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    let mean = |figure: &dyn Fn(&Row) -> f64| rows.iter().map(figure).sum::<f64>() / real(rows.len() as u64);
    let above = rows.iter().filter(|row| row.gains().0 >= 0.0).count();
    writeln!(
        out,
        "mean of {} rows: memcached {:.2} % of requests, {:.2} % of bytes; mmem {:.2} %, {:.2} %; at or above \
         memcached on {above}",
        rows.len(),
        mean(&|row| percents(&row.theirs).0),
        mean(&|row| percents(&row.theirs).1),
        mean(&|row| percents(&row.ours).0),
        mean(&|row| percents(&row.ours).1),
    )
}
