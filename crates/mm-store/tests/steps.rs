//! No write does more than a bounded amount of work, counted in steps, with the price of each (`examples/steps.rs`,
//! docs/store.md): that is the longest that a write can take.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Mode, Put, Stats, Store};

/// The most that one call did.
#[derive(Debug, Default, Clone, Copy)]
struct Steps {
    /// Records and segments looked at, records moved or removed and bytes moved, at their prices.
    work_ns: u64,
    /// Records looked at.
    records: u64,
    /// Segments looked at.
    segments: u64,
    /// Buckets of the index moved.
    buckets: u64,
}

/// What a write of a small item may do at most. Of work: what `WORK_MAX_BYTES` says, and one batch of records, which
/// may be 8, or 128 KiB. Of records: as many as 16 times its own bytes, where the last batch begins before they are
/// done and has 32, and as many of the batch after it, which is only looked at; or, instead, 32 in search of expired
/// ones. Of segments: one part of them, and 64 of those that are light, empty or from before a flush, each time that
/// one is chosen, which is twice where one is empty as soon as it is chosen. Of buckets: four, and 200 for items
/// removed.
const SMALL_WRITE: Steps =
    Steps { work_ns: 90_000, records: 80, segments: 2 * (1024 + 2 * 64), buckets: 204 };

/// Records that a step of a server's background work looks at.
const MAINTAINED_RECORDS: usize = 24;

/// What the work between two moments costs.
fn work_ns(before: &Stats, after: &Stats) -> u64 {
    let removed = |stats: &Stats| stats.moved + stats.evicted + stats.reclaimed;
    let since = |count: fn(&Stats) -> u64| count(after) - count(before);
    (removed(after) - removed(before)) * 1_300
        + since(|stats| stats.moved_bytes) * 190 / 1024
        + since(|stats| stats.examined) * 50
        + since(|stats| stats.segments_examined) * 20
}

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
        most.work_ns = most.work_ns.max(work_ns(&before, &after));
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
        let Steps { work_ns, records, segments, buckets } = self.most;
        let is_within = records <= bound.records
            && work_ns <= bound.work_ns
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
        load.count(|store, now_s| is_more = store.maintain(MAINTAINED_RECORDS, now_s));
        is_more
    });
    assert!(rounds.count() < 100_000, "there is no end to it");
    let records = 2 * MAINTAINED_RECORDS as u64 + 32 + 8;
    let maintained = Steps { records, segments: 3 * 1024 + 64, ..SMALL_WRITE };
    load.assert_within(Steps { buckets: 204, work_ns: 100_000, ..maintained }, "background work");
}

/// Items of one kind: how long their values are, their times to live, and how many writes there are beside those that
/// fill the memory, in hundredths of these.
struct Kind {
    limit_mib: usize,
    value_bytes: usize,
    ttls_s: &'static [u32],
    percent: u64,
}

/// Fills a store with items of a kind, reads all of them several times, and goes on with writes of the same kind, old
/// keys and new ones: every item has been read, and old ones leave holes.
fn overload(kind: &Kind) -> Load {
    let mut load = Load::new(kind.limit_mib << 20);
    let value = vec![b'v'; kind.value_bytes];
    let items = ((kind.limit_mib << 20) / (kind.value_bytes + 60)) as u64;
    let write = |load: &mut Load, number: u64| {
        let ttl_s = kind.ttls_s[usize::try_from(number).unwrap() % kind.ttls_s.len()];
        load.put(number, ttl_s, &value);
    };
    (0..items).for_each(|number| write(&mut load, number));
    for number in 0..4 * items {
        load.get(number % items);
    }
    for number in 0..items * kind.percent / 100 {
        let old = load.choose(items);
        write(&mut load, if number % 2 == 0 { old } else { items + number });
        load.get(old);
        load.now_s += u32::from(number % (items / 8 + 1) == 0);
    }
    load.store.verify().unwrap();
    load
}

#[test]
fn no_write_takes_long_whatever_the_sizes() {
    const MIXED_S: [u32; 5] = [0, 4, 50, 900, 100_000];
    for (limit_mib, value_bytes, percent) in [
        (1, 10, 500),
        (1, 100, 500),
        (1, 1_000, 2_000),
        (4, 10, 200),
        (4, 1_000, 500),
        (16, 100, 150),
        (16, 1_500, 300),
        (64, 1_000, 150),
        (64, 10_000, 300),
        (256, 10_000, 150),
    ] {
        for ttls_s in [&[0][..], &MIXED_S[..]] {
            let kind = Kind { limit_mib, value_bytes, ttls_s, percent };
            let load = overload(&kind);
            let stats = load.store.stats();
            assert!(stats.moved > 100 && stats.evicted + stats.reclaimed > 100, "{stats:?}");
            let bound = Steps { records: 600, ..SMALL_WRITE };
            load.assert_within(bound, &format!("{value_bytes} bytes in {limit_mib} MiB, {ttls_s:?}"));
        }
    }
}

/// Values in extents, which are moved in pieces: what a write does is bounded beside what it copies itself.
#[test]
fn no_write_of_a_large_value_takes_longer_than_its_own_bytes() {
    for (limit_mib, value_bytes, percent) in [
        (1, 3_000, 2_000),
        (1, 100_000, 5_000),
        (16, 60_000, 500),
        (64, 60_000, 300),
        (64, 500_000, 800),
        (256, 60_000, 200),
        (256, 2_000_000, 800),
    ] {
        let load = overload(&Kind { limit_mib, value_bytes, ttls_s: &[0], percent });
        assert!(load.store.stats().moved > 10, "{:?}", load.store.stats());
        // Each extent of it is a step, and is copied; what goes for it, is at most seven times as much.
        let extents = value_bytes as u64 / load.store.stats().segment_bytes + 3;
        let own_ns = 8 * (value_bytes as u64 / 1024) * 190;
        let work_ns = extents * SMALL_WRITE.work_ns + own_ns;
        let bound = Steps { work_ns, records: u64::MAX, segments: u64::MAX, buckets: 204 * extents };
        load.assert_within(bound, &format!("{value_bytes} bytes in {limit_mib} MiB"));
    }
}

/// Small writes after large ones have been paid for, and while extents are on their way.
#[test]
fn no_small_write_takes_long_among_large_values() {
    for (limit_mib, value_bytes) in [(1, 20_000), (4, 100_000), (64, 700_000), (256, 2_000_000)] {
        let mut load = overload(&Kind { limit_mib, value_bytes, ttls_s: &[0], percent: 300 });
        let items = ((limit_mib << 20) / value_bytes) as u64;
        let value = vec![b'v'; value_bytes];
        let (mut moved_bytes, mut small) = (0, Steps::default());
        for round in 0..4 * items {
            let number = load.choose(items);
            load.put(number, 0, &value);
            load.get(number);
            let before = load.store.stats().moved_bytes;
            load.most = small;
            for number in 0..200 {
                load.put(1_000_000 + round * 200 + number, 0, &[b'v'; 100]);
            }
            small = load.most;
            moved_bytes += load.store.stats().moved_bytes - before;
        }
        load.most = small;
        assert!(moved_bytes > 0, "{:?}", load.store.stats());
        load.assert_within(SMALL_WRITE, &format!("beside {value_bytes} bytes in {limit_mib} MiB"));
        load.store.verify().unwrap();
    }
}
