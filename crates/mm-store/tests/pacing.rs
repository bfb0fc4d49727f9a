//! Work is spread: no write waits for a whole segment, and the limit is kept all the while.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Mode, Put, Store};

/// Records that one small write may move, evict or reclaim at most: at 1.3 us for each that is below 100 us. A segment
/// of the smallest stores holds twice as many records of 100 bytes.
const RECORDS_MAX: u64 = 64;

struct Load {
    store: Store,
    /// Of what is put.
    expiry_s: u32,
    state: u64,
    most: u64,
}

impl Load {
    fn new(config: &Config) -> Self {
        Self { store: Store::open(config).unwrap(), expiry_s: 0, state: 3, most: 0 }
    }

    fn choose(&mut self, below: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn worked(&self) -> u64 {
        let stats = self.store.stats();
        stats.moved + stats.evicted + stats.reclaimed
    }

    fn put(&mut self, number: u64, mode: Mode, len: usize) {
        let before = self.worked();
        let bytes = format!("key:{number:012}").into_bytes();
        let key = self.store.key(&bytes).unwrap();
        let put = Put { mode, expiry_s: self.expiry_s, ..Put::default() };
        let result = self.store.put(key, &put, &vec![b'v'; len], 1);
        assert!(result.is_ok(), "{result:?}: {:?}", self.store.stats());
        self.most = self.most.max(self.worked() - before);
    }

    fn get(&mut self, number: u64) -> bool {
        let bytes = format!("key:{number:012}").into_bytes();
        let key = self.store.key(&bytes).unwrap();
        self.store.get(key, 1).is_ok()
    }
}

#[test]
fn no_write_waits_while_most_items_are_read_often() {
    let mut load = Load::new(&Config::new(8 << 20, 1));
    for _ in 0..1_500_000 {
        let number = load.choose(80_000);
        if !load.get(number) {
            load.put(number, Mode::Set, 80);
        }
    }
    assert!(load.store.stats().evicted > 10_000, "{:?}", load.store.stats());
    assert!(load.most <= RECORDS_MAX, "{} records in one write", load.most);
}

/// A dump or a warm-up reads every item. Then none is worth less than another, and nearly all of memory would have to
/// be gone through before one had to go.
#[test]
fn no_write_waits_after_all_items_were_read() {
    for times in 1..=4 {
        let mut load = Load::new(&Config::new(16 << 20, 1));
        (0..500_000).for_each(|number| load.put(number, Mode::Set, 8));
        for _ in 0..times {
            assert!((0..500_000).filter(|&number| load.get(number)).count() > 300_000);
        }
        for number in 0..600_000 {
            let old = load.choose(500_000);
            load.put(if number % 2 == 0 { old } else { 1_000_000 + number }, Mode::Set, 8);
        }
        assert!(load.most <= RECORDS_MAX, "{} records in one write, read {times} times", load.most);
    }
}

/// The larger the records, the more segments would have to be gone through before so many of them were kept in vain.
#[test]
fn no_write_waits_after_all_larger_items_were_read() {
    for (limit_mib, len, items) in [(8, 40, 120_000), (4, 100, 32_000), (16, 300, 50_000)] {
        let mut load = Load::new(&Config::new(limit_mib << 20, 1));
        (0..items).for_each(|number| load.put(number, Mode::Set, len));
        for _ in 0..3 {
            assert!((0..items).filter(|&number| load.get(number)).count() > 20_000);
        }
        for number in 0..items {
            let old = load.choose(items);
            load.put(if number % 2 == 0 { old } else { 1_000_000 + number }, Mode::Set, len);
        }
        assert!(load.most <= RECORDS_MAX, "{} records of {len} bytes in one write", load.most);
    }
}

#[test]
fn no_write_waits_while_the_index_grows_in_a_full_store() {
    let mut load = Load::new(&Config::new(64 << 20, 1));
    for number in 0..40_000 {
        load.put(number, Mode::Set, 2_000);
    }
    for number in 0..2_000_000 {
        load.put(1_000_000 + number, Mode::Set, 10);
    }
    load.store.verify().unwrap();
    assert!(load.most <= RECORDS_MAX, "{} records in one write", load.most);
}

/// Items of each group of times to live have an open segment of their own, and all of them may be full at a time.
#[test]
fn no_write_waits_with_many_times_to_live() {
    let mut load = Load::new(&Config::new(64 << 20, 1));
    for number in 0..1_500_000 {
        load.expiry_s = [0, 50, 200, 900, 3_800, 100_000][usize::try_from(load.choose(6)).unwrap()];
        load.put(number, Mode::Set, 20);
    }
    assert!(load.store.stats().evicted > 300_000, "{:?}", load.store.stats());
    assert!(load.most <= RECORDS_MAX, "{} records in one write", load.most);
}

#[test]
fn no_append_waits_for_a_segment() {
    let mut load = Load::new(&Config::new(16 << 20, 1));
    for number in 0..300_000 {
        load.put(number, Mode::Set, 80);
        if number % 10 == 0 {
            load.put(number, Mode::Append, 20);
        }
    }
    assert!(load.most <= RECORDS_MAX, "{} records in one write", load.most);
}

#[test]
fn the_limit_holds_for_ghosts_too() {
    let mut load = Load::new(&Config::new(1 << 20, 1));
    for number in 0..200_000 {
        load.put(number, Mode::Set, 1);
        if number % 500 == 0 || (30_000..60_000).contains(&number) && number % 50 == 0 {
            load.store.verify().unwrap();
        }
    }
}

#[test]
fn without_eviction_the_index_costs_no_item() {
    for seed in 0..4 {
        let mut load = Load::new(&Config { evict: false, ..Config::new(1 << 20, seed) });
        load.state = seed;
        let mut stored = std::collections::HashSet::new();
        for _ in 0..300_000 {
            let number = load.choose(64_000);
            let bytes = format!("{number}").into_bytes();
            let key = load.store.key(&bytes).unwrap();
            let len = if stored.len() < 3_000 { 200 } else { 1 };
            if load.choose(4) == 0 {
                assert_eq!(load.store.delete(key, None, 1).is_ok(), stored.remove(&number));
            } else if load.store.put(key, &Put::default(), &vec![b'v'; len], 1).is_ok() {
                stored.insert(number);
            }
        }
        assert!(load.store.stats().refused > 0, "the limit was met");
        assert_eq!(load.store.stats().evicted, 0, "seed {seed}");
        assert_eq!(load.store.stats().items, stored.len() as u64);
        load.store.verify().unwrap();
    }
}

#[test]
fn nothing_is_lost_while_the_index_grows_in_free_memory() {
    let mut load = Load::new(&Config::new(256 << 20, 1));
    for number in 0..1_500_000 {
        load.put(number, Mode::Set, 4);
    }
    let stats = load.store.stats();
    assert_eq!((stats.evicted, stats.items), (0, 1_500_000));
    for number in 0..1_400_000 {
        let bytes = format!("key:{number:012}").into_bytes();
        let key = load.store.key(&bytes).unwrap();
        load.store.delete(key, None, 1).unwrap();
    }
    while load.store.maintain(64, 1) {}
    let stats = load.store.stats();
    assert_eq!((stats.evicted, stats.items), (0, 100_000));
    let percent = stats.items * 100 / (stats.index_buckets * 9);
    assert!((75..=92).contains(&percent), "load of {percent} %: {stats:?}");
}

#[test]
fn changing_sizes_leave_no_density_behind() {
    let readable =
        |load: &mut Load, from: u64, to: u64| (from..to).filter(|&number| load.get(number)).count();
    let mut fresh = Load::new(&Config::new(8 << 20, 1));
    (0..200_000).for_each(|number| fresh.put(number, Mode::Set, 100));
    let fresh = readable(&mut fresh, 0, 200_000);
    let mut load = Load::new(&Config::new(8 << 20, 1));
    for (phase, len) in [(0, 100), (1, 1_000), (2, 100)] {
        (0..200_000).for_each(|number| load.put(phase * 1_000_000 + number, Mode::Set, len));
    }
    let drifted = readable(&mut load, 2_000_000, 2_200_000);
    assert!(drifted * 100 >= fresh * 92, "{drifted} after, {fresh} fresh");
}

#[test]
fn overwriting_keeps_the_density() {
    let mut load = Load::new(&Config::new(8 << 20, 1));
    (0..200_000).for_each(|number| load.put(number, Mode::Set, 100));
    let fresh = load.store.stats().items;
    for _ in 0..1_500_000 {
        let number = 300_000 + load.choose(fresh);
        if !load.get(number) || load.choose(10) == 0 {
            load.put(number, Mode::Set, 100);
        }
    }
    let items = load.store.stats().items;
    assert!(items * 100 >= fresh * 92, "{items} after, {fresh} fresh");
}

#[test]
fn half_of_a_small_limit_always_fits() {
    for limit_mib in 1..=8 {
        let mut load = Load::new(&Config::new(limit_mib << 20, 1));
        for round in 0..3_000 {
            let len = match load.choose(4) {
                0 => load.choose((limit_mib as u64) << 19),
                1 => load.choose(20_000),
                _ => load.choose(500),
            };
            let number = load.choose(2_000);
            load.put(number, Mode::Set, usize::try_from(len).unwrap());
            if round % 100 == 0 {
                load.store.verify().unwrap();
            }
        }
    }
}

#[test]
fn a_lower_limit_is_reached_step_by_step_and_a_higher_one_is_used() {
    let mut load = Load::new(&Config::new(64 << 20, 1));
    let in_use = |load: &Load| {
        let stats = load.store.stats();
        stats.segments * stats.segment_bytes + stats.index_bytes + stats.ghost_bytes
    };
    (0..700_000).for_each(|number| load.put(number, Mode::Set, 100));
    assert!(
        !load.store.set_limit(usize::MAX / 2) && !load.store.set_limit(1 << 20),
        "beyond what is possible"
    );
    assert!(load.store.set_limit(32 << 20));
    (700_000..900_000).for_each(|number| load.put(number, Mode::Set, 100));
    while load.store.maintain(64, 1) {}
    assert!(in_use(&load) <= 32 << 20, "{:?}", load.store.stats());
    load.store.verify().unwrap();
    if cfg!(target_pointer_width = "32") {
        // No address space was reserved for more.
        assert!(!load.store.set_limit(200 << 20) && load.store.set_limit(64 << 20));
        return;
    }
    assert!(load.store.set_limit(200 << 20));
    (1_000_000..3_000_000).for_each(|number| load.put(number, Mode::Set, 100));
    assert!((190 << 20..=200 << 20).contains(&in_use(&load)), "{:?}", load.store.stats());
    load.store.verify().unwrap();
    assert!(load.most <= RECORDS_MAX, "{} records in one write", load.most);
}
