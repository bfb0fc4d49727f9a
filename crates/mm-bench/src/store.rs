//! The store in process, without sockets: what one shard does, and what two do together.
//!
//! Every shard is a thread on a core of its own that works through requests made beforehand, in batches as the
//! service does: keys hashed and buckets asked for, items asked for, requests done. The rounds of the kinds of store
//! take turns, so that all meet the same weather on the host; medians are taken.

mod shard;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use mm_store::{Config, Store, StoreHandles};

use crate::machine::{median, tell};
use shard::{Shard, Task};
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
    /// Rounds of each kind of work.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
}

/// A way to serve the work.
struct Kind {
    name: &'static str,
    /// Which of the shards take part.
    shards: &'static [usize],
}

/// The shards of a store of their own come first, then those of one store for both. Two stores that know nothing of
/// each other show what the two cores can do together.
const KINDS: [Kind; 4] = [
    Kind { name: "one shard, Local", shards: &[0] },
    Kind { name: "two stores, Local", shards: &[0, 1] },
    Kind { name: "one, Shared", shards: &[2] },
    Kind { name: "two, Shared", shards: &[2, 3] },
];

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
    let limit_bytes = usize::try_from(arguments.items)
        .ok()
        .and_then(|items| items.checked_mul(ITEM_BYTES)?.checked_add(64 << 20))
        .ok_or_else(|| format!("--items {} needs more memory than there is", arguments.items))?;
    tell(&format!("filling with {} items", arguments.items));
    let shards = start(&Config::new(limit_bytes, 7), arguments.items)?;
    let mut text = format!(
        "{} items of 20 + {VALUE_BYTES} bytes; requests in batches of {}\n{:<14}",
        arguments.items,
        shard::BATCH,
        "work"
    );
    for kind in &KINDS {
        text.push_str(&format!(" {:>18} ns   M/s", kind.name));
    }
    text.push('\n');
    for work in works {
        text.push_str(&format!("{:<14}", work.name));
        for rate in measure(work, &shards, arguments)? {
            text.push_str(&format!(" {:>21.1} {:>5.2}", 1e9 / rate, rate / 1e6));
        }
        text.push_str(&format!("  {}\n", work.title));
    }
    tell("");
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("cannot write the table: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the shards; the first of each store fills it.
fn start(config: &Config, items: u64) -> Result<Vec<Shard>, String> {
    let own = *config;
    let local = |core| Shard::start(core, items, true, move || Store::open(&own).ok());
    let handles = StoreHandles::open(config, 2).map_err(|error| format!("cannot open a store: {error}"))?;
    let (first, second) = (handles.clone(), handles);
    Ok(vec![
        local(0)?,
        local(1)?,
        Shard::start(0, items, true, move || first.take())?,
        Shard::start(1, items, false, move || second.take())?,
    ])
}

/// Requests in a second, for each of the kinds.
fn measure(work: &Work, shards: &[Shard], arguments: &StoreArguments) -> Result<Vec<f64>, String> {
    let mut rates = vec![Vec::new(); KINDS.len()];
    for (number, shard) in shards.iter().enumerate() {
        tell(&format!("{}: preparing shard {number}", work.name));
        shard.request(Task::Prepare { work: *work, items: arguments.items, seed: number as u64 + 1 })?;
        shard.answer()?;
    }
    for round in 1..=arguments.rounds {
        for (kind, rates) in KINDS.iter().zip(&mut rates) {
            tell(&format!("{}: round {round} of {}: {}", work.name, arguments.rounds, kind.name));
            let taking_part = || kind.shards.iter().filter_map(|&shard| shards.get(shard));
            for shard in taking_part() {
                shard.request(Task::Run { seconds: arguments.seconds })?;
            }
            let mut sum = 0.0;
            for shard in taking_part() {
                sum += shard.answer()?;
            }
            rates.push(sum);
        }
    }
    Ok(rates.iter_mut().map(|rates| median(rates)).collect())
}
