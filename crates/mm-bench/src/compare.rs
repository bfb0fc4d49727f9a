//! The floors, mmem and its peers side by side: processor time per key, as multiples of the canned epoll floor.
//!
//! Every server runs on one core and the load on another. A row is one kind of work; its rounds load one server after
//! the other for a fraction of a second, the floor before and after each, so that all meet the same weather on the
//! host, and medians are taken. Rows on the same keys, and those on larger values, take turns, a round each, so that
//! each row meets the weather of minutes. Each round has connections of its own, since how they come to lie among a
//! server's threads is chance. Where a row stores, each cache is at rest before: see [`rest`]. Whenever
//! servers are loaded, it is with other keys than before: see [`seeds`].

mod chart;
mod contenders;
mod latency;
mod report;
mod rest;
mod rows;
mod seeds;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use crate::load::{Load, Plan, Report, Sizes, Stop, Target};
use crate::machine::{SessionFirst, announce, tell};
use contenders::{Contender, Contenders, Wanted};
use report::{Figures, Measured};
use rows::{ROWS, Row};

/// How long a server is loaded each time before it is measured, in seconds: its caches are cold by then.
const WARM_UP_S: f64 = 0.02;

/// What to compare.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(crate) struct CompareArguments {
    /// Every row but those of 50 million keys (`--only many-`), mmem with every driver and with one and two shards, and
    /// latency at fixed rates of arrival.
    #[arg(long)]
    all: bool,
    /// Fewer and shorter rounds: good for a look, not for a record.
    #[arg(long)]
    quick: bool,
    /// Another server to measure, started with memcached's flags; may be given several times.
    #[arg(long, value_name = "PATH")]
    peer: Vec<PathBuf>,
    /// Another mmem, measured beside the first: an older one, or one built with other features.
    #[arg(long, value_name = "PATH")]
    other_mmem: Option<PathBuf>,
    /// A folder with floors built from other sources, `canned` at least, started as `canned PORT VALUE_BYTES`. All
    /// multiples are then of that one.
    #[arg(long, value_name = "DIR")]
    floors: Option<PathBuf>,
    /// Only rows whose name contains this; may be given several times.
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Only servers whose name contains this, and the floor; may be given several times.
    #[arg(long, value_name = "NAME")]
    server: Vec<String>,
    /// Rounds per row [default: 20, with --all 12, of fresh caches 5, as with --all of a thousand connections and more,
    /// with --quick 4; up to six times as many where they differ].
    #[arg(long)]
    rounds: Option<usize>,
    /// Rounds of each fixed rate, with --all [default: 15 at half of what memcached does, 3 at the others].
    #[arg(long, value_name = "ROUNDS")]
    paced_rounds: Option<usize>,
    /// Measure all twice, and fail where a multiple of mmem differs by more than a tenth.
    #[arg(long)]
    twice: bool,
    /// Write all figures to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the multiples to this file too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Let the load watch for answers without sleeping, so that servers need not wake it.
    #[arg(long)]
    spin: bool,
    /// The mmem to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mmem: Option<PathBuf>,
    /// A driver mmem is measured with; may be given several times [default: the one it chooses; with --all epoll
    /// and uring].
    #[arg(long, value_name = "NAME")]
    driver: Vec<String>,
    /// How many shards mmem is measured with; may be given several times [default: 1; with --all 1 and 2].
    #[arg(long, value_name = "N")]
    threads: Vec<u32>,
}

