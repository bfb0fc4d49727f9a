//! The load of the index, items by the slots of its buckets, stays within its bounds whatever items go by.

#![expect(clippy::unwrap_used, reason = "a test")]

#[cfg(feature = "smp")]
use std::sync::Barrier;

use mm_store::{Config, Miss, Put, PutError, Sharing, Store};
#[cfg(feature = "smp")]
use mm_store::{Shared, StoreHandles};

/// Slots of a bucket.
const SLOTS: f64 = 9.0;

/// Bounds of the load.
const BOUNDS: [f64; 2] = [0.75, 0.92];

/// The upper one for several shards: none sees at once what the others have added.
#[cfg(feature = "smp")]
const SHARED_MOST: f64 = 0.925;

/// What several threads never exceed: above 0.92 a new item takes the place of another, and each thread may add 33
/// before it sees what the others have added.
#[cfg(feature = "smp")]
const MOST_OF_ALL: f64 = 0.93;

/// Records that a step of a server's background work looks at.
const MAINTAINED_RECORDS: usize = 24;

/// Below so many buckets the index grows by more than a share of them, and does not shrink.
const LEAST_BUCKETS: u64 = 512;

/// Buckets that a call moves at most: four, and 200 for items removed.
const BUCKETS_MOST: u64 = 204;

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
        assert!(self.try_put(number, value, expiry_s), "{:?}", self.store.stats());
    }

    /// False where there is no memory for it.
    fn try_put(&mut self, number: u64, value: &[u8], expiry_s: u32) -> bool {
        let mut is_stored = false;
        self.call(|store, now_s| {
            let put = Put { expiry_s, ..Put::default() };
            let stored = store.put(store.key(&key(number)).unwrap(), &put, value, now_s);
            is_stored = stored.is_ok();
            assert!(is_stored || stored == Err(PutError::NoMemory), "{stored:?}");
        });
        is_stored
    }

    /// Stores a value of so many bytes that comes in pieces of 64 KiB, each by a call of its own. False where there is
    /// no memory for it.
    fn upload_in_pieces(&mut self, number: u64, len: usize) -> bool {
        let bytes = key(number);
        let mut begun = None;
        self.call(|store, now_s| {
            begun = store.reserve(store.key(&bytes).unwrap(), &Put::default(), len, now_s).ok();
        });
        let Some(mut upload) = begun else { return false };
        while upload.missing() != 0 {
            self.call(|store, now_s| {
                let space = store.space(&mut upload, now_s).unwrap();
                let piece = space.len().min(64 << 10);
                space[..piece].fill(b'v');
                store.filled(&mut upload, piece);
            });
        }
        let mut is_stored = false;
        self.call(|store, now_s| is_stored = store.commit(upload, now_s).is_ok());
        is_stored
    }

    fn delete(&mut self, number: u64) -> bool {
        let mut is_deleted = false;
        self.call(|store, now_s| {
            is_deleted = store.delete(store.key(&key(number)).unwrap(), None, now_s).is_ok();
        });
        is_deleted
    }

    fn get(&mut self, number: u64) -> Result<(), Miss> {
        let mut found = Ok(());
        self.call(|store, now_s| found = store.get(store.key(&key(number)).unwrap(), now_s).map(|_| ()));
        found
    }

    /// The index is large enough for bounds, and begins a new account.
    fn begin(&mut self) {
        assert!(self.store.stats().index_buckets >= 4 * LEAST_BUCKETS, "{:?}", self.store.stats());
        (self.seen, self.buckets_most) = ([1.0, 0.0], 0);
    }

    /// Ends what resize is under way, with none other to be begun, and returns the load then.
    #[cfg(feature = "smp")]
    fn catch_up(&mut self) -> f64 {
        while self.store.maintain(1_000, self.now_s) {
            self.store.rest();
        }
        self.store.rest();
        let stats = self.store.stats();
        stats.items as f64 / (stats.index_buckets as f64 * SLOTS)
    }

    /// No call has moved more buckets.
    fn assert_moved(&self, most: u64) {
        assert!(self.buckets_most <= most, "{} in one call", self.buckets_most);
    }

    fn assert_within(&self, what: &str, [low, high]: [f64; 2]) {
        let [least, most] = self.seen;
        assert!(least >= low && most <= high, "{what}: a load of {least:.4} to {most:.4}");
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
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
    load.assert_moved(BUCKETS_MOST);
    load.begin();
    (0..500_000).for_each(|number| load.put(2_000_000 + number, &[b'v'; 10], 0));
    load.assert_within(&what("small again"), BOUNDS);
    load.assert_moved(BUCKETS_MOST);
    load.begin();
    (0..4_000).for_each(|number| load.put(3_000_000 + number, &[b'v'; 10_000], 0));
    load.assert_within(&what("much larger"), BOUNDS);
    // Each is stored by one call.
    load.assert_moved(16 * 200);
    load.store.verify().unwrap();
}

