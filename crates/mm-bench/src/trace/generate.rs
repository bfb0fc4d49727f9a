//! Workloads made up from published figures: popularity, sizes, times to live, churn, scans, bursts.
//!
//! One generator with many knobs: a [`Workload`] says how each is set, and the same seed gives the same trace.

pub(crate) mod builtin;
pub(crate) mod sizes;

use super::number::{bytes_u32, real, to_u32, to_usize, whole};
use super::random::{Random, Weighted, Zipf};
use super::request::{Operation, Request, Trace};
use sizes::Sizes;

/// The share of the objects that churn takes for the hot ones.
const HOT_SHARE: f64 = 0.1;
/// Bursts come once in so many requests, last a tenth of that, and ask for so many new objects.
const BURST_PERIOD: u64 = 200_000;
const BURST_OBJECTS: u64 = 50;

/// What to generate. Shares are of all requests, between 0 and 1.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// What the table calls it.
    pub(crate) name: String,
    /// How many requests.
    pub(crate) requests: u64,
    /// Requests per second of the trace's time.
    pub(crate) per_s: f64,
    /// Which of the lasting objects are asked for.
    pub(crate) popularity: Popularity,
    /// Bytes of a key.
    pub(crate) key_bytes: u32,
    /// Bytes of values.
    pub(crate) sizes: Sizes,
    /// Times to live in seconds (0 for none) with their weights; an object keeps its own.
    pub(crate) ttls: Vec<(u32, f64)>,
    /// Writes to lasting objects and first writes of passing ones; where there are many of them (from
    /// [`WRITTEN_FROM`] on) a missing read is not followed by a write.
    pub(crate) set: f64,
    /// Deletes.
    pub(crate) delete: f64,
    /// Requests for objects never asked for again.
    pub(crate) one_hit: f64,
    /// Reads of keys that do not exist.
    pub(crate) absent: f64,
    /// Walks through further objects, in order and again from the start.
    pub(crate) scan: Scan,
    /// How much of the hottest tenth is replaced in an hour.
    pub(crate) churn_per_h: f64,
    /// Requests of a burst that go to its few new objects.
    pub(crate) burst: f64,
    /// By what factor values grow from the first request to the last.
    pub(crate) growth: f64,
}

/// From this share of writes on, readers do not fill the cache.
const WRITTEN_FROM: f64 = 0.3;

/// Which objects are asked for.
#[derive(Debug, Clone)]
pub(crate) enum Popularity {
    /// The n-th with a probability proportional to n to the power of -alpha.
    Zipf { objects: u32, alpha: f64 },
    /// Groups of equally popular objects: how many there are in each, and the requests to the whole group.
    Groups(Vec<(u32, f64)>),
}

/// Requests that walk through a range of objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    /// Of all requests.
    pub(crate) share: f64,
    /// After so many objects the walk begins again.
    pub(crate) objects: u32,
}

impl Workload {
    /// Reads only, Zipf, no time to live, and none of the other complications.
    pub(crate) fn plain(name: &str, popularity: Popularity, sizes: Sizes) -> Self {
        Self {
            name: name.to_owned(),
            requests: 2_000_000,
            per_s: 1000.0,
            popularity,
            key_bytes: 30,
            sizes,
            ttls: Vec::new(),
            set: 0.0,
            delete: 0.0,
            one_hit: 0.0,
            absent: 0.0,
            scan: Scan { share: 0.0, objects: 0 },
            churn_per_h: 0.0,
            burst: 0.0,
            growth: 1.0,
        }
    }

    /// The trace that this seed gives.
    pub(crate) fn generate(&self, seed: u64) -> Trace {
        let mut generator = Generator::new(self, seed);
        let requests = (0..self.requests).map(|position| generator.request(position)).collect();
        Trace { name: self.name.clone(), requests, objects: generator.next_object }
    }
}

/// Draws lasting objects by popularity.
#[derive(Debug)]
enum Draw {
    Zipf(Zipf),
    Groups { choice: Weighted, groups: Vec<(u64, u64)> },
}

impl Draw {
    fn new(popularity: &Popularity) -> (Self, u32) {
        match popularity {
            Popularity::Zipf { objects, alpha } => {
                (Self::Zipf(Zipf::new(u64::from(*objects), *alpha)), *objects)
            }
            Popularity::Groups(groups) => {
                let choice = Weighted::new(groups.iter().map(|group| group.1));
                let mut first = 0;
                let ranges = groups.iter().map(|&(count, _)| {
                    let range = (u64::from(first), u64::from(count));
                    first += count;
                    range
                });
                let groups = ranges.collect();
                (Self::Groups { choice, groups }, first)
            }
        }
    }