/// Measures, prints the table, writes the files asked for.
///
/// # Errors
/// Two cores are not to be had, a server does not start or answers wrongly, or the arguments name nothing.
pub(crate) fn run(arguments: &CompareArguments) -> Result<ExitCode, String> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_wanted(&arguments.only, arguments.all)).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("--only names no row; there are {}", names.join(", ")));
    }
    for (name, rounds) in [("--rounds", arguments.rounds), ("--paced-rounds", arguments.paced_rounds)] {
        if rounds == Some(0) {
            return Err(format!("{name} 0 would measure nothing; give 1 or more"));
        }
    }
    let _first = SessionFirst::begin();
    let mut contenders = contenders::start(&wanted(arguments), &rows)?;
    let first = measure_all(arguments, &mut contenders, &rows, true)?;
    report::print_remarks(contenders.remarks())?;
    if let Some(path) = &arguments.json {
        report::write_json(&first, path)?;
    }
    if let Some(path) = &arguments.svg {
        chart::write(&first, path)?;
    }
    if !arguments.twice {
        return Ok(ExitCode::SUCCESS);
    }
    let second = measure_all(arguments, &mut contenders, &rows, false)?;
    let agree = report::print_difference(&first, &second)?;
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wanted(arguments: &CompareArguments) -> Wanted<'_> {
    let mut wanted = Wanted {
        mmem: arguments.mmem.as_deref(),
        drivers: arguments.driver.clone(),
        threads: arguments.threads.clone(),
        other_mmem: arguments.other_mmem.as_deref(),
        floors: arguments.floors.as_deref(),
        servers: &arguments.server,
        peers: &arguments.peer,
    };
    if arguments.all && wanted.drivers.is_empty() {
        wanted.drivers = ["epoll", "uring"].map(str::to_owned).to_vec();
    }
    if arguments.all && wanted.threads.is_empty() {
        wanted.threads = vec![1, 2];
    }
    wanted
}

/// All rows; each is printed when it has been measured, if it is to be. The first time latency is measured too.
fn measure_all<'a>(
    arguments: &CompareArguments,
    contenders: &mut Contenders,
    rows: &[&'a Row],
    is_first: bool,
) -> Result<Vec<Measured<'a>>, String> {
    let began = Instant::now();
    let mut all = Vec::new();
    for group in by_turns(rows) {
        let (so_far_s, first) = (began.elapsed().as_secs(), all.len() + 1);
        let last = all.len() + group.len();
        announce(&format!("rows {first} to {last} of {}, after {so_far_s} s", rows.len()));
        for row in &group {
            contenders.fill(row)?;
        }
        for (&row, figures) in group.iter().zip(measure_group(&group, contenders, arguments)?) {
            contenders.remark_misses(row, &figures);
            let paced = row.paced && arguments.all && is_first;
            let rounds = arguments.paced_rounds;
            let latencies =
                if paced { latency::measure(row, contenders, &figures, rounds)? } else { Vec::new() };
            let measured = Measured { row, figures, latencies };
            tell("");
            if is_first {
                report::print_row(&measured)?;
            }
            all.push(measured);
        }
    }
    Ok(all)
}