/// Items go by deletes.
fn removal<S: Sharing>(store: Store<S>) {
    let mut load = Load::new(store, 0);
    (0..200_000).for_each(|number| load.put(number, b"0123456789", 0));
    load.begin();
    (0..198_000).for_each(|number| _ = load.delete(number));
    load.assert_within("deletes", BOUNDS);
    load.assert_moved(10);
    // The growth has just begun that deletes turn into a shrink.
    for number in 200_000.. {
        let buckets = load.store.stats().index_buckets;
        load.put(number, b"0123456789", 0);
        if load.store.stats().index_buckets > buckets && number > 300_000 {
            break;
        }
    }
    load.begin();
    (200_000..290_000).for_each(|number| _ = load.delete(number));
    load.assert_within("deletes while it grows", BOUNDS);
}

/// What makes items dead where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Expiry,
    Flush,
}

/// Items go by their time and by a flush, while nothing is stored; background work finds them, or reads.
fn death<S: Sharing>(mut open: impl FnMut() -> Store<S>) {
    for (end, is_read) in [(End::Expiry, false), (End::Expiry, true), (End::Flush, false), (End::Flush, true)]
    {
        let mut load = Load::new(open(), 0);
        (0..200_000).for_each(|number| {
            load.put(number, b"0123456789", [0, 10, 20][usize::try_from(number % 3).unwrap()]);
        });
        load.begin();
        load.now_s = 25;
        if end == End::Flush {
            load.store.flush_all();
        }
        if is_read {
            // More reads than one removal owes: what finds nothing moves nothing.
            (0..200_000).for_each(|number| {
                assert_eq!(load.get(number).is_ok(), end == End::Expiry && number % 3 == 0);
            });
        } else {
            let mut is_more = true;
            while is_more {
                load.call(|store, now_s| is_more = store.maintain(MAINTAINED_RECORDS, now_s));
            }
        }
        let left = if end == End::Flush { 0 } else { 66_667 };
        assert_eq!(load.store.stats().items, left);
        load.assert_within(&format!("{end:?}, by reads: {is_read}"), BOUNDS);
        load.assert_moved(BUCKETS_MOST);
        load.store.verify().unwrap();
    }
}

/// Each piece of a large value takes the place of up to two thousand items.
fn pieces<S: Sharing>(mut open: impl FnMut(usize) -> Store<S>) {
    for (mib, len) in [(2, 32 << 10), (8, 128 << 10), (64, 1 << 20), (64, 10_000)] {
        let mut load = Load::new(open(mib << 20), 0);
        (0..mib as u64 * 25_000).for_each(|number| load.put(number, &[b'v'; 10], 0));
        load.begin();
        let values = ((mib << 19) / len) as u64;
        assert!((0..values).all(|number| load.upload_in_pieces(10_000_000 + number, len)));
        load.assert_within(&format!("values of {len} bytes in pieces in {mib} MiB"), BOUNDS);
        load.assert_moved(BUCKETS_MOST);
        load.store.verify().unwrap();
    }
}

/// The limit is lowered and raised while items are written.
fn limits<S: Sharing>(store: Store<S>) {
    /// With 32-bit addresses none are set aside for more than there was at first.
    const HIGHEST_MIB: usize = if cfg!(target_pointer_width = "64") { 128 } else { 64 };
    let mut load = Load::new(store, 0);
    (0..1_600_000).for_each(|number| load.put(number, &[b'v'; 10], 0));
    for (round, mib, maintained_each) in [(1, 32, 0), (2, 64, 0), (3, 24, 64), (4, HIGHEST_MIB, 64)] {
        load.begin();
        load.maintained_each = maintained_each;
        assert!(load.store.set_limit(mib << 20));
        (0..400_000).for_each(|number| load.put(round * 10_000_000 + number, &[b'v'; 10], 0));
        load.assert_within(&format!("limit {mib} MiB, background work {maintained_each}"), BOUNDS);
        load.assert_moved(BUCKETS_MOST);
    }
    load.store.verify().unwrap();
}

