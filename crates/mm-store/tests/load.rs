//! The load of the index, items by the slots of its buckets, stays within its bounds while items come and go, whatever
//! they go by, and whether or not there is background work.

#![expect(clippy::unwrap_used, reason = "a test")]

#[cfg(feature = "smp")]
use std::sync::Barrier;

use mm_store::{Config, Put, Sharing, Store};
#[cfg(feature = "smp")]
use mm_store::{Shared, StoreHandles};

/// Slots of a bucket.
const SLOTS: f64 = 9.0;

/// Bounds of the load.
const BOUNDS: [f64; 2] = [0.75, 0.92];

/// Records that a step of a server's background work looks at.
const MAINTAINED_RECORDS: usize = 24;

/// Below so many buckets the index grows by more than a share of them, and does not shrink.
const LEAST_BUCKETS: u64 = 2_000;

/// A store, the loads that it was seen with, and the most buckets that one call has moved.
struct Load<S: Sharing> {
    store: Store<S>,
    now_s: u32,
    calls: u64,
    /// Calls from one step of background work to the next; 0 for none.
    maintained_each: u64,
    seen: [f64; 2],
    buckets_most: u64,
}

impl<S: Sharing> Load<S> {
    fn new(store: Store<S>, maintained_each: u64) -> Self {
        Self { store, now_s: 1, calls: 0, maintained_each, seen: [1.0, 0.0], buckets_most: 0 }
    }

    /// Does one call, and background work now and then, and looks at the load.
    fn call(&mut self, work: impl FnOnce(&mut Store<S>, u32)) {
        while self.store.must_wait() {
            self.store.rest();
            std::thread::yield_now();
        }
        let before = self.store.stats().buckets_moved;
        work(&mut self.store, self.now_s);
        let stats = self.store.stats();
        self.buckets_most = self.buckets_most.max(stats.buckets_moved - before);
        self.calls += 1;
        if self.maintained_each != 0 && self.calls.is_multiple_of(self.maintained_each) {
            self.store.maintain(MAINTAINED_RECORDS, self.now_s);
        }
        self.store.rest();
        if stats.index_buckets >= LEAST_BUCKETS {
            let load = stats.items as f64 / (stats.index_buckets as f64 * SLOTS);
            self.seen = [self.seen[0].min(load), self.seen[1].max(load)];
        }
    }

    fn put(&mut self, number: u64, value: &[u8], expiry_s: u32) {
        self.call(|store, now_s| {
            let bytes = format!("key:{number:012}").into_bytes();
            let put = Put { expiry_s, ..Put::default() };
            store.put(store.key(&bytes).unwrap(), &put, value, now_s).unwrap();
        });
    }

    fn delete(&mut self, number: u64) {
        self.call(|store, now_s| {
            let bytes = format!("key:{number:012}").into_bytes();
            let _deleted = store.delete(store.key(&bytes).unwrap(), None, now_s);
        });
    }

    /// The index is large enough for bounds, and begins a new account.
    fn begin(&mut self) {
        assert!(self.store.stats().index_buckets >= 2 * LEAST_BUCKETS, "{:?}", self.store.stats());
        (self.seen, self.buckets_most) = ([1.0, 0.0], 0);
    }

    /// Ends what resize is under way, with none other to be begun.
    #[cfg(feature = "smp")]
    fn catch_up(&mut self) {
        while self.store.maintain(1_000, self.now_s) {
            self.store.rest();
        }
        self.store.rest();
        let stats = self.store.stats();
        let load = stats.items as f64 / (stats.index_buckets as f64 * SLOTS);
        assert!(load >= BOUNDS[0], "a load of {load:.3} in the end");
    }

    fn assert_within(&self, what: &str, [low, high]: [f64; 2]) {
        let [least, most] = self.seen;
        assert!(least >= low && most <= high, "{what}: a load of {least:.3} to {most:.3}");
    }
}

