//! Values grow tenfold and shrink again while most requests read: what is read is kept, of whatever size, and that
//! must not leave memory which items of the new size cannot have.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_base::choice::Choices;
use mm_store::{Config, Put, Store};

const LIMIT_BYTES: usize = 32 << 20;
const KEY_BYTES: usize = 20;
const SMALL_BYTES: usize = 100;
const LARGE_BYTES: usize = 1_000;

/// More small items than fit.
const FILLING: u64 = 250_000;

/// What is asked for: more than twice as much as fits, so that something has to leave all the time.
const KEYS: u64 = 1 << 19;

/// Requests of a minute: two for each small item that fits. That is a server which is asked for 270,000 items a second
/// for each GiB it has, a fraction of what one shard can do.
const MINUTE: usize = 500_000;

/// One request in so many writes whatever is there; the others read, and write what they do not find.
const WRITES_ONE_IN: u64 = 10;

/// Draws a key of those below [`KEYS`].
type Choose = fn(&mut Choices) -> u64;

struct Load {
    store: Store,
    choices: Choices,
}

impl Load {
    fn new() -> Self {
        Self { store: Store::open(&Config::new(LIMIT_BYTES, 1)).unwrap(), choices: Choices::new(1) }
    }

    fn put(&mut self, number: u64, len: usize) {
        let key = format!("{number:020x}");
        let key = self.store.key(key.as_bytes()).unwrap();
        self.store.put(key, &Put::default(), &[b'v'; LARGE_BYTES][..len], 1).unwrap();
    }

    /// How long the value is, if it is there.
    fn get(&mut self, number: u64) -> Option<usize> {
        let key = format!("{number:020x}");
        let item = self.store.get(self.store.key(key.as_bytes()).unwrap(), 1).ok()?;
        item.value().map(<[u8]>::len)
    }

    /// Serves so many requests. The one of number `n` that writes does so with `len(n)` bytes.
    fn serve(&mut self, requests: usize, choose: Choose, len: impl Fn(usize) -> usize) {
        for request in 0..requests {
            let number = choose(&mut self.choices);
            if self.choices.one_in(WRITES_ONE_IN) || self.get(number).is_none() {
                self.put(number, len(request));
            }
        }
    }

    /// How many of the keys can be read back, and the bytes of their values.
    fn read_all(&mut self) -> (usize, usize) {
        let lens = (0..KEYS).filter_map(|number| self.get(number));
        lens.fold((0, 0), |(items, bytes), len| (items + 1, bytes + len))
    }
}

/// A store with as many values of `len` bytes as fit, and the bytes for each item that are not its value's.
fn filled(len: usize) -> (Load, f64) {
    let mut load = Load::new();
    (0..FILLING).for_each(|number| load.put(number, len));
    let (items, bytes) = load.read_all();
    (load, (LIMIT_BYTES - bytes) as f64 / items as f64)
}

/// Each power of two of popularity has as many requests as the next; popular keys lie anywhere.
fn by_popularity(choices: &mut Choices) -> u64 {
    let ranks = 2 << choices.below(u64::from(KEYS.ilog2()));
    choices.below(ranks).wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS
}

fn any(choices: &mut Choices) -> u64 {
    choices.below(KEYS)
}

/// What is there after values grew, shrank again and had a minute's time would take 92.6 % of the limit in a store that
/// was filled with it: 8 % less than it takes.
fn assert_no_density_is_left_behind(choose: Choose) {
    let ((mut load, small_cost), (_, large_cost)) = (filled(SMALL_BYTES), filled(LARGE_BYTES));
    assert!(small_cost >= KEY_BYTES as f64 && large_cost >= small_cost, "{small_cost} {large_cost}");
    let half = MINUTE / 2;
    load.serve(half, choose, |request| SMALL_BYTES + (LARGE_BYTES - SMALL_BYTES) * request / half);
    load.serve(half, choose, |request| LARGE_BYTES - (LARGE_BYTES - SMALL_BYTES) * request / half);
    let before = load.store.stats();
    load.serve(MINUTE, choose, |_| SMALL_BYTES);
    let evicted = load.store.stats().evicted - before.evicted;
    assert!(evicted > 1_000, "{evicted} evicted: nothing had to leave");
    let (items, bytes) = load.read_all();
    // Many were large when they were read, and still are. In a fresh store the cost grows with the length.
    let lengthened = (bytes - items * SMALL_BYTES) as f64 / (LARGE_BYTES - SMALL_BYTES) as f64;
    let cost = items as f64 * small_cost + lengthened * (large_cost - small_cost);
    let needed = (bytes as f64 + cost) / LIMIT_BYTES as f64;
    assert!(needed * 1.08 >= 1.0, "{needed:.3} of the limit for {items} items and {bytes} bytes of values");
    load.store.verify().unwrap();
}

#[test]
fn reads_by_popularity_leave_no_density_behind() {
    assert_no_density_is_left_behind(by_popularity);
}

#[test]
fn reads_of_any_item_leave_no_density_behind() {
    assert_no_density_is_left_behind(any);
}
