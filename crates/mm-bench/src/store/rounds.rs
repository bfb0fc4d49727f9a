//! Rounds of short slices, and what they say.
//!
//! In each round either shard of a team works alone for a slice and then both together, one team after the other; so
//! what is compared is less than half a second apart and met the same weather.
//!
//! Of a slice only that time counts in which all shards that take part had their cores, to a block of requests
//! exactly: what other programs take is left out, and two shards are together only while both run.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::shard::{BLOCK, Blocks, Shard};
use crate::machine::median;

/// Two shards, on the cores 0 and 1.
pub(super) type Team = [Shard; 2];

/// The lower quartile, the median and the upper quartile.
pub(super) type Quartiles = [f64; 3];

/// A round counts if that much of each of its slices does.
const COUNTED_MIN: Duration = Duration::from_millis(2);

/// Between cores that share no cache a line takes at least this many times as long as between cores that do, and there
/// as within a core that is two processors.
const FAR: f64 = 1.6;

/// What the rounds say of one kind of work, each team by itself.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    /// Nanoseconds that a shard takes for a request when it works alone.
    pub(super) one_ns: [f64; 2],
    /// How many times as many requests two shards serve as one does.
    pub(super) times_one: [Quartiles; 2],
    /// Nanoseconds that a cache line takes from one core to the other.
    pub(super) line_ns: Quartiles,
    /// How many rounds count.
    pub(super) rounds: usize,
}

/// One round: requests in a second of one shard alone (the mean of both cores) and of two, of each team.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    one: [f64; 2],
    two: [f64; 2],
    line_ns: f64,
}

/// Measures so many rounds of slices of `slice_s` seconds each, after one that does not count. `progress` is told
/// which round begins. The figures are of each group of rounds in which the two processors were as near, the nearest
/// first.
///
/// # Errors
/// A shard has died, or other programs left no time in which both shards ran.
pub(super) fn measure(
    teams: &[Team; 2],
    rounds: usize,
    slice_s: f64,
    progress: impl Fn(usize),
) -> Result<Vec<Figures>, String> {
    let mut all = Vec::with_capacity(rounds);
    for number in 0..=rounds {
        progress(number);
        let [[first, second], _] = teams;
        let mut round = Some(Round { line_ns: first.exchange(second)?, ..Round::default() });
        for (team, [first, second]) in teams.iter().enumerate() {
            let ([alone], [other_alone]) = (work([first], slice_s)?, work([second], slice_s)?);
            let [one, other] = work([first, second], slice_s)?;
            let rates =
                [rate(&alone), rate(&other_alone), rate(&beside(&one, &other)), rate(&beside(&other, &one))];
            round = round.zip(all_of(rates)).map(|(mut round, [alone, other_alone, one, other])| {
                (round.one[team], round.two[team]) = ((alone + other_alone) / 2.0, one + other);
                round
            });
        }
        all.extend(round.filter(|_| number != 0));
    }
    if all.is_empty() {
        return Err("other programs kept the cores busy; measure when there are fewer".to_owned());
    }
    Ok(by_distance(all).iter().map(|rounds| figures(rounds)).collect())
}

/// The rounds in groups, each of those in which a line took less than [`FAR`] times as long as in any of the group. The
/// nearest come first.
fn by_distance(mut rounds: Vec<Round>) -> Vec<Vec<Round>> {
    rounds.sort_by(|one, other| one.line_ns.total_cmp(&other.line_ns));
    let mut groups: Vec<Vec<Round>> = Vec::new();
    for round in rounds {
        match groups.last_mut().filter(|group| round.line_ns < FAR * group[0].line_ns) {
            Some(group) => group.push(round),
            None => groups.push(vec![round]),
        }
    }
    groups
}

/// Has some shards work at the same time.
fn work<const N: usize>(shards: [&Shard; N], slice_s: f64) -> Result<[Blocks; N], String> {
    for shard in shards {
        shard.begin(slice_s)?;
    }
    let mut done = [const { Blocks::new() }; N];
    for (done, shard) in done.iter_mut().zip(shards) {
        *done = shard.answer()?;
    }
    Ok(done)
}

