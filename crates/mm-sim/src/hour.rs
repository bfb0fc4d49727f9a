//! An hour of virtual time: how much of the memory is held by items whose time is over.

mod mixes;

use std::cell::RefCell;

use mm_base::choice::Choices;
use mm_memcached::{Memcached, NoHost, Settings, Shared as Common};
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::{Faults, PeerId};
use mm_server::Config;
use mm_server::simulation::{Simulation, Stepped};
use mm_store::{Local, Shared, Sharing, Store, StoreHandles};

use crate::limits::{DEAD_S, DEAD_SHARE_MAX, HOUR_LIMIT_BYTES, HOUR_S, HOUR_SHARDS, SAMPLE_S};
pub use mixes::{MIXES, Mix};

/// What an hour has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hour {
    /// Samples taken.
    pub samples: u64,
    /// Of these, with more than [`DEAD_SHARE_MAX`].
    pub above: u64,
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

/// Runs an hour of a mix of times to live, on a store of one shard or, `shared`, on one of several.
///
/// # Errors
/// The server does not answer, or an invariant of the store does not hold.
pub fn hour(mix: &Mix, shared: bool, seed: u64) -> Result<Hour, String> {
    let config = mm_store::Config::new(HOUR_LIMIT_BYTES, seed);
    if !shared {
        let store: Store<Local> = Store::open(&config).map_err(|error| error.to_string())?;
        return Run::new(vec![store], seed).whole(mix);
    }
    let handles = StoreHandles::open(&config, HOUR_SHARDS).map_err(|error| error.to_string())?;
    let stores: Vec<Store<Shared>> = (0..HOUR_SHARDS).filter_map(|_| handles.take()).collect();
    Run::new(stores, seed).whole(mix)
}

struct Run<S: Sharing> {
    simulation: Simulation<Memcached<S>>,
    choices: Choices,
    /// A connection for each shard.
    peers: Vec<PeerId>,
    start_ms: u64,
    hour: Hour,
}

impl<S: Sharing> Run<S> {
    fn new(stores: Vec<Store<S>>, seed: u64) -> Self {
        let shards = stores.len();
        let mut config = Config { signals: false, ..Config::default() };
        config.shards = config.shards.saturating_add(shards - 1);
        let mut settings = Settings::default();
        settings.items.limit_bytes = HOUR_LIMIT_BYTES as u64;
        let common = Common::new(settings, shards, Box::new(NoHost));
        let stores = RefCell::new(stores);
        let simulation = Simulation::new(&config, seed, Faults::default(), |start| {
            let store = stores.borrow_mut().pop();
            Memcached::new(start, &common, store.unwrap_or_else(|| unreachable!("a store for each shard")))
        });
        let peers = (0..shards).map(|_| simulation.connect()).collect();
        let start_ms = simulation.network().now().monotonic_ms;
        let choices = Choices::new(seed).fork(20);
        Self { simulation, choices, peers, start_ms, hour: Hour::default() }
    }

    fn whole(mut self, mix: &Mix) -> Result<Hour, String> {
        for second in 0..HOUR_S {
            for shard in 0..self.peers.len() {
                let unix_s = self.simulation.network().now().unix_s;
                let shards = self.peers.len() as u64;
                let requests = mix.requests((second, unix_s, shards), &mut self.choices);
                self.exchange(self.peers[shard], &requests)?;
            }
            let end_ms = self.start_ms + (second + 1) * 1000;
            while self.simulation.network().now().monotonic_ms < end_ms {
                if self.simulation.step_until(end_ms) == Stepped::Spinning {
                    return Err("the server spins".to_owned());
                }
            }
            if second % SAMPLE_S == 0 {
                self.sample(second);
            }
        }
        let mut hour = self.hour;
        for service in self.simulation.services() {
            service.store().verify().map_err(|broken| broken.to_string())?;
        }
        if let Some(service) = self.simulation.services().next() {
            let stats = service.store().stats();
            (hour.stored, hour.evicted, hour.reclaimed) = (stats.stored, stats.evicted, stats.reclaimed);
        }
        Ok(hour)
    }

    /// Sends requests and waits until all are done.
    fn exchange(&mut self, peer: PeerId, requests: &[u8]) -> Result<(), String> {
        let network = self.simulation.network().clone();
        let requests = [requests, b"mn\r\n"].concat();
        let (mut sent, mut answer) = (0, Vec::new());
        for _ in 0..1_000_000 {
            sent += network.write(peer, &requests[sent..]).map_err(|error| error.to_string())?;
            self.simulation.step_until(network.now().monotonic_ms);
            if let Ok(Received::Bytes(bytes)) = network.read(peer, 1 << 20) {
                answer.extend(bytes);
            }
            if answer.ends_with(b"MN\r\n") {
                break;
            }
        }
        if answer.ends_with(b"MN\r\n") && !answer.windows(5).any(|bytes| bytes == b"ERROR") {
            return Ok(());
        }
        Err(format!("the server has answered {:?}", String::from_utf8_lossy(&answer)))
    }

    fn sample(&mut self, second: u64) {
        // The store's seconds begin with 2 at the server's start.
        let before_s = u32::try_from(2 + second + 1).unwrap_or(u32::MAX).saturating_sub(DEAD_S);
        // All shards see one store.
        let held = self.simulation.services().next().map(|service| service.store().expired_bytes(before_s));
        let share = (held.unwrap_or_default() * 1000 / HOUR_LIMIT_BYTES) as u64;
        let hour = &mut self.hour;
        hour.samples += 1;
        hour.above += u64::from(share > DEAD_SHARE_MAX);
        if share > hour.most {
            (hour.most, hour.most_at_s) = (share, second);
        }
    }
}
