//! Many shards and little memory: what shards keep for themselves leaves enough for everybody's writes.

#![cfg(feature = "smp")]
#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Outcome, Put, Shared, Store, StoreHandles};

const NOW_S: u32 = 1;

/// Of each group of times to live one.
const EXPIRIES_S: [u32; 6] = [0, 50, 200, 900, 3_800, 100_000];

/// A store, and everybody's handle.
struct Load {
    stores: Vec<Store<Shared>>,
    state: u64,
    /// A key is one of so many.
    keys: u64,
}

impl Load {
    fn new(limit_bytes: usize, shards: usize, keys: u64) -> Self {
        let handles = StoreHandles::open(&Config::new(limit_bytes, 7), shards).unwrap();
        let stores = (0..shards).map(|_| handles.take().unwrap()).collect();
        Self { stores, state: 5, keys }
    }

    fn choose(&mut self, below: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    /// So many requests, by the first `shards` of the shards. Items of all groups come, and are read and so come to
    /// either queue.
    fn work(&mut self, requests: u64, shards: usize, len: usize) {
        let value = vec![b'v'; len];
        for request in 0..requests {
            let name = self.choose(self.keys).to_le_bytes();
            let expiry_s = EXPIRIES_S[usize::try_from(self.choose(6)).unwrap()];
            let shard = usize::try_from(self.choose(shards as u64)).unwrap();
            let store = &mut self.stores[shard];
            let key = store.key(&name).unwrap();
            if store.get(key, NOW_S).is_err() || request % 4 == 0 {
                let put = Put { expiry_s, ..Put::default() };
                let outcome = store.put(key, &put, &value, NOW_S);
                assert_eq!(outcome, Ok(Outcome::Stored), "request {request}: {:?}", store.stats());
            }
            store.rest();
        }
    }

    /// Everybody's background work.
    fn maintain(&mut self) {
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for store in &mut self.stores {
                is_busy |= store.maintain(64, NOW_S);
                store.rest();
            }
        }
    }

    fn finish(&self, name: &str) {
        let store = &self.stores[0];
        store.verify().unwrap();
        let stats = store.stats();
        assert_eq!(stats.refused, 0, "{name}: {stats:?}");
        assert!(stats.evicted > 0, "{name}: the memory was never full");
    }
}

/// Requests that write about four times the limit in values of `len`.
fn requests(limit_bytes: usize, len: usize) -> u64 {
    (4 * limit_bytes / (len + 40)) as u64
}

#[test]
fn no_write_is_refused_however_many_shards_there_are() {
    for (limit_mib, shards, len) in [
        (1, 31, 400),
        (1, 32, 20),
        (1, 32, 5_000),
        (2, 64, 100),
        (8, 256, 200),
        (8, 256, 5_000),
        (16, 32, 1_000),
        (64, 32, 2_000),
        (64, 64, 2_000),
        (64, 128, 2_000),
        (64, 256, 2_000),
        (64, 256, 40_000),
    ] {
        let limit_bytes = limit_mib << 20;
        let requests = requests(limit_bytes, len);
        let mut load = Load::new(limit_bytes, shards, requests / 3);
        load.work(requests, shards, len);
        // Most have nothing to do for a while, and keep what they have begun.
        load.work(requests / 4, 3, len);
        load.work(requests / 4, shards, len);
        load.finish(&format!("{limit_mib} MiB, {shards} shards, {len} bytes"));
    }
}

#[test]
fn no_write_is_refused_under_the_lowest_limit() {
    for (limit_mib, lowest_mib, shards) in [
        (64, 4, 8),
        (64, 5, 16),
        (64, 9, 32),
        (64, 17, 64),
        (64, 33, 128),
        // With huge pages index and ghosts take one each at least.
        (128, 8, 1),
        (128, 8, 4),
        (128, 13, 16),
        (255, 13, 16),
    ] {
        let (limit_bytes, lowest_bytes) = (limit_mib << 20, lowest_mib << 20);
        let mut load = Load::new(limit_bytes, shards, requests(limit_bytes, 2_000) / 3);
        load.work(requests(limit_bytes, 2_000) / 2, shards, 2_000);
        let store = &mut load.stores[0];
        assert!(!store.set_limit(lowest_bytes - (1 << 20)) && store.set_limit(lowest_bytes));
        assert_eq!(store.least_limit().div_ceil(1 << 20), lowest_mib, "{limit_mib} MiB, {shards} shards");
        // Before the memory is given back, while it is, and after that.
        load.work(2_000, shards.min(3), 2_000);
        load.work(2_000, shards, 2_000);
        load.maintain();
        load.stores[0].verify().unwrap();
        load.work(requests(lowest_bytes, 2_000), shards, 2_000);
        load.maintain();
        load.finish(&format!("{shards} shards"));
    }
}

#[test]
fn more_shards_than_can_have_memory_of_their_own_are_refused() {
    let open = |limit_mib: usize, shards| StoreHandles::open(&Config::new(limit_mib << 20, 7), shards);
    assert_eq!([1, 4, 8, 64].map(|mib| Config::new(mib << 20, 7).shards_max()), [32, 128, 256, 256]);
    assert_eq!(open(1, 33).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(open(64, 257).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    // Two segments of 128 KiB for each, and the book-keeping.
    let mut store = open(64, 64).unwrap().take().unwrap();
    assert!(!store.set_limit(16 << 20) && store.set_limit(17 << 20));
    // What a store began with is never too little.
    let mut store = open(128, 256).unwrap().take().unwrap();
    assert!(!store.set_limit(127 << 20) && store.set_limit(128 << 20));
}