/// The limit is lowered below what large items take that were read often, and small ones come: the index is to grow,
/// and memory for that comes late.
fn limit_below_read_items<S: Sharing>(most: f64, store: Store<S>) {
    let mut load = Load::new(store, 0);
    (0..60_000).for_each(|number| load.put(number, &[b'v'; 1_000], 0));
    for _ in 0..4 {
        (0..60_000).for_each(|number| _ = load.get(number));
    }
    load.begin();
    assert!(load.store.set_limit(24 << 20));
    let mut worked_most = 0;
    for number in 0..400_000 {
        let before = load.store.stats();
        load.put(1_000_000 + number, &[b'v'; 10], 0);
        let after = load.store.stats();
        let worked = |stats: &mm_store::Stats| stats.evicted + stats.moved;
        worked_most = worked_most.max(worked(&after) - worked(&before));
    }
    load.assert_within("a limit below items that were read", [BOUNDS[0], most]);
    assert!(worked_most <= 160, "{worked_most} records in one call");
    load.store.verify().unwrap();
}

/// Nothing may be evicted: new items are refused when there is no memory, and above a load.
fn unevicted<S: Sharing>(store: Store<S>) {
    let mut load = Load::new(store, 0);
    let mut numbers = 0..;
    let stored = numbers.by_ref().take_while(|&number| load.try_put(number, &[b'v'; 4], 0)).count() as u64;
    for number in numbers.take(50_000) {
        load.try_put(number, &[b'v'; 4], 0);
    }
    load.assert_within("filled", [0.0, BOUNDS[1]]);
    load.begin();
    // After a growth the index takes a byte of each item's 36 more than before one.
    let least = stored / 2 - stored / 32;
    for round in 1..4 {
        let deleted =
            (0..stored / 2).filter(|&number| load.delete((round - 1) * 10_000_000 + number)).count();
        let put = |number: &u64| load.try_put(round * 10_000_000 + number, &[b'v'; 4], 0);
        let again = (0..stored / 2).filter(put).count();
        assert!(deleted as u64 >= least && again as u64 >= least, "{deleted}, {again} of {stored} half");
    }
    load.assert_within("deleted and filled", BOUNDS);
    assert_eq!(load.store.stats().evicted, 0);
    load.store.verify().unwrap();
}

/// Most of memory is garbage, and none of it free, when the index is to grow.
fn garbage<S: Sharing>(store: Store<S>) {
    let mut load = Load::new(store, 0);
    let is_stored = |load: &mut Load<S>, number: u64| load.try_put(number, &[b'v'; 4], 0);
    (0..162_000).for_each(|number| assert!(is_stored(&mut load, number), "{number}"));
    let large = (1_000_000..).take_while(|&number| load.try_put(number, &[b'v'; 8_000], 0)).count() as u64;
    assert!(large > 500, "{large}");
    (0..large).for_each(|number| assert!(load.delete(1_000_000 + number)));
    let added = (200_000..400_000).filter(|&number| is_stored(&mut load, number)).count();
    assert!(added > 199_900, "{added} added, {:?}", load.store.stats());
    load.assert_within("garbage", [0.0, BOUNDS[1]]);
    (0..162_000).for_each(|number| assert_eq!(load.get(number), Ok(())));
    load.store.verify().unwrap();
}