/// The rows that are measured by turns together, in the order of the first of each kind.
fn by_turns<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for &row in rows {
        match groups.iter_mut().find(|group| row.values.take_turns_with(group[0].values)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// A row whose multiples of mmem may be off by more than this part has more rounds: three such errors, of each of two
/// measurements, come to less than the tenth that they may differ by.
const ERROR_MAX: f64 = 0.015;

/// So many times as many at most.
const ROUNDS_FACTOR_MAX: usize = 6;

/// How long and how often.
struct Pace {
    rounds: usize,
    rounds_max: usize,
    seconds: f64,
    spin: bool,
}

impl Pace {
    /// Short rounds, and more of them, meet the weather on the host alike; where they begin slowly, there are fewer.
    fn of(row: &Row, arguments: &CompareArguments) -> Self {
        let (rounds, seconds) = match (arguments.quick, arguments.all) {
            (true, _) => (4, 0.1),
            (false, _) if row.is_fresh => (5, 0.5),
            (false, true) if row.begins_slowly() => (5, 0.5),
            (false, true) => (12, 0.1),
            (false, false) => (20, 0.15),
        };
        let rounds_max = if arguments.quick { rounds } else { rounds * ROUNDS_FACTOR_MAX };
        let (rounds, rounds_max) = arguments.rounds.map_or((rounds, rounds_max), |asked| (asked, asked));
        Self { rounds, rounds_max, seconds, spin: arguments.spin }
    }
}

/// Rows that take turns, round by round: what the host does for a minute meets one round of each row, and not all
/// rounds of one.
fn measure_group(
    rows: &[&Row],
    contenders: &Contenders,
    arguments: &CompareArguments,
) -> Result<Vec<Vec<Figures>>, String> {
    let mut contests = Vec::new();
    for row in rows {
        contests.push(Contest::new(row, contenders, Pace::of(row, arguments))?);
    }
    let most = contests.iter().map(|contest| contest.pace.rounds_max).max().unwrap_or(0);
    for round in 1..=most {
        for contest in contests.iter_mut().filter(|contest| contest.needs(round)) {
            contest.measure(round)?;
        }
    }
    Ok(contests.into_iter().map(Contest::into_figures).collect())
}

/// A row, and all servers that take part in it.
struct Contest<'a> {
    pace: Pace,
    floor: Entry<'a>,
    others: Vec<Entry<'a>>,
}

impl<'a> Contest<'a> {
    fn new(row: &'a Row, contenders: &'a Contenders, pace: Pace) -> Result<Self, String> {
        let seed = contenders.seeds.next();
        let mut entries = contenders.of(row).map(|contender| Entry::new(row, contender, &pace, seed));
        let floor = entries.next().ok_or_else(|| format!("{}: there is no floor", row.name))?;
        let others = entries.collect();
        Ok(Self { pace, floor, others })
    }

    /// Whether there is to be a round of this number.
    fn needs(&self, round: usize) -> bool {
        let is_uneven = || self.others.iter().any(|other| other.figures.error() > ERROR_MAX);
        round <= self.pace.rounds || round <= self.pace.rounds_max && is_uneven()
    }

    /// One round. The floor is loaded before and after each of the others: what the host does changes within a round.
    fn measure(&mut self, round: usize) -> Result<(), String> {
        let Self { pace, floor, others } = self;
        let mut before = floor.load_for(pace, round)?;
        for other in others {
            let own = other.load_for(pace, round)?;
            let after = if other.row.begins_slowly() { None } else { Some(floor.load_for(pace, round)?) };
            let floor_ns =
                after.as_ref().map_or(before.cpu_ns, |after| f64::midpoint(before.cpu_ns, after.cpu_ns));
            own.note(&mut other.figures, own.cpu_ns / floor_ns);
            if let Some(after) = after {
                before.note(&mut floor.figures, 1.0);
                before = after;
            }
        }
        before.note(&mut floor.figures, 1.0);
        Ok(())
    }

    fn into_figures(self) -> Vec<Figures> {
        std::iter::once(self.floor).chain(self.others).map(|entry| entry.figures).collect()
    }
}

/// What one server did for a moment.
struct Moment {
    /// Its processor time per key that it answered for, be it by a refusal.
    cpu_ns: f64,
    report: Report,
}

impl Moment {
    fn note(&self, figures: &mut Figures, multiple: f64) {
        figures.add(self.cpu_ns, multiple, &self.report);
    }
}

/// One server of a row, and how it is loaded.
struct Entry<'a> {
    row: &'a Row,
    contender: &'a Contender,
    plan: Plan,
    figures: Figures,
}

impl<'a> Entry<'a> {
    fn new(row: &'a Row, contender: &'a Contender, pace: &Pace, seed: u64) -> Self {
        let mut plan = plan(row, contender, seed);
        plan.spin = pace.spin;
        // How fast a machine finds memory for a fresh server is no property of the server.
        let figures = Figures::new(&contender.name, contender.is_mmem && !row.is_fresh);
        Self { row, contender, plan, figures }
    }

