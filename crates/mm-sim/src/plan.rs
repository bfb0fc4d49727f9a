//! What a seed decides: which requests, which faults, which limits.
//!
//! Each kind of request and of fault is switched on or off by chance (swarm testing): a run without deletes, or with
//! nothing but multigets and resets, gets to states that a mixture of everything never reaches.

use std::num::NonZeroUsize;

use mm_base::choice::Choices;
use mm_memcached::Settings;
use mm_memcached::limits::COPY_MAX_BYTES;
use mm_runtime::driver::sim::Faults;
use mm_server::Config;
use mm_server::simulation::Unrest;

use crate::limits::{
    CLIENTS_MAX, HELD_BYTES_MAX, HELD_KEYS, KEYS_MAX, LARGE_LIMIT_MB, MANY_KEYS, PIECES_MAX, RAISED_LIMIT_MB,
    RECORDED_CLIENTS_MAX, RECORDED_KEYS, REFUSED_SHARE,
};
use crate::requests::{KINDS, Kind};

/// The place of [`Kind::Limit`] among the kinds.
const LIMIT: usize = 17;

/// What connections above the limit are told.
pub(crate) const REFUSAL: &[u8] = b"ERROR Too many open connections\r\n";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    pub(crate) work: Work,
    pub(crate) manners: Manners,
    pub(crate) ends: ServerEnds,
    /// What happens to shards that are several.
    pub(crate) unrest: Unrest,
    /// One step in so many the wall clock is set, or the machine sleeps for a while. 0: never.
    pub(crate) clock_jumps: u64,
    /// One step in so many a piece of the memory that is to be populated is done with. 0: none ever is.
    pub(crate) populates: u64,
}

/// When a server ends and another one begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerEnds {
    /// Executed requests after which the server is drained and started anew. 0: it is not.
    pub(crate) drain_after: u64,
    /// Executed requests after which another server takes its place, and again after as many. 0: none does.
    pub(crate) hand_over_after: u64,
    /// The memory is that of a file, and the server that is started anew begins with what is in it.
    pub(crate) is_in_file: bool,
}

/// Which requests.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// How often each kind comes, by [`Kind`](crate::requests::Kind).
    pub(crate) weights: Vec<u64>,
    /// The longest value, in bytes.
    pub(crate) value_bytes_max: usize,
    /// One value in so many may be that long; others are short.
    pub(crate) long_values: u64,
    /// The longest of these, in bytes.
    pub(crate) short_bytes_max: usize,
    /// One item in so many expires within seconds. 0: none.
    pub(crate) short_lives: u64,
    /// One command in so many that can wants no answer. 0: none.
    pub(crate) noreply: u64,
    /// One request in so many is wrong in some way. 0: none.
    pub(crate) flaws: u64,
    /// Keys of a multiget, at most.
    pub(crate) multiget_max: usize,
    /// Requests that a client has under way, at most.
    pub(crate) depth_max: usize,
    /// One request in so many that can be a meta command is one. 0: none.
    pub(crate) meta: u64,
    /// What only a meta command can ask for is asked for by one in so many. 0: by none.
    pub(crate) rare: u64,
    /// One connection in so many speaks the binary protocol. 0: none.
    pub(crate) binary: u64,
    /// One step in so many a request is sent in a datagram. 0: none.
    pub(crate) letters: u64,
    /// What clients see is held against every order in which it can have come about, so only such requests are made as
    /// leave few orders.
    pub(crate) is_recorded: bool,
    /// The memory limits that clients set, in megabytes. `None`: only such as are refused.
    pub(crate) limits_mb: Option<(u64, u64)>,
}

