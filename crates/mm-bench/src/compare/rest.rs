//! Bringing a cache to rest before sets are measured.
//!
//! Memory that was never used has to be found and cleared by the system, and on a virtual machine by its host too: sets
//! that go there cost several times what they cost later. So each cache is written to until it takes no more memory:
//! it uses again what it has, as it will from then on.

use super::contenders::Contender;
use super::rows::Values;
use crate::load::{Load, Plan, Sizes, Stop};
use crate::machine::tell;

/// How long a cache is written to before its memory is looked at again, in seconds.
const SLICE_S: f64 = 0.5;

/// The most that resident memory grows in a slice at rest, in parts of the values written: a cache that takes memory
/// for what it writes grows by more than all of them, however slow it is and however much it has.
const GROWTH_MAX: f64 = 0.125;

/// Slices without growth that make rest: a log that is used again may take some memory between two that it frees.
const STILL: u32 = 2;

/// Where keys do not fit into memory, so many times as much as it holds is written at least: who is let in by a first
/// test stays for many rounds of those who fail it, and evictions have another price until all have had their turn.
const TURNS: u64 = 16;

/// That ends after so many seconds: others are slower.
const TURNS_S_MAX: f64 = 15.0;

/// How long it may take for each GiB that the cache may use, in seconds: two shards that share a processor are slow.
const SECONDS_PER_GIB: f64 = 45.0;

/// Writes to a cache until it is at rest, or for as long as that may take. `false`: it still takes memory.
///
/// Where the keys do not fit into memory, evictions are to cost what they will from then on, too: [`TURNS`].
///
/// # Errors
/// It breaks off, or its load cannot be made.
pub(super) fn bring_to_rest(contender: &Contender, values: Values, seed: u64) -> Result<bool, String> {
    let limit_gib = f64::from(values.memory_mib) / 1024.0;
    let longest_s = SECONDS_PER_GIB * limit_gib.max(1.0);
    let least_sets = if values.fit() { 0 } else { values.to_fill_memory() * TURNS };
    let mut load = Load::connect(&plan(contender, values, seed))?;
    let (mut still, mut sets, mut taken_s) = (0, 0, 0.0);
    let mut resident = contender.server.resident_bytes()?;
    while taken_s < longest_s {
        tell(&format!("bringing {} to rest: {} MiB", contender.name, resident >> 20));
        let written = load.run(Stop::Seconds(SLICE_S))?.tally.sets;
        sets += written;
        taken_s += SLICE_S;
        let now = contender.server.resident_bytes()?;
        let value_bytes = written as f64 * values.bytes as f64;
        let has_grown = now.saturating_sub(resident) as f64 > value_bytes * GROWTH_MAX;
        still = if has_grown { 0 } else { still + 1 };
        resident = now;
        if still >= STILL && (sets >= least_sets || taken_s >= TURNS_S_MAX) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sets of keys at random, so that what is overwritten lies anywhere.
fn plan(contender: &Contender, values: Values, seed: u64) -> Plan {
    let mut plan = Plan::new(contender.server.port);
    plan.seed = seed;
    plan.protocol = contender.protocol;
    (plan.connections, plan.depth) = (10, 20);
    plan.set_ratio = 1.0;
    plan.keys = values.keys;
    plan.prefix = values.prefix.to_owned();
    plan.sizes = Sizes::fixed(values.bytes);
    plan
}