    /// Loads the server for a moment.
    fn load_for(&mut self, pace: &Pace, round: usize) -> Result<Moment, String> {
        let (row, name) = (self.row.name, &self.contender.name);
        tell(&format!("{row}: round {round} of {}: {name}", pace.rounds.max(round)));
        let another = if self.row.is_fresh { self.contender.another().transpose()? } else { None };
        let server = another.as_ref().unwrap_or(&self.contender.server);
        let (target, seed) = (Target::Port(server.port), seeds::of_round(self.plan.seed, round));
        let mut load = Load::connect(&Plan { target, seed, ..self.plan.clone() })?;
        if another.is_none() {
            load.run(Stop::Seconds(WARM_UP_S))?;
        }
        let before = server.cpu_time()?;
        let report = load.run(Stop::Seconds(pace.seconds))?;
        let used_ns = server.cpu_time()?.since_ns(&before);
        if let Some(complaint) = complaint(self.row, self.contender.is_mmem, &report) {
            return Err(format!("{row}, {name}: {complaint}"));
        }
        Ok(Moment { cpu_ns: used_ns as f64 / report.tally.answered() as f64, report })
    }
}

/// What makes a measurement worthless, if anything does.
fn complaint(row: &Row, is_mmem: bool, report: &Report) -> Option<String> {
    // A memcached that has to evict refuses some, which costs it time as storing does.
    let may_refuse = !is_mmem && row.evicts();
    if report.tally.answered() == 0 {
        return Some("not one request was answered".to_owned());
    }
    let misses = report.tally.misses;
    if is_mmem && row.misses_none() && misses > 0 {
        return Some(format!("{misses} keys that were stored are missing"));
    }
    if may_refuse { report.tally.fault() } else { report.complaint() }
}

/// The load of a row on one of the servers.
fn plan(row: &Row, contender: &Contender, seed: u64) -> Plan {
    let mut plan = Plan::new(contender.server.port);
    plan.seed = seed;
    plan.protocol = contender.protocol;
    plan.checked = !contender.is_floor;
    plan.connections = row.connections;
    plan.depth = row.depth;
    plan.multiget = row.multiget;
    plan.set_ratio = row.set_ratio;
    plan.zipf = row.zipf;
    plan.keys = row.values.keys;
    plan.prefix = row.values.prefix.to_owned();
    plan.sizes = Sizes::fixed(row.values.bytes);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Histogram, Tally};

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    /// What a run came to.
    fn report(tally: Tally) -> Report {
        Report { seconds: 1.0, tally, latency: Histogram::new() }
    }

    #[test]
    fn only_peers_that_have_to_evict_may_refuse_and_none_may_break_off() {
        let refused = Tally { sets: 9, errors: 1, first_error: Some("full".to_owned()), ..Tally::default() };
        let complains =
            |name, is_mmem, tally: &Tally| complaint(row(name), is_mmem, &report(tally.clone())).is_some();
        assert!(!complains("set-evict", false, &refused));
        assert!(complains("set-evict", true, &refused) && complains("set-deep", false, &refused));
        let broken = Tally { failures: 1, first_failure: Some("closed".to_owned()), ..refused };
        assert!(complains("set-evict", false, &broken));
        assert!(complains("get-one", false, &Tally::default()));
    }

    #[test]
    fn mmem_may_miss_nothing_that_has_room() {
        let missed = report(Tally { hits: 9, misses: 1, ..Tally::default() });
        assert!(complaint(row("mix-zipf"), true, &missed).is_some());
        assert_eq!(complaint(row("mix-zipf"), false, &missed), None);
        assert_eq!(complaint(row("set-evict"), true, &missed), None);
    }

    #[test]
    fn rows_on_the_same_keys_or_on_larger_values_take_turns_wherever_they_stand() {
        let rows: Vec<&Row> = ROWS.iter().collect();
        let groups = by_turns(&rows);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), rows.len());
        assert_eq!(by_turns(&[row("get-4k"), row("get-one"), row("get-256k"), row("set-evict")]).len(), 3);
        for (number, group) in groups.iter().enumerate() {
            assert!(group.iter().all(|row| row.values.take_turns_with(group[0].values)));
            assert!(groups[..number].iter().all(|other| !other[0].values.take_turns_with(group[0].values)));
        }
    }
}
