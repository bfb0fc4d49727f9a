//! Latency at fixed rates of arrival.
//!
//! In a closed loop a server that stalls is asked nothing meanwhile, so its stall counts once per connection
//! (coordinated omission). Here requests are due at fixed times whatever the server does, and their latency counts
//! from then.

use super::contenders::Contenders;
use super::report::Figures;
use super::rows::Row;
use super::{complaint, plan};
use crate::load::{Load, Stop};
use crate::machine::{median, tell};

/// The rates, in parts of what memcached answers in a closed loop (where it is missing, of what mmem does).
const SHARES: [f64; 3] = [0.25, 0.5, 0.75];

/// How long one paced measurement takes, in seconds: p99.9 needs many requests.
const SECONDS: f64 = 1.5;

/// How long a server is loaded at the rate before, in seconds.
const WARM_UP_S: f64 = 0.06;

/// Measurements at each rate.
const ROUNDS: usize = 3;

/// A rate counts as not kept up with below this part of it.
const KEPT_UP: f64 = 0.98;

/// What one server gave at one rate.
pub(super) struct Latency {
    pub(super) name: String,
    /// Keys due in a second.
    pub(super) rate: f64,
    /// What the rate is a part of.
    pub(super) of: String,
    keys_per_s: Vec<f64>,
    /// p50, p99 and p99.9, a figure per round each.
    percentiles: [Vec<f64>; 3],
}

/// Every server but the floor by io_uring, at every rate. `figures` are those of the closed loop.
///
/// # Errors
/// A server answers wrongly or is gone.
pub(super) fn measure(
    row: &Row,
    contenders: &Contenders,
    figures: &[Figures],
) -> Result<Vec<Latency>, String> {
    let yardstick = ["memcached", "mmem"];
    let yardstick = yardstick.iter().find_map(|name| figures.iter().find(|one| one.name.starts_with(name)));
    let Some(yardstick) = yardstick else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for share in SHARES {
        let rate = yardstick.keys_per_s() * share;
        let of = format!("25, 50 and 75 % of what {} does in a closed loop", yardstick.name);
        let mut entries: Vec<_> = contenders
            .of(row)
            .map(|contender| (contender, Latency::new(&contender.name, rate, &of)))
            .collect();
        for round in 1..=ROUNDS {
            let seed = contenders.seeds.next();
            for (contender, latency) in &mut entries {
                tell(&format!("{} at {rate:.0} keys/s: round {round}: {}", row.name, contender.name));
                let mut plan = plan(row, contender, seed);
                (plan.rate, plan.spin) = (Some(rate), true);
                let mut load = Load::connect(&plan)?;
                load.run(Stop::Seconds(WARM_UP_S))?;
                let report = load.run(Stop::Seconds(SECONDS))?;
                if let Some(complaint) = complaint(row, contender.is_mmem, &report) {
                    return Err(format!("{} at {rate:.0} keys/s, {}: {complaint}", row.name, contender.name));
                }
                latency.keys_per_s.push(report.keys_per_s());
                for (figures, share) in latency.percentiles.iter_mut().zip([0.5, 0.99, 0.999]) {
                    figures.push(report.latency.percentile_ns(share) as f64 / 1e3);
                }
            }
        }
        all.extend(entries.into_iter().map(|(_, latency)| latency));
    }
    Ok(all)
}

impl Latency {
    fn new(name: &str, rate: f64, of: &str) -> Self {
        let percentiles = [Vec::new(), Vec::new(), Vec::new()];
        Self { name: name.to_owned(), rate, of: of.to_owned(), keys_per_s: Vec::new(), percentiles }
    }

    /// p50, p99 and p99.9 in microseconds: medians of the rounds.
    pub(super) fn percentiles_us(&self) -> [f64; 3] {
        [0, 1, 2].map(|which| median(&mut self.percentiles[which].clone()))
    }

    /// What is to be said where the server did not keep up.
    pub(super) fn shortfall(&self) -> String {
        let answered = median(&mut self.keys_per_s.clone());
        if answered >= self.rate * KEPT_UP {
            return String::new();
        }
        format!("  (answered only {answered:.0})")
    }

    /// As an object of JSON.
    pub(super) fn to_json(&self) -> String {
        let [median_us, p99_us, p999_us] = self.percentiles_us();
        format!(
            "{{\"server\":\"{}\",\"rate\":{:.0},\"keys_per_s\":{:.0},\"p50_us\":{median_us:.1},\
             \"p99_us\":{p99_us:.1},\"p999_us\":{p999_us:.1}}}",
            self.name.replace(['"', '\\'], "_"),
            self.rate,
            median(&mut self.keys_per_s.clone()),
        )
    }
}
