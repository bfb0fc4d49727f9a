//! Runs every engine on every trace at every memory size, on all cores.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::engine::{Engine, Role, Setup};
use super::number::{real, whole};
use super::request::Trace;
use super::simulate::{Outcome, replay};
use super::source::Family;

/// Caches smaller than this are left out: no server has so little, and their segments would hold an item or two.
pub(crate) const LIMIT_MIN_BYTES: u64 = 1 << 20;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) trace: String,
    pub(crate) family: Family,
    /// Percent of the trace's footprint.
    pub(crate) memory: f64,
    pub(crate) limit_bytes: u64,
    /// Of each engine, in their order.
    pub(crate) outcomes: Vec<Outcome>,
}

/// Runs the engines on one trace; one row per memory size, which is percent of the footprint.
///
/// # Errors
/// The real store gets no address space.
pub(crate) fn run(trace: &Trace, family: Family, engines: &[Engine], memory: &[f64]) -> io::Result<Vec<Row>> {
    let footprint = real(trace.footprint_bytes());
    let limit = |percent: f64| whole(footprint * percent / 100.0);
    let sizes: Vec<(f64, u64)> = memory.iter().map(|&percent| (percent, limit(percent))).collect();
    let sizes: Vec<(f64, u64)> = sizes.into_iter().filter(|size| size.1 >= LIMIT_MIN_BYTES).collect();
    let limits: Vec<u64> = sizes.iter().map(|size| size.1).collect();
    let mut outcomes = outcomes(trace, engines, &limits)?.into_iter();
    let row = |(memory, limit_bytes): (f64, u64)| Row {
        trace: trace.name.clone(),
        family,
        memory,
        limit_bytes,
        outcomes: outcomes.by_ref().take(engines.len()).collect(),
    };
    Ok(sizes.into_iter().map(row).collect())
}

/// The outcome of every engine at every limit, engine by engine within a limit.
fn outcomes(trace: &Trace, engines: &[Engine], limits: &[u64]) -> io::Result<Vec<Outcome>> {
    let next_uses = trace.next_uses();
    let mut jobs: Vec<(usize, u64, &Engine)> = limits
        .iter()
        .flat_map(|&limit_bytes| engines.iter().map(move |engine| (limit_bytes, engine)))
        .enumerate()
        .map(|(position, (limit_bytes, engine))| (position, limit_bytes, engine))
        .collect();
    // The real store takes longest: begun last, one core would wait for it.
    jobs.sort_by_key(|&(.., engine)| engine.role != Role::Ours);
    let results = Mutex::new(Ok(vec![Outcome::default(); jobs.len()]));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&(position, limit_bytes, engine)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let setup = Setup { objects: trace.objects, limit_bytes, next_uses: &next_uses };
            let outcome = engine.build(setup).map(|mut policy| replay(trace, &mut *policy));
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match (outcome, &mut *results) {
                (Ok(outcome), Ok(outcomes)) => outcomes[position] = outcome,
                (Err(error), results) => *results = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