/// Requests in a second; `None` where the blocks are too few to tell.
fn rate(blocks: &[Range<Instant>]) -> Option<f64> {
    let took: Duration = blocks.iter().map(|block| block.end - block.start).sum();
    (took >= COUNTED_MIN).then(|| (blocks.len() * BLOCK) as f64 / took.as_secs_f64())
}

/// Those of `blocks` during which the shard that did `others` had its core all the time too.
fn beside(blocks: &[Range<Instant>], others: &[Range<Instant>]) -> Blocks {
    let runs = others.chunk_by(|one, next| one.end == next.start);
    let mut runs = runs.filter_map(|run| Some(run.first()?.start..run.last()?.end)).peekable();
    let is_beside = |block: &&Range<Instant>| {
        while runs.next_if(|run| run.end < block.end).is_some() {}
        runs.peek().is_some_and(|run| run.start <= block.start)
    };
    blocks.iter().filter(is_beside).cloned().collect()
}

fn all_of<const N: usize>(figures: [Option<f64>; N]) -> Option<[f64; N]> {
    figures.iter().all(Option::is_some).then(|| figures.map(Option::unwrap_or_default))
}

fn figures(rounds: &[Round]) -> Figures {
    let of_each = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
    Figures {
        one_ns: [0, 1].map(|team| 1e9 / median(&mut of_each(&|round| round.one[team]))),
        times_one: [0, 1].map(|team| quartiles(of_each(&|round| round.two[team] / round.one[team]))),
        line_ns: quartiles(of_each(&|round| round.line_ns)),
        rounds: rounds.len(),
    }
}

fn quartiles(mut figures: Vec<f64>) -> Quartiles {
    let middle = median(&mut figures);
    let half = figures.len().div_ceil(2);
    let upper = figures.len() - half;
    [median(&mut figures[..half]), middle, median(&mut figures[upper..])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_beside_the_other_shard_counts() {
        let start = Instant::now();
        let blocks = |bounds: &[[u64; 2]]| -> Blocks {
            let at = |ms| start + Duration::from_millis(ms);
            bounds.iter().map(|&[first, last]| at(first)..at(last)).collect()
        };
        let own = blocks(&[[0, 10], [10, 20], [20, 30], [40, 50], [50, 60], [60, 70]]);
        // It did not run from 17 to 19 and from 44 on for a while.
        let others = blocks(&[[0, 9], [9, 17], [19, 30], [30, 44], [58, 65], [65, 80]]);
        assert_eq!(beside(&own, &others), blocks(&[[0, 10], [20, 30], [60, 70]]));
        assert_eq!(beside(&own, &[]), []);
        let rate = rate(&own).unwrap();
        assert!((rate - BLOCK as f64 / 0.01).abs() < 1.0, "{rate}");
        assert_eq!(super::rate(&blocks(&[[0, 1]])), None, "too short");
    }

    #[test]
    fn figures_are_ratios_within_rounds() {
        let round = |one, two| Round { one: [one, 100.0], two: [two, 200.0], line_ns: 40.0 };
        let figures = figures(&[round(100.0, 150.0), round(200.0, 400.0), round(100.0, 190.0)]);
        assert_eq!(figures.times_one, [[1.7, 1.9, 1.95], [2.0; 3]]);
        assert_eq!((figures.one_ns, figures.line_ns), ([1e7, 1e7], [40.0; 3]));
        assert_eq!(quartiles(vec![4.0, 1.0, 3.0, 2.0]), [1.5, 2.5, 3.5]);
    }

    #[test]
    fn rounds_are_told_apart_by_how_near_the_processors_were() {
        let rounds = [32.0, 160.0, 15.0, 30.0, 147.0].map(|line_ns| Round { line_ns, ..Round::default() });
        let groups = by_distance(rounds.to_vec());
        let lines = |rounds: &Vec<Round>| rounds.iter().map(|round| round.line_ns).collect::<Vec<f64>>();
        let expected = [vec![15.0], vec![30.0, 32.0], vec![147.0, 160.0]];
        assert_eq!(groups.iter().map(lines).collect::<Vec<_>>(), expected);
    }
}