/// How clients behave.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// The most that a client writes and reads at once, in bytes.
    pub(crate) write_bytes_max: usize,
    pub(crate) read_bytes_max: usize,
    /// The longest pause between two acts, in milliseconds.
    pub(crate) think_ms_max: u64,
    /// One act in so many begins a long pause. 0: none.
    pub(crate) long_pauses: u64,
    /// One act in so many resets the connection. 0: none.
    pub(crate) resets: u64,
    /// One act in so many ends the connection in good order. 0: none does.
    pub(crate) finishes: u64,
    /// One client in so many reads slowly. 0: none.
    pub(crate) slow_readers: u64,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut choices = Choices::new(seed).fork(10);
        let shards = NonZeroUsize::new(1 + choices.index(4)).unwrap_or(NonZeroUsize::MIN);
        let mut clients = 1 + choices.index(CLIENTS_MAX);
        let mut faults = faults(&mut choices);
        let mut manners = manners(&mut choices);
        let mut work = work(&mut choices);
        let is_pressed = choices.one_in(4);
        if is_pressed {
            // More than the memory holds.
            work.value_bytes_max = work.value_bytes_max.max(if choices.one_in(2) { 3000 } else { 40_000 });
            work.long_values = 2;
        }
        let keys = if is_pressed { KEYS_MAX } else { 0 };
        let mut keys = keys.max(1 + index(&mut choices, 3, (KEYS_MAX, 60)));
        let mut settings = Settings::default();
        settings.items.limit_bytes = if is_pressed { 1 << 20 } else { 1 << choices.between(20, 23) };
        settings.items.evicts = !choices.one_in(8);
        settings.items.item_size_max = if choices.one_in(3) { 8 * 1024 } else { 1 << 18 };
        if is_pressed && choices.one_in(3) {
            clients = CLIENTS_MAX;
            hoard(&mut settings, &mut work, &mut manners, &mut faults);
        }
        if choices.one_in(10) {
            let is_low = choices.one_in(2);
            enlarge(is_low, &mut settings, &mut work, &mut manners, &mut faults);
        }
        if choices.one_in(8) {
            keys = crowd(choices.one_in(2), &mut work, &mut manners);
        } else if work.limits_mb.is_none() && choices.one_in(6) {
            keys = hold(&mut settings, &mut work, &mut manners, &mut faults);
        }
        if shards.get() > 1 && choices.one_in(4) {
            (keys, clients) = (RECORDED_KEYS, clients.min(RECORDED_CLIENTS_MAX));
            record(&mut work);
        }
        // Who sends or receives few bytes at a time would be at one long value for all of the run.
        let piece = manners.write_bytes_max.min(manners.read_bytes_max).min(faults.capacity_bytes);
        work.value_bytes_max = work.value_bytes_max.min(piece * PIECES_MAX);
        settings.watcher_bytes =
            if choices.one_in(2) { 200 + choices.index(2000) } else { settings.watcher_bytes };
        settings.threads = shards.get();
        let config = config(&mut choices, shards, clients);
        let drain_after = if choices.one_in(3) { choices.between(500, 9000) } else { 0 };
        let clock_jumps = some(&mut choices, 3, 2000);
        let unrest = unrest(&mut choices);
        let hand_over_after = if choices.one_in(3) { choices.between(500, 9000) } else { 0 };
        let populates = if choices.one_in(4) { 0 } else { choices.between(1, 20) };
        let is_in_file = drain_after != 0 && choices.one_in(2);
        let ends = ServerEnds { drain_after, hand_over_after, is_in_file };
        Self { config, settings, faults, clients, keys, work, manners, ends, unrest, clock_jumps, populates }
    }

    /// How many values the store may refuse for want of memory, of so many requests. One that evicts has memory for
    /// all, unless values under way, or answers that are being sent, can hold it all.
    pub(crate) fn refusals_max(&self, requests: u64) -> u64 {
        let least_mb = self.work.limits_mb.map_or(u64::MAX, |(least_mb, _)| least_mb);
        let limit_bytes = self.settings.items.limit_bytes.min(least_mb.saturating_mul(1 << 20));
        let value_bytes = self.work.value_bytes_max;
        // Short values are copied, others sent from where they are: an answer's last one may go past its cap.
        let is_held = value_bytes > COPY_MAX_BYTES;
        let answers_bytes = if is_held { self.config.output_cap_bytes + value_bytes } else { 0 };
        match (self.clients * (value_bytes + answers_bytes)) as u64 > limit_bytes {
            _ if !self.settings.items.evicts => u64::MAX,
            true => requests / REFUSED_SHARE,
            false => 0,
        }
    }
}