/// Items become larger and smaller again.
fn drift<S: Sharing>(store: Store<S>, maintained_each: u64) {
    let mut load = Load::new(store, maintained_each);
    let what = |phase: &str| format!("{phase}, background work each {maintained_each} calls");
    (0..400_000).for_each(|number| load.put(number, &[b'v'; 10], 0));
    load.assert_within(&what("small"), [0.0, BOUNDS[1]]);
    load.begin();
    (0..60_000).for_each(|number| load.put(1_000_000 + number, &[b'v'; 1_000], 0));
    load.assert_within(&what("larger"), BOUNDS);
    load.begin();
    (0..500_000).for_each(|number| load.put(2_000_000 + number, &[b'v'; 10], 0));
    load.assert_within(&what("small again"), BOUNDS);
    assert!(load.buckets_most <= 204, "{} in one small write", load.buckets_most);
    load.begin();
    (0..4_000).for_each(|number| load.put(3_000_000 + number, &[b'v'; 10_000], 0));
    load.assert_within(&what("much larger"), [0.73, BOUNDS[1]]);
    load.store.verify().unwrap();
}

/// Items go by deletes, by their time and by a flush, while nothing is stored.
fn removal<S: Sharing>(mut open: impl FnMut() -> Store<S>) {
    let mut load = Load::new(open(), 0);
    (0..200_000).for_each(|number| load.put(number, b"0123456789", 0));
    load.begin();
    (0..170_000).for_each(|number| load.delete(number));
    load.assert_within("deletes", BOUNDS);
    assert!(load.buckets_most <= 10, "{} in one delete", load.buckets_most);
    // The growth has just begun that deletes turn into a shrink.
    for number in 200_000.. {
        let buckets = load.store.stats().index_buckets;
        load.put(number, b"0123456789", 0);
        if load.store.stats().index_buckets > buckets && number > 300_000 {
            break;
        }
    }
    load.begin();
    (200_000..290_000).for_each(|number| load.delete(number));
    load.assert_within("deletes while it grows", BOUNDS);

    for is_flush in [false, true] {
        let mut load = Load::new(open(), 0);
        (0..200_000).for_each(|number| {
            load.put(number, b"0123456789", [0, 10, 20][usize::try_from(number % 3).unwrap()]);
        });
        load.begin();
        load.now_s = 15;
        if is_flush {
            load.store.flush_all();
        }
        let mut is_more = true;
        while is_more && load.store.stats().index_buckets > LEAST_BUCKETS {
            load.call(|store, now_s| is_more = store.maintain(MAINTAINED_RECORDS, now_s));
        }
        assert!(load.store.stats().items < 140_000, "{:?}", load.store.stats());
        load.assert_within(if is_flush { "flush" } else { "expiry" }, BOUNDS);
        load.store.verify().unwrap();
    }
}

fn local(limit_bytes: usize) -> Store {
    Store::open(&Config::new(limit_bytes, 1)).unwrap()
}

#[test]
fn one_shard_whose_items_become_larger_and_smaller() {
    drift(local(16 << 20), 0);
    drift(local(16 << 20), 64);
}

#[test]
fn one_shard_that_only_removes() {
    removal(|| local(64 << 20));
}

#[cfg(feature = "smp")]
fn shared(limit_bytes: usize) -> Store<Shared> {
    StoreHandles::open(&Config::new(limit_bytes, 1), 2).unwrap().take().unwrap()
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_whose_items_become_larger_and_smaller() {
    drift(shared(16 << 20), 0);
    drift(shared(16 << 20), 64);
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_that_only_removes() {
    removal(|| shared(64 << 20));
}

/// Two threads store or delete at once. One that is stopped in the middle of a step keeps the other from moving
/// anything meanwhile, and that one goes on removing: so the lower bound is one of what they come to in the end.
#[cfg(feature = "smp")]
#[test]
fn two_shards_at_once() {
    /// A shard does not see at once what another has added.
    const BOTH_MOST: f64 = 0.925;
    let handles = StoreHandles::open(&Config::new(32 << 20, 1), 2).unwrap();
    let together = Barrier::new(2);
    let work = |thread: u64| {
        let mut load = Load::new(handles.take().unwrap(), 64);
        for (phase, value_bytes, writes) in [(0, 10, 400_000), (1, 1_000, 30_000), (2, 10, 400_000)] {
            load.seen = [1.0, 0.0];
            for number in 0..writes {
                load.put((2 * phase + thread) * 1_000_000 + number, &vec![b'v'; value_bytes], 0);
            }
            load.assert_within(&format!("{value_bytes} bytes, both"), [0.0, BOTH_MOST]);
            together.wait();
            load.catch_up();
            together.wait();
        }
        (0..400_000).for_each(|number| load.delete((4 + thread) * 1_000_000 + number));
        load.assert_within("deletes, both", [0.0, BOTH_MOST]);
        together.wait();
        load.catch_up();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(1));
        work(0);
    });
}