/// Where memory is full of what may not be evicted, and hardly any is made free for the index to grow, nothing is added
/// that it has no room for: values in one piece or in several.
fn refusals<S: Sharing>(most: f64, mut open: impl FnMut() -> Store<S>) {
    for (value_bytes, is_upload) in [(200, false), (200, true), (600, false), (600, true)] {
        let mut load = Load::new(open(), 0);
        let large =
            (0..).take_while(|&number| load.try_put(number, &vec![b'v'; value_bytes], 0)).count() as u64;
        let mut small = 1_000_000..;
        for number in 0..large {
            load.delete(number);
            for number in small.by_ref().take(value_bytes / 20) {
                if is_upload {
                    load.upload_in_pieces(number, 1);
                } else {
                    load.try_put(number, b"v", 0);
                }
            }
        }
        assert!(load.store.stats().refused > 0 && load.store.stats().evicted == 0);
        load.assert_within(&format!("{value_bytes} bytes, upload: {is_upload}"), [0.0, most]);
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
    removal(local(64 << 20));
    death(|| local(64 << 20));
}

#[test]
fn one_shard_whose_limit_changes() {
    limits(local(64 << 20));
    limit_below_read_items(BOUNDS[1], local(64 << 20));
}

#[test]
fn one_shard_that_stores_large_values_in_pieces() {
    pieces(local);
}

/// Without eviction.
fn keeping(limit_bytes: usize) -> Config {
    Config { evict: false, ..Config::new(limit_bytes, 1) }
}

#[test]
fn one_shard_without_eviction() {
    let open = |mib: usize| Store::open(&keeping(mib << 20)).unwrap();
    unevicted(open(4));
    garbage(open(16));
    refusals(BOUNDS[1], || open(1));
}

#[cfg(feature = "smp")]
fn shared(config: &Config) -> Store<Shared> {
    StoreHandles::open(config, 2).unwrap().take().unwrap()
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_whose_items_become_larger_and_smaller() {
    drift(shared(&Config::new(16 << 20, 1)), 0);
    drift(shared(&Config::new(16 << 20, 1)), 64);
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_that_only_removes() {
    removal(shared(&Config::new(64 << 20, 1)));
    death(|| shared(&Config::new(64 << 20, 1)));
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_whose_limit_changes() {
    limits(shared(&Config::new(64 << 20, 1)));
    limit_below_read_items(SHARED_MOST, shared(&Config::new(64 << 20, 1)));
}

#[cfg(feature = "smp")]
#[test]
fn one_of_several_shards_without_eviction() {
    let open = |mib: usize| shared(&keeping(mib << 20));
    unevicted(open(4));
    garbage(open(16));
    refusals(SHARED_MOST, || open(1));
}

/// Two shards by turns, in one thread: each sees late what the other adds and removes.
#[cfg(feature = "smp")]
#[test]
fn two_shards_by_turns() {
    const BOTH: [f64; 2] = [BOUNDS[0], SHARED_MOST];
    let handles = StoreHandles::open(&Config::new(32 << 20, 1), 2).unwrap();
    let mut both = [(); 2].map(|()| Load::new(handles.take().unwrap(), 64));
    let each = |both: &mut [Load<Shared>; 2],
                what: &str,
                bounds: [f64; 2],
                calls: u64,
                call: &dyn Fn(&mut Load<Shared>, u64)| {
        for number in 0..calls {
            both.iter_mut().enumerate().for_each(|(shard, load)| call(load, 2 * number + shard as u64));
        }
        for load in both {
            load.assert_within(what, bounds);
            load.assert_moved(270);
            load.begin();
        }
    };
    each(&mut both, "both, small", [0.0, BOTH[1]], 400_000, &|load, number| load.put(number, &[b'v'; 10], 0));
    each(&mut both, "both, larger", BOTH, 30_000, &|load, number| {
        load.put(1_000_000 + number, &[b'v'; 1_000], 0);
    });
    each(&mut both, "both, small again", BOTH, 400_000, &|load, number| {
        load.put(2_000_000 + number, &[b'v'; 10], 0);
    });
    each(&mut both, "both, deletes", BOTH, 360_000, &|load, number| {
        _ = load.delete(2_000_000 + 800_000 - 1 - number);
    });
    both[0].store.verify().unwrap();
}

/// Two threads store or delete at once. One that the system stops in the middle of a step keeps the other from moving
/// anything meanwhile, and that one goes on removing, and cannot have the memory that the stopped one holds: so the
/// bounds are those of what they come to in the end, and that there is a slot for what is added.
#[cfg(feature = "smp")]
#[test]
fn two_shards_at_once() {
    let handles = StoreHandles::open(&Config::new(8 << 20, 1), 2).unwrap();
    let together = Barrier::new(2);
    let work = |thread: u64| {
        let mut load = Load::new(handles.take().unwrap(), 64);
        let mut in_the_end = Vec::new();
        for (phase, value_bytes, writes) in [(0, 10, 100_000), (1, 1_000, 8_000), (2, 10, 100_000)] {
            for number in 0..writes {
                load.put((2 * phase + thread) * 1_000_000 + number, &vec![b'v'; value_bytes], 0);
            }
            together.wait();
            in_the_end.push(load.catch_up());
            together.wait();
        }
        (0..90_000).for_each(|number| _ = load.delete((4 + thread) * 1_000_000 + number));
        together.wait();
        in_the_end.push(load.catch_up());
        (load.seen[1], in_the_end)
    };
    // Nothing is asserted while one may wait for the other.
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| work(1));
        [work(0), other.join().unwrap()]
    });
    for (most, in_the_end) in both {
        assert!(most <= MOST_OF_ALL, "a load of {most:.4}");
        assert!(in_the_end.iter().all(|&load| load >= BOUNDS[0]), "loads of {in_the_end:.4?} in the end");
    }
    handles.take().unwrap().verify().unwrap();
}
