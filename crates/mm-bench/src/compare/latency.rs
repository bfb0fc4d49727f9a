//! Latency at fixed rates of arrival.
//!
//! In a closed loop a server that stalls is asked nothing meanwhile, so its stall counts once per connection
//! (coordinated omission). Here requests are due at fixed times whatever the server does, and their latency counts
//! from then.
//!
//! One stop of a few milliseconds in a second is all of p99.9, whoever makes it. So load and servers have real-time
//! priority where that is permitted, each on its own core, at rates at which they leave their cores enough time for
//! others: those up to half ([`RealTime`]). Threads of the kernel's took a core for up to 4 ms at a stretch otherwise,
//! from one server in this round and from another in the next. At higher rates they go before other programs all the
//! same ([`SessionFirst`](crate::machine::SessionFirst)), and the load's core is kept awake. The load sleeps until a
//! request is due or answered. Servers take turns, and another one begins each round.
//!
//! The kernel tells how long a thread could have run while others did. Of each server's rounds that third counts in
//! which it and the load were kept waiting least; what the server itself does to its clients is in each. The median of
//! all rounds is told beside it.

use super::contenders::{Contender, Contenders};
use super::report::Figures;
use super::rows::Row;
use super::{complaint, plan};
use crate::load::{Load, Stop};
use crate::machine::{Awake, RealTime, median, own_wait_ns, tell};

/// The rates, in parts of what memcached answers in a closed loop (where it is missing, of what mmem does), and how
/// often each is measured: goals are set at half.
const SHARES: [(f64, usize); 3] = [(0.25, 3), (0.5, 15), (0.75, 3)];

/// At higher rates load and servers have no real-time priority: the load is busy nearly all the time.
const REAL_TIME_SHARE_MAX: f64 = 0.5;

/// How long one paced measurement takes, in seconds: p99.9 needs many requests, and what servers do once a second
/// is to be in each.
const SECONDS: f64 = 1.0;

/// How long a server is loaded at the rate before, in seconds.
const WARM_UP_S: f64 = 0.06;

/// A rate counts as not kept up with below this part of it.
const KEPT_UP: f64 = 0.98;

/// What one server gave at one rate.
pub(super) struct Latency {
    pub(super) name: String,
    /// Keys due in a second.
    pub(super) rate: f64,
    /// What the rate is a part of.
    pub(super) terms: String,
    keys_per_s: Vec<f64>,
    rounds: Vec<Round>,
}

/// What one round gave.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// p50, p99 and p99.9 in microseconds.
    percentiles_us: [f64; 3],
    /// How long the server and the load could have run while others did, in milliseconds.
    waited_ms: f64,
}

/// Every server of a row, at every rate. `figures` are those of the closed loop; `rounds` replaces how often each rate
/// is measured.
///
/// # Errors
/// A server answers wrongly or is gone.
pub(super) fn measure(
    row: &Row,
    contenders: &Contenders,
    figures: &[Figures],
    rounds: Option<usize>,
) -> Result<Vec<Latency>, String> {
    let yardstick = ["memcached", "mmem"];
    let yardstick = yardstick.iter().find_map(|name| figures.iter().find(|one| one.name.starts_with(name)));
    let Some(yardstick) = yardstick else { return Ok(Vec::new()) };
    let terms = format!("25, 50 and 75 % of what {} does in a closed loop", yardstick.name);
    let mut all = Vec::new();
    for (share, usual) in SHARES {
        let rate = yardstick.keys_per_s() * share;
        let servers = contenders.of(row).map(|contender| contender.server.id());
        let real_time = if share <= REAL_TIME_SHARE_MAX { RealTime::begin(servers) } else { None };
        // Nobody else is to want a core that real-time priority may use for long.
        let _awake = if real_time.is_none() { Some(Awake::begin()) } else { None };
        all.extend(at_rate(row, contenders, rate, rounds.unwrap_or(usual))?);
    }
    all.iter_mut().for_each(|latency| latency.terms.clone_from(&terms));
    Ok(all)
}

