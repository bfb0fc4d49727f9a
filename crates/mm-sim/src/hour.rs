//! An hour of virtual time: how much of the memory is held by items whose time is over.

use mm_base::choice::Choices;
use mm_memcached::{Memcached, NoHost, Settings, Shared as Common};
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::{Faults, PeerId};
use mm_server::Config;
use mm_server::simulation::{Simulation, Stepped};
use mm_store::Store;

use crate::limits::{DEAD_S, HOUR_LIMIT_BYTES, HOUR_S, HOUR_SETS_PER_S, SAMPLE_S};

/// What an hour has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hour {
    /// Samples taken.
    pub samples: u64,
    /// The largest share of the limit held by items dead for [`DEAD_S`] seconds, in thousandths.
    pub most: u64,
    /// When that was, in seconds.
    pub most_at_s: u64,
    /// Values stored.
    pub stored: u64,
    /// Items evicted.
    pub evicted: u64,
    /// Items removed because their time was over.
    pub reclaimed: u64,
}

/// Times to live, in seconds: how often each comes, and its bounds.
const LIVES: &[(u64, u64, u64)] =
    &[(30, 1, 10), (30, 10, 60), (15, 60, 600), (10, 600, 3600), (5, 86_400, 2_592_000), (10, 0, 0)];

/// Runs an hour of sets with all sorts of times to live, and a sixth as many touches.
///
/// # Errors
/// The server does not answer, or an invariant of the store does not hold.
pub fn hour(seed: u64) -> Result<Hour, String> {
    let config = Config { signals: false, ..Config::default() };
    let mut settings = Settings::default();
    settings.items.limit_bytes = HOUR_LIMIT_BYTES as u64;
    let common = Common::new(settings, 1, Box::new(NoHost));
    let store =
        Store::open(&mm_store::Config::new(HOUR_LIMIT_BYTES, seed)).map_err(|error| error.to_string())?;
    let store = std::cell::RefCell::new(Some(store));
    let mut simulation = Simulation::new(&config, seed, Faults::default(), |start| {
        // One shard takes the one store there is.
        let store = store.borrow_mut().take();
        Memcached::new(start, &common, store.unwrap_or_else(|| unreachable!("a second shard")))
    });
    let mut choices = Choices::new(seed).fork(20);
    let peer = simulation.connect();
    let start_ms = simulation.network().now().monotonic_ms;
    let mut hour = Hour::default();
    let text = vec![b'v'; 4096];
    for second in 0..HOUR_S {
        let mut requests = Vec::new();
        // The load comes and goes: a tenth of it, or all.
        let sets = if second / 300 % 3 == 2 { HOUR_SETS_PER_S / 10 } else { HOUR_SETS_PER_S };
        for _ in 0..sets {
            ask(&mut requests, &mut choices, &text);
        }
        exchange(&mut simulation, peer, &requests)?;
        let end_ms = start_ms + (second + 1) * 1000;
        while simulation.network().now().monotonic_ms < end_ms {
            if simulation.step_until(end_ms) == Stepped::Spinning {
                return Err("the server spins".to_owned());
            }
        }
        if second % SAMPLE_S == 0 {
            sample(&simulation, second, &mut hour);
        }
    }
    for service in simulation.services() {
        service.store().verify().map_err(|broken| broken.to_string())?;
        let stats = service.store().stats();
        (hour.stored, hour.evicted, hour.reclaimed) = (stats.stored, stats.evicted, stats.reclaimed);
    }
    Ok(hour)
}

/// Adds a set, and now and then a touch. None wants an answer.
fn ask(requests: &mut Vec<u8>, choices: &mut Choices, text: &[u8]) {
    let key = choices.below(1 << 24);
    let total = LIVES.iter().map(|(weight, _, _)| weight).sum();
    let mut drawn = choices.below(total);
    let mut life_s = 0;
    for (weight, least, most) in LIVES {
        if drawn < *weight {
            life_s = choices.between(*least, *most);
            break;
        }
        drawn -= weight;
    }
    let len = if choices.one_in(20) { choices.index(text.len()) } else { choices.index(300) };
    requests.extend_from_slice(format!("set key:{key} 0 {life_s} {len} noreply\r\n").as_bytes());
    requests.extend_from_slice(&text[..len]);
    requests.extend_from_slice(b"\r\n");
    if choices.one_in(6) {
        let life_s = choices.between(1, 120);
        requests.extend_from_slice(format!("touch key:{key} {life_s} noreply\r\n").as_bytes());
    }
}

/// Sends requests and waits until all are done.
fn exchange(simulation: &mut Simulation<Memcached>, peer: PeerId, requests: &[u8]) -> Result<(), String> {
    let network = simulation.network().clone();
    let mut rest = [requests, b"mn\r\n"].concat();
    let mut answer = Vec::new();
    for _ in 0..1_000_000 {
        let taken = network.write(peer, &rest).map_err(|error| error.to_string())?;
        rest.drain(..taken);
        simulation.step_until(network.now().monotonic_ms);
        if let Ok(Received::Bytes(bytes)) = network.read(peer, 1024) {
            answer.extend(bytes);
        }
        if answer == b"MN\r\n" {
            return Ok(());
        }
    }
    Err(format!("the server has answered {:?}", String::from_utf8_lossy(&answer)))
}

fn sample(simulation: &Simulation<Memcached>, second: u64, hour: &mut Hour) {
    // The store's seconds begin with 2 at the server's start.
    let before_s = u32::try_from(2 + second + 1).unwrap_or(u32::MAX).saturating_sub(DEAD_S);
    let held: usize = simulation.services().map(|service| service.store().expired_bytes(before_s)).sum();
    let share = (held * 1000 / HOUR_LIMIT_BYTES) as u64;
    hour.samples += 1;
    if share > hour.most {
        (hour.most, hour.most_at_s) = (share, second);
    }
}