    fn rank(&self, random: &mut Random) -> usize {
        let rank = match self {
            Self::Zipf(zipf) => zipf.draw(random),
            Self::Groups { choice, groups } => {
                let (first, count) = groups[choice.draw(random)];
                first + random.below(count)
            }
        };
        to_usize(rank)
    }
}

#[derive(Debug)]
struct Generator<'workload> {
    workload: &'workload Workload,
    random: Random,
    seed: u64,
    draw: Draw,
    /// The object of each popularity rank.
    population: Vec<u32>,
    /// Objects from here on are scanned.
    scan_first: u32,
    scanned: u32,
    /// Never written.
    absent: u32,
    next_object: u32,
    burst_first: u32,
    churn_due: f64,
    ttl_choice: Weighted,
}

impl<'workload> Generator<'workload> {
    fn new(workload: &'workload Workload, seed: u64) -> Self {
        let (draw, lasting) = Draw::new(&workload.popularity);
        Self {
            workload,
            random: Random::new(seed),
            seed,
            draw,
            population: (0..lasting).collect(),
            scan_first: lasting,
            scanned: 0,
            absent: lasting + workload.scan.objects,
            next_object: lasting + workload.scan.objects + u32::from(workload.absent > 0.0),
            burst_first: 0,
            churn_due: 0.0,
            ttl_choice: Weighted::new(workload.ttls.iter().map(|ttl| ttl.1)),
        }
    }

    fn request(&mut self, position: u64) -> Request {
        self.churn();
        let (object, operation) = self.access(position);
        let progress = real(position) / real(self.workload.requests);
        let mut fixed = Random::new(self.seed ^ u64::from(object) << 20);
        let value = self.workload.sizes.draw(&mut fixed) * self.workload.growth.powf(progress);
        let ttl_s = self.workload.ttls.get(self.ttl_choice.draw(&mut fixed)).map_or(0, |ttl| ttl.0);
        Request {
            object,
            bytes: self.workload.key_bytes + bytes_u32(whole(value)),
            time_s: bytes_u32(whole(real(position) / self.workload.per_s)),
            ttl_s,
            operation,
        }
    }

    fn access(&mut self, position: u64) -> (u32, Operation) {
        let workload = self.workload;
        let mut point = self.random.unit();
        let mut falls_in = |share: f64| {
            point -= share;
            point < 0.0
        };
        if falls_in(workload.scan.share) {
            self.scanned = (self.scanned + 1) % workload.scan.objects;
            return (self.scan_first + self.scanned, Operation::Get);
        }
        if falls_in(workload.one_hit) {
            return (self.fresh(1), self.first_operation());
        }
        if falls_in(workload.absent) {
            return (self.absent, Operation::Peek);
        }
        (self.lasting(position), self.operation())
    }

    fn lasting(&mut self, position: u64) -> u32 {
        let phase = position % BURST_PERIOD;
        if phase == 0 && self.workload.burst > 0.0 {
            self.burst_first = self.fresh(to_u32(to_usize(BURST_OBJECTS)));
        }
        if phase < BURST_PERIOD / 10 && self.random.chance(self.workload.burst) {
            return self.burst_first + to_u32(to_usize(self.random.below(BURST_OBJECTS)));
        }
        self.population[self.draw.rank(&mut self.random)]
    }

    const fn fresh(&mut self, count: u32) -> u32 {
        self.next_object += count;
        self.next_object - count
    }

    /// Passing objects are written where the workload's objects are.
    fn first_operation(&self) -> Operation {
        if self.workload.set >= WRITTEN_FROM { Operation::Set } else { Operation::Get }
    }

    fn operation(&mut self) -> Operation {
        let point = self.random.unit();
        if point < self.workload.set {
            Operation::Set
        } else if point < self.workload.set + self.workload.delete {
            Operation::Delete
        } else if self.workload.set >= WRITTEN_FROM {
            Operation::Peek
        } else {
            Operation::Get
        }
    }

    /// Lets hot objects trade places with any others at the rate asked for.
    fn churn(&mut self) {
        let hot = whole(real(self.population.len() as u64) * HOT_SHARE);
        self.churn_due += self.workload.churn_per_h * real(hot) / 3600.0 / self.workload.per_s;
        while self.churn_due >= 1.0 {
            self.churn_due -= 1.0;
            let one = to_usize(self.random.below(hot));
            let other = to_usize(self.random.below(self.population.len() as u64));
            self.population.swap(one, other);
        }
    }
}

#[cfg(test)]
mod tests;
