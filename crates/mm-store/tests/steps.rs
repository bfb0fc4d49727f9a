//! No write does more than a bounded number of steps, counted: with the price of each step (`examples/steps.rs`,
//! docs/store.md) that is the longest that a write can take.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Mode, Put, Store};

/// The most steps of each kind that one call did.
#[derive(Debug, Default, Clone, Copy)]
struct Steps {
    /// Records looked at.
    records: u64,
    /// Bytes of records moved.
    moved_bytes: u64,
    /// Segments looked at.
    segments: u64,
    /// Buckets of the index moved.
    buckets: u64,
}

/// What a write of a small item may do at most. Of records: 8 of the segment being emptied, or as many as 16 times
/// its own bytes, where the last batch begins before they are done and has 32, and as many of the batch after it,
/// which is only looked at; or, instead, 32 in search of expired ones. Of bytes: 64 KiB, those of the batch before,
/// where it is the segment's last one, and the last record. Of segments: one part of them, and 64 of those that are
/// light, empty or from before a flush, each time that one is chosen, which is twice where one is empty as soon as
/// it is chosen.
const SMALL_WRITE: Steps =
    Steps { records: 80, moved_bytes: 3 * (64 << 10), segments: 2 * (1024 + 2 * 64), buckets: 2 };

struct Load {
    store: Store,
    state: u64,
    now_s: u32,
    most: Steps,
}

impl Load {
    fn new(limit_bytes: usize) -> Self {
        let store = Store::open(&Config::new(limit_bytes, 1)).unwrap();
        Self { store, state: 3, now_s: 1, most: Steps::default() }
    }

    fn choose(&mut self, below: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    /// Does one call and counts its steps.
    fn count(&mut self, call: impl FnOnce(&mut Store, u32)) {
        let before = self.store.stats();
        call(&mut self.store, self.now_s);
        let after = self.store.stats();
        let most = &mut self.most;
        most.records = most.records.max(after.examined - before.examined);
        most.moved_bytes = most.moved_bytes.max(after.moved_bytes - before.moved_bytes);
        most.segments = most.segments.max(after.segments_examined - before.segments_examined);
        most.buckets = most.buckets.max(after.buckets_moved - before.buckets_moved);
    }

    fn put(&mut self, number: u64, ttl_s: u32, value: &[u8]) {
        self.count(|store, now_s| {
            let bytes = format!("key:{number:012}").into_bytes();
            let key = store.key(&bytes).unwrap();
            let expiry_s = if ttl_s == 0 { 0 } else { now_s + ttl_s };
            let put = Put { mode: Mode::Set, expiry_s, ..Put::default() };
            assert!(store.put(key, &put, value, now_s).is_ok(), "{:?}", store.stats());
        });
    }

    fn get(&mut self, number: u64) {
        let bytes = format!("key:{number:012}").into_bytes();
        let key = self.store.key(&bytes).unwrap();
        let _item = self.store.get(key, self.now_s).is_ok();
    }

    fn assert_within(&self, bound: Steps, name: &str) {
        let Steps { records, moved_bytes, segments, buckets } = self.most;
        let is_within = records <= bound.records
            && moved_bytes <= bound.moved_bytes
            && segments <= bound.segments
            && buckets <= bound.buckets;
        assert!(is_within, "{name}: {:?} in one write, {bound:?} may be", self.most);
    }
}

/// Segments of 2 MiB, but few of them.
fn large_segments() -> Load {
    let mut load = Load::new(1 << 30);
    assert!(load.store.set_limit(96 << 20));
    assert_eq!(load.store.stats().segment_bytes, 2 << 20);
    load
}

#[test]
fn small_writes_among_small_items() {
    let mut load = large_segments();
    for number in 0..700_000 {
        load.put(number, 0, &[b'v'; 100]);
    }
    for _ in 0..700_000 {
        let number = load.choose(500_000);
        load.get(number);
        let number = load.choose(800_000);
        load.put(number, 0, &[b'v'; 100]);
    }
    let stats = load.store.stats();
    assert!(stats.evicted > 100_000 && stats.moved > 100_000 && stats.buckets_moved > 10_000, "{stats:?}");
    load.assert_within(SMALL_WRITE, "small items");
}

#[test]
fn small_writes_while_large_items_leave() {
    let mut load = large_segments();
    let value = vec![b'v'; 60_000];
    for round in 0..4_000 {
        let number = load.choose(1_500);
        load.put(number, 0, &value);
        load.get(round % 100);
    }
    assert!(load.store.stats().moved > 500, "{:?}", load.store.stats());
    load.most = Steps::default();
    for number in 0..900_000 {
        load.put(1_000_000 + number, 0, b"0123456789");
        load.get(number % 300);
    }
    load.assert_within(SMALL_WRITE, "large items");
}

#[test]
fn small_writes_while_items_expire_and_after_a_flush() {
    let mut load = large_segments();
    for round in 0..900_000 {
        let ttl_s = [0, 3, 20, 200][usize::try_from(load.choose(4)).unwrap()];
        load.put(round, ttl_s, &[b'v'; 140]);
        load.now_s += u32::from(round % 20_000 == 0);
        if round == 600_000 {
            load.count(|store, _| store.flush_all());
        }
    }
    assert!(load.store.stats().reclaimed > 100_000, "{:?}", load.store.stats());
    load.assert_within(SMALL_WRITE, "expiry and flush");
}

/// More segments than are looked at in one go.
#[cfg(target_pointer_width = "64")]
#[test]
fn small_writes_among_many_segments() {
    let mut load = Load::new(64 << 20);
    assert!(load.store.set_limit(192 << 20));
    for number in 0..110_000 {
        load.put(number, 0, &[b'v'; 2_000]);
    }
    let stats = load.store.stats();
    assert!(stats.segments > 1_300 && stats.evicted > 10_000, "{stats:?}");
    load.count(|store, _| store.flush_all());
    for number in 0..110_000 {
        load.put(1_000_000 + number, 600, &[b'v'; 2_000]);
    }
    load.now_s += 600;
    for number in 0..110_000 {
        load.put(2_000_000 + number % 10_000, 0, &[b'v'; 2_000]);
    }
    load.store.verify().unwrap();
    load.assert_within(SMALL_WRITE, "many segments");
    load.most = Steps::default();
    let rounds = (0..100_000).take_while(|_| {
        let mut is_more = false;
        load.count(|store, now_s| is_more = store.maintain(64, now_s));
        is_more
    });
    assert!(rounds.count() < 100_000, "there is no end to it");
    let maintained = Steps { records: 64 + 64 + 32 + 8, segments: 3 * 1024 + 64, ..SMALL_WRITE };
    load.assert_within(Steps { buckets: 8, moved_bytes: 10 << 20, ..maintained }, "background work");
}