/// Values that keep all memory from others while their senders pause.
fn hoard(settings: &mut Settings, work: &mut Work, manners: &mut Manners, faults: &mut Faults) {
    (settings.items.evicts, settings.items.item_size_max) = (true, 1 << 18);
    (work.value_bytes_max, work.long_values, manners.long_pauses) = (200_000, 2, 12);
    manners.write_bytes_max = manners.write_bytes_max.max(8 * 1024);
    faults.capacity_bytes = faults.capacity_bytes.max(16 * 1024);
}

/// Many items, which the memory holds or does not, and answers that keep their values from being moved. Returns how
/// many keys there are.
fn crowd(are_short: bool, work: &mut Work, manners: &mut Manners) -> usize {
    (work.value_bytes_max, work.long_values) = (6000, 10);
    work.short_bytes_max = if are_short { 64 } else { 400 };
    work.weights[0] *= 8;
    work.short_lives = 0;
    (manners.slow_readers, manners.read_bytes_max) = (2, 64 * 1024);
    MANY_KEYS
}

/// Few writes among many answers that keep their values from being moved and removed. Returns how many keys there are.
fn hold(settings: &mut Settings, work: &mut Work, manners: &mut Manners, faults: &mut Faults) -> usize {
    (work.value_bytes_max, work.short_bytes_max, work.long_values) = (HELD_BYTES_MAX, 400, 2);
    (work.weights[0], work.weights[1]) = (20, 400);
    settings.items.limit_bytes = 1 << 20;
    (settings.items.evicts, settings.items.item_size_max) = (true, 1 << 18);
    (manners.slow_readers, manners.read_bytes_max, manners.write_bytes_max) = (2, 16384, 16 * 1024);
    faults.capacity_bytes = 8192;
    HELD_KEYS
}

/// Memory enough for the limit to go up and down at run time, and for values that are long. Segments are then large: a
/// low limit has them emptied while answers are sent from them.
fn enlarge(
    is_low: bool,
    settings: &mut Settings,
    work: &mut Work,
    manners: &mut Manners,
    faults: &mut Faults,
) {
    settings.items.limit_bytes = LARGE_LIMIT_MB << 20;
    settings.items.item_size_max = 4 << 20;
    work.limits_mb = Some((8, if is_low { 12 } else { RAISED_LIMIT_MB }));
    work.weights[LIMIT] = work.weights[LIMIT].max(4);
    (work.value_bytes_max, work.long_values) = (2 << 20, 60);
    manners.write_bytes_max = 64 * 1024;
    manners.read_bytes_max = 256 * 1024;
    faults.capacity_bytes = 256 * 1024;
}

/// Nought once in `off` times, else a number up to `max`.
fn some(choices: &mut Choices, off: u64, max: u64) -> u64 {
    if choices.one_in(off) { 0 } else { choices.between(2, max) }
}

/// A number below the first of two bounds once in `rare` times, else below the second.
fn index(choices: &mut Choices, rare: u64, (bound, usual): (usize, usize)) -> usize {
    let bound = if choices.one_in(rare) { bound } else { usual };
    choices.index(bound)
}

fn faults(choices: &mut Choices) -> Faults {
    let capacity_bytes = match choices.below(4) {
        0 => 64 + choices.index(1000),
        1 => 4096,
        _ => 256 * 1024,
    };
    let mut faults = Faults {
        delay_ms_max: if choices.one_in(3) { 0 } else { choices.between(1, 50) },
        capacity_bytes,
        short_receives: some(choices, 3, 20),
        short_sends: some(choices, 3, 20),
        spurious_events: some(choices, 3, 20),
        failed_accepts: some(choices, 2, 8),
        resets: some(choices, 2, 40) * 50,
        lost_datagrams: some(choices, 3, 20),
        doubled_datagrams: some(choices, 3, 20),
    };
    let has_delay = faults.delay_ms_max > 0;
    let usual = [&mut faults.short_receives, &mut faults.short_sends, &mut faults.spurious_events];
    // These happen in every run in which they can.
    if usual.iter().filter(|rate| ***rate > 0).count() + usize::from(has_delay) < 3 {
        usual.into_iter().for_each(|rate| *rate = 10);
    }
    faults
}