/// Every server of a row at one rate: by turns, another one first in each round.
fn at_rate(row: &Row, contenders: &Contenders, rate: f64, rounds: usize) -> Result<Vec<Latency>, String> {
    let mut entries: Vec<_> =
        contenders.of(row).map(|contender| (contender, Latency::new(&contender.name, rate))).collect();
    for round in 1..=rounds {
        let seed = contenders.seeds.next();
        for (contender, latency) in &mut entries {
            tell(&format!("{} at {rate:.0} keys/s: round {round} of {rounds}: {}", row.name, contender.name));
            latency.add(row, contender, seed)?;
        }
        entries.rotate_left(1);
    }
    let turned = rounds % entries.len().max(1);
    entries.rotate_right(turned);
    Ok(entries.into_iter().map(|(_, latency)| latency).collect())
}

impl Latency {
    fn new(name: &str, rate: f64) -> Self {
        Self { name: name.to_owned(), rate, terms: String::new(), keys_per_s: Vec::new(), rounds: Vec::new() }
    }

    /// A round.
    ///
    /// # Errors
    /// The server answers wrongly or is gone.
    fn add(&mut self, row: &Row, contender: &Contender, seed: u64) -> Result<(), String> {
        let mut plan = plan(row, contender, seed);
        plan.rate = Some(self.rate);
        let mut load = Load::connect(&plan)?;
        load.run(Stop::Seconds(WARM_UP_S))?;
        let before = (contender.server.cpu_time()?, own_wait_ns()?);
        let report = load.run(Stop::Seconds(SECONDS))?;
        let after = (contender.server.cpu_time()?, own_wait_ns()?);
        if let Some(complaint) = complaint(row, contender.is_mmem, &report) {
            return Err(format!("{} at {:.0} keys/s, {}: {complaint}", row.name, self.rate, self.name));
        }
        self.keys_per_s.push(report.keys_per_s());
        let waited_ns = after.0.waited_since_ns(&before.0) + (after.1 - before.1);
        self.rounds.push(Round {
            percentiles_us: [0.5, 0.99, 0.999].map(|share| report.latency.percentile_ns(share) as f64 / 1e3),
            waited_ms: waited_ns as f64 / 1e6,
        });
        Ok(())
    }

    /// p50, p99 and p99.9 in microseconds: medians of the third of the rounds that was disturbed least.
    pub(super) fn percentiles_us(&self) -> [f64; 3] {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(|one, other| one.waited_ms.total_cmp(&other.waited_ms));
        rounds.truncate(rounds.len().div_ceil(3));
        [0, 1, 2].map(|which| median_of(&rounds, |round| round.percentiles_us[which]))
    }

    /// p99.9 in microseconds: the median of all rounds.
    pub(super) fn p999_us_of_all(&self) -> f64 {
        median_of(&self.rounds, |round| round.percentiles_us[2])
    }

    /// How long the server and the load were kept waiting in a round, in milliseconds: the median of all.
    pub(super) fn waited_ms(&self) -> f64 {
        median_of(&self.rounds, |round| round.waited_ms)
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
        let rounds = self
            .rounds
            .iter()
            .map(|round| format!("[{:.1},{:.3}]", round.percentiles_us[2], round.waited_ms));
        let rounds: Vec<String> = rounds.collect();
        format!(
            "{{\"server\":\"{}\",\"rate\":{:.0},\"keys_per_s\":{:.0},\"p50_us\":{median_us:.1},\
             \"p99_us\":{p99_us:.1},\"p999_us\":{p999_us:.1},\"p999_us_and_waited_ms_of_rounds\":[{}]}}",
            self.name.replace(['"', '\\'], "_"),
            self.rate,
            median(&mut self.keys_per_s.clone()),
            rounds.join(","),
        )
    }
}

fn median_of(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(&mut rounds.iter().map(figure).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_least_disturbed_count() {
        let mut latency = Latency::new("mmem", 1e4);
        let rounds = [(9_000.0, 5.0), (90.0, 0.2), (4_000.0, 2.0), (95.0, 0.1)];
        latency.rounds = rounds
            .map(|(p999_us, waited_ms)| Round { percentiles_us: [50.0, 80.0, p999_us], waited_ms })
            .to_vec();
        assert_eq!(latency.percentiles_us().map(f64::round), [50.0, 80.0, 93.0]);
        assert_eq!(latency.p999_us_of_all().round(), 2048.0);
        assert_eq!(latency.waited_ms().round(), 1.0);
        let ends = "_of_rounds\":[[9000.0,5.000],[90.0,0.200],[4000.0,2.000],[95.0,0.100]]}";
        assert!(latency.to_json().ends_with(ends), "{}", latency.to_json());
    }
}
