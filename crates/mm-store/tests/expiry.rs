//! Expired items give their memory back: at most a twentieth of the limit is held by items dead for ten seconds.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Miss, Put, Store};

const DEAD_S: u32 = 10;

struct Load {
    store: Store,
    state: u64,
    now_s: u32,
    /// The largest share of the limit that was held, in thousandths.
    most: usize,
}

impl Load {
    fn new(limit_bytes: usize) -> Self {
        Self { store: Store::open(&Config::new(limit_bytes, 1)).unwrap(), state: 5, now_s: 1, most: 0 }
    }

    fn choose(&mut self, below: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn put(&mut self, number: u64, ttl_s: u32, len: usize) {
        let bytes = format!("key:{number:012}").into_bytes();
        let key = self.store.key(&bytes).unwrap();
        let expiry_s = if ttl_s == 0 { 0 } else { self.now_s + ttl_s };
        self.store.put(key, &Put { expiry_s, ..Put::default() }, &vec![b'v'; len], self.now_s).unwrap();
    }

    /// A second passes, with as much background work as a server on a quiet core does.
    fn tick(&mut self) {
        self.now_s += 1;
        for _ in 0..2_000 {
            if !self.store.maintain(64, self.now_s) {
                break;
            }
        }
        if self.now_s.is_multiple_of(7) {
            self.sample();
        }
    }

    fn sample(&mut self) {
        let held = self.store.expired_bytes(self.now_s.saturating_sub(DEAD_S));
        let limit = usize::try_from(self.store.stats().limit_bytes).unwrap();
        self.most = self.most.max(held * 1000 / limit);
    }

    fn finish(&self, name: &str) {
        self.store.verify().unwrap();
        let stats = self.store.stats();
        assert!(self.most <= 50, "{name}: {} of 1000 held by the dead: {stats:?}", self.most);
    }
}

/// Times to live from a second to months, each power of two as likely as the others, and none.
fn any_ttl(load: &mut Load) -> u32 {
    let power = load.choose(25);
    if power == 24 { 0 } else { (1 << power) + u32::try_from(load.choose(1 << power)).unwrap() }
}

#[test]
fn any_mix_of_times_to_live_under_pressure() {
    let mut load = Load::new(4 << 20);
    for _ in 0..3_600 {
        for _ in 0..50 {
            let (number, ttl_s, len) = (load.choose(1_000_000), any_ttl(&mut load), load.choose(600));
            load.put(number, ttl_s, usize::try_from(len).unwrap());
        }
        load.tick();
    }
    load.finish("any mix");
}

#[test]
fn one_group_of_times_to_live_without_pressure() {
    for (least_s, most_s) in [(1, 60), (60, 1_800)] {
        let mut load = Load::new(4 << 20);
        let per_s = 17_000 / most_s;
        for _ in 0..most_s * 5 / 4 + 100 {
            for _ in 0..per_s.max(1) {
                let (number, ttl_s) = (load.choose(1 << 40), least_s + load.choose(most_s - least_s));
                load.put(number, u32::try_from(ttl_s).unwrap(), 200);
            }
            load.tick();
        }
        load.finish(&format!("{least_s} to {most_s} s"));
    }
}

#[test]
fn touched_to_a_few_seconds_all_over_the_memory() {
    let mut load = Load::new(4 << 20);
    (0..15_000).for_each(|number| load.put(number, 100_000, 200));
    for round in 0..300 {
        for _ in 0..100 {
            let number = load.choose(15_000);
            let bytes = format!("key:{number:012}").into_bytes();
            let key = load.store.key(&bytes).unwrap();
            let expiry_s = load.now_s + 1 + round % 20;
            let _absent = load.store.touch(key, expiry_s, load.now_s);
        }
        load.tick();
    }
    load.finish("touched");
}

#[test]
fn expired_items_go_before_any_live_one_without_background_work() {
    let mut load = Load::new(16 << 20);
    (0..38_000).for_each(|number| load.put(number, 0, 200));
    (38_000..66_000).for_each(|number| load.put(number, 30, 200));
    load.now_s += 31;
    (100_000..124_000).for_each(|number| load.put(number, 0, 200));
    let stats = load.store.stats();
    assert_eq!(stats.evicted, 0, "{stats:?}");
    assert!(stats.reclaimed >= 10_000, "{stats:?}");
}

#[test]
fn what_comes_expired_is_found_expired_for_a_second() {
    let mut store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    let put = Put { expiry_s: 1, ..Put::default() };
    for now_s in [10, 11] {
        store.put(store.key(b"k").unwrap(), &put, b"v", 10).unwrap();
        while store.maintain(64, now_s) {}
        assert_eq!(store.get(store.key(b"k").unwrap(), now_s).err(), Some(Miss::Expired), "at {now_s}");
    }
    store.put(store.key(b"k").unwrap(), &put, b"v", 11).unwrap();
    while store.maintain(64, 14) {}
    assert_eq!(store.stats().items, 0);
}

#[test]
fn a_segment_whose_search_is_put_off_again_is_found_by_that() {
    let mut store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    let put = Put { expiry_s: 1, ..Put::default() };
    for now_s in 10..13 {
        store.put(store.key(b"k").unwrap(), &put, b"v", now_s).unwrap();
        store.verify().unwrap();
    }
}

#[test]
fn what_expires_in_its_time_does_not_wait_for_what_is_made_to_expire_at_once() {
    let mut load = Load::new(256 << 20);
    (0..2_000).for_each(|number| load.put(number, 12, 100));
    (2_000..2_100).for_each(|number| load.put(number, 20, 100));
    for second in 0..17 {
        load.tick();
        let key = format!("key:{:012}", 2_000 + second);
        let key = load.store.key(key.as_bytes()).unwrap();
        assert!(load.store.touch(key, 1, load.now_s).is_ok());
    }
    assert!(load.store.stats().items <= 100, "{:?}", load.store.stats());
    load.store.verify().unwrap();
}
