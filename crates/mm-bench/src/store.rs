//! The store in process, without sockets: what one shard does, and what two do together.
//!
//! Every shard is a thread on a core of its own that works through requests made beforehand, in batches as the
//! service does: keys hashed and buckets asked for, items asked for, requests done. Before anything is measured the
//! stores have used all of their memory again, so that no first touch of a page is part of it.

mod line;
mod rounds;
mod shard;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use mm_store::{Config, Store, StoreHandles};

use crate::machine::tell;
use rounds::{Figures, Quartiles, Team, measure};
use shard::Shard;
use work::{WORKS, Work};

/// Bytes of each value.
const VALUE_BYTES: usize = 10;

/// What an item takes at most, key, value and its part of everything else.
const ITEM_BYTES: usize = 64;

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct StoreArguments {
    /// Items in the store, of 20 bytes of key and 10 of value.
    #[arg(long, default_value_t = 1_000_000)]
    items: u64,
    /// Only kinds of work whose name contains this; may be given several times.
    #[arg(long, value_name = "WORK")]
    only: Vec<String>,
    /// Rounds of each kind of work. Those in which other programs left no time to both shards do not count.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Milliseconds of each slice of a round; there are six.
    #[arg(long, default_value_t = 60.0)]
    slice_ms: f64,
}

/// Measures and prints a table.
///
/// # Errors
/// Two cores or the memory are not to be had, or the arguments name nothing.
pub(crate) fn run(arguments: &StoreArguments) -> Result<ExitCode, String> {
    let is_meant = |work: &&Work| {
        arguments.only.is_empty() || arguments.only.iter().any(|part| work.name.contains(part.as_str()))
    };
    let works: Vec<&Work> = WORKS.iter().filter(is_meant).collect();
    if works.is_empty() {
        let names: Vec<&str> = WORKS.iter().map(|work| work.name).collect();
        return Err(format!("--only names no kind of work; there are {}", names.join(", ")));
    }
    if arguments.rounds == 0 {
        return Err("--rounds 0 would measure nothing; give 1 or more".to_owned());
    }
    let limit_bytes = usize::try_from(arguments.items)
        .ok()
        .and_then(|items| items.checked_mul(ITEM_BYTES)?.checked_add(64 << 20))
        .ok_or_else(|| format!("--items {} needs more memory than there is", arguments.items))?;
    tell(&format!("filling with {} items", arguments.items));
    let teams = start(&Config::new(limit_bytes, 7), arguments.items)?;
    say(&format!(
        "{} items of 20 + {VALUE_BYTES} bytes; requests in batches of {}; medians (and quartiles) of rounds, \
         those of near and of far cores apart\n\
         {:<14} {:>6} {:>7}  {:<22} {:<22} {:>16} {:>6}\n",
        arguments.items,
        shard::BATCH,
        "work, ns",
        "Local",
        "Shared",
        "two shards, times one",
        "two stores, times one",
        "line, ns",
        "rounds",
    ))?;
    for work in works {
        tell(&format!("{}: preparing", work.name));
        for (number, shard) in teams.iter().flatten().enumerate() {
            shard.prepare(*work, arguments.items, number as u64 + 1)?;
        }
        let groups = measure(&teams, arguments.rounds, arguments.slice_ms / 1e3, |round| {
            tell(&format!("{}: round {round} of {}", work.name, arguments.rounds));
        })?;
        groups.iter().try_for_each(|figures| say(&line(work, figures)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of the table.
fn line(work: &Work, figures: &Figures) -> String {
    let [stores, shards] = figures.times_one.map(times);
    let ([local_ns, shared_ns], [near, line_ns, far]) = (figures.one_ns, figures.line_ns);
    let lines = format!("{line_ns:.0} ({near:.0} to {far:.0})");
    format!(
        "{:<14} {local_ns:>6.1} {shared_ns:>7.1}  {shards:<22} {stores:<22} {lines:>16} {:>6}  {}\n",
        work.name, figures.rounds, work.title
    )
}

/// Writes a part of the table, in place of the progress line.
fn say(text: &str) -> Result<(), String> {
    tell("");
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("cannot write the table: {error}"))
}

/// A median with its quartiles.
fn times([lower, median, upper]: Quartiles) -> String {
    format!("{median:.2} ({lower:.2} to {upper:.2})")
}

/// Starts the shards; the first of each store fills it. Two stores that know nothing of each other come first: they
/// show what the two cores can do together. Then come the two shards of one store.
fn start(config: &Config, items: u64) -> Result<[Team; 2], String> {
    let own = *config;
    let local = |core| Shard::start(core, items, true, move || Store::open(&own).ok());
    let handles = StoreHandles::open(config, 2).map_err(|error| format!("cannot open a store: {error}"))?;
    let (first, second) = (handles.clone(), handles);
    let shared = [
        Shard::start(0, items, true, move || first.take())?,
        Shard::start(1, items, false, move || second.take())?,
    ];
    Ok([[local(0)?, local(1)?], shared])
}