fn unrest(choices: &mut Choices) -> Unrest {
    let is_long = choices.one_in(2);
    Unrest {
        cut_turns: some(choices, 3, 60),
        cut_steps_max: if is_long { 1000 } else { 20 },
        cut_ms_max: if is_long { 400 } else { 5 },
        moves: some(choices, 3, 100),
    }
}

fn manners(choices: &mut Choices) -> Manners {
    Manners {
        write_bytes_max: 1 + index(choices, 4, (40, 16 * 1024)),
        read_bytes_max: 1 + index(choices, 4, (400, 64 * 1024)),
        think_ms_max: if choices.one_in(2) { 0 } else { choices.between(1, 30) },
        long_pauses: some(choices, 2, 40) * 20,
        resets: some(choices, 2, 40) * 50,
        finishes: some(choices, 2, 40) * 20,
        slow_readers: some(choices, 2, 8),
    }
}

fn work(choices: &mut Choices) -> Work {
    let mut weights: Vec<u64> = KINDS
        .iter()
        .map(|(_, usual)| if choices.one_in(3) { 0 } else { choices.between(1, 2 * usual) })
        .collect();
    // Something has to be stored and asked for.
    weights[0] = weights[0].max(4);
    weights[1] = weights[1].max(4);
    let value_bytes_max = match choices.below(6) {
        0 | 1 => 100,
        2 | 3 => 3000,
        4 => 40_000,
        _ => 300_000,
    };
    Work {
        weights,
        value_bytes_max,
        short_bytes_max: 64,
        long_values: choices.between(2, 10) * if value_bytes_max > 3000 { 4 } else { 1 },
        short_lives: some(choices, 3, 10),
        noreply: some(choices, 3, 10),
        flaws: some(choices, 3, 50),
        multiget_max: 1 + index(choices, 4, (100, 8)),
        depth_max: 1 + index(choices, 3, (100, 6)),
        meta: some(choices, 3, 4),
        rare: some(choices, 4, 6),
        binary: some(choices, 2, 4),
        letters: some(choices, 2, 8),
        is_recorded: false,
        limits_mb: None,
    }
}

/// Leaves out what has many explanations, and what takes long to look through.
fn record(work: &mut Work) {
    work.is_recorded = true;
    (work.short_lives, work.noreply, work.flaws, work.letters) = (0, 0, 0, 0);
    (work.value_bytes_max, work.limits_mb) = (100, None);
    work.depth_max = 1;
    work.multiget_max = work.multiget_max.min(2);
    for ((kind, _), weight) in KINDS.iter().zip(&mut work.weights) {
        // What `me` tells of an item is no call.
        if matches!(kind, Kind::Prepend | Kind::Debug) {
            *weight = 0;
        }
    }
}

fn config(choices: &mut Choices, shards: NonZeroUsize, clients: usize) -> Config {
    let connections_max = if choices.one_in(3) { 1 + choices.index(clients) } else { 1024 };
    let output_cap_bytes = match choices.below(3) {
        0 => 1 + choices.index(2000),
        1 => 1 + choices.index(40_000),
        _ => 64 * 1024,
    };
    Config {
        shards,
        connections_max,
        // All clients have one address.
        connections_per_address_max: choices.one_in(8).then(|| 1 + choices.index(clients)),
        refusal: choices.one_in(2).then_some(REFUSAL),
        idle_timeout_ms: choices.one_in(3).then(|| choices.between(200, 3000)),
        write_timeout_ms: if choices.one_in(2) { Some(choices.between(200, 3000)) } else { Some(60_000) },
        output_cap_bytes,
        buffer_bytes_max: if choices.one_in(6) { 64 * 1024 } else { 16 << 20 },
        drain_ms: if choices.one_in(2) { choices.between(1, 50) } else { choices.between(50, 5000) },
        signals: false,
        ..Config::default()
    }
}
