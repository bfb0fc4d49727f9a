//! Several threads read, overwrite, append to and delete values of several segments each, while all of them move
//! extents that take several steps: what is read is whole, and nothing is left behind.

#![cfg(feature = "smp")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use mm_base::choice::Choices;
use mm_store::{Config, Mode, Outcome, Put, PutError, Shared, Store, StoreHandles};

const THREADS: usize = 4;
/// Segments of 256 KiB, so that an extent takes up to four steps.
const LIMIT_BYTES: usize = 128 << 20;
const KEYS: u64 = 600;
const ROUNDS: u64 = 2_500;
/// What is appended to no more.
const LONG_BYTES: usize = 2 << 20;

/// A part of a value: which one it is, how many words it has, and these, each of which tells its place.
fn part(number: u64, version: u64, words: u64) -> Vec<u8> {
    let first = number << 40 | version;
    let body = (0..words).map(|at| first.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at));
    [first, words].into_iter().chain(body).flat_map(u64::to_le_bytes).collect()
}

/// Checks that a value is made of whole parts of its key. Returns how many.
fn check(value: &[u8], number: u64) -> usize {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let (mut rest, mut parts) = (value, 0);
    while !rest.is_empty() {
        let (head, behind) = rest.split_at_checked(16).expect("a part without a beginning");
        let (first, words) = (word(&head[..8]), word(&head[8..]));
        assert_eq!(first >> 40, number, "another key's value");
        let whole = part(number, first & ((1 << 40) - 1), words.min(LONG_BYTES as u64));
        let (body, behind) = behind.split_at_checked(whole.len() - 16).expect("a part without its end");
        assert!(*body == whole[16..], "a mixed value");
        (rest, parts) = (behind, parts + 1);
    }
    parts
}

/// Lets others rest who may be reading all memory.
fn wait(store: &mut Store<Shared>) {
    while store.must_wait() {
        store.rest();
        std::thread::yield_now();
    }
}

fn read(store: &mut Store<Shared>, number: u64, value: &mut Vec<u8>) -> bool {
    let name = format!("large:{number}");
    let key = store.key(name.as_bytes()).unwrap();
    value.clear();
    let Ok(item) = store.get(key, 1) else { return false };
    item.pieces().for_each(|piece| value.extend_from_slice(piece));
    assert_eq!(value.len(), item.len(), "as many bytes as the item has");
    true
}

fn write(store: &mut Store<Shared>, name: &str, mode: Mode, value: &[u8]) -> Result<Outcome, PutError> {
    wait(store);
    let key = store.key(name.as_bytes()).unwrap();
    store.put(key, &Put { mode, ..Put::default() }, value, 1)
}

/// What came of the work of all.
#[derive(Default)]
struct Found {
    whole: AtomicU64,
    joined: AtomicU64,
    deleted: AtomicU64,
    /// The large ones. Where others pause for long in a turn some are refused.
    stored: AtomicU64,
}

fn work(store: &mut Store<Shared>, thread: u64, found: &Found) {
    let mut choices = Choices::new(thread);
    let mut value = Vec::new();
    let add = |count: &AtomicU64, is_so: bool| count.fetch_add(u64::from(is_so), Ordering::Relaxed);
    for round in 0..ROUNDS {
        let number = choices.below(KEYS);
        let name = format!("large:{number}");
        let version = round * THREADS as u64 + thread;
        match choices.below(8) {
            0 => {
                let key = store.key(name.as_bytes()).unwrap();
                add(&found.deleted, store.delete(key, None, 1).is_ok());
            }
            1..=3 => {
                let words = 20_000 + choices.below(60_000);
                let stored = write(store, &name, Mode::Set, &part(number, version, words));
                add(&found.stored, stored == Ok(Outcome::Stored));
            }
            4 if read(store, number, &mut value) && value.len() < LONG_BYTES => {
                let mode = if choices.below(2) == 0 { Mode::Append } else { Mode::Prepend };
                let joined = write(store, &name, mode, &part(number, version, choices.below(20_000)));
                add(&found.stored, joined == Ok(Outcome::Stored));
            }
            _ => {}
        }
        for _ in 0..choices.below(20) {
            let small = format!("small:{}", choices.below(20_000));
            let _one_of_many = write(store, &small, Mode::Set, &[b'v'; 100]);
        }
        let number = choices.below(KEYS);
        if read(store, number, &mut value) {
            add(&found.whole, true);
            add(&found.joined, check(&value, number) > 1);
        }
        if round % 3 == 0 {
            store.rest();
        }
    }
}

#[test]
fn large_values_are_whole_while_several_shards_move_their_extents() {
    let config = Config::new(LIMIT_BYTES, 3);
    let handles = StoreHandles::open(&config, THREADS + 1).unwrap();
    let (start, found) = (Barrier::new(THREADS), Found::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (start, handles, found) = (&start, &handles, &found);
            scope.spawn(move || {
                let mut store = handles.take().unwrap();
                start.wait();
                work(&mut store, thread, found);
            });
        }
    });
    let mut store = handles.take().unwrap();
    store.verify().unwrap();
    let (stats, mut value) = (store.stats(), Vec::new());
    let counts = [&found.whole, &found.joined, &found.deleted, &found.stored];
    let counts = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(counts[0] > 2_000 && counts[1] > 200 && counts[2] > 200 && counts[3] > 1_000, "{counts:?}");
    assert!(stats.moved_bytes > 50 << 20 && stats.evicted > 10, "{stats:?}");
    for number in 0..KEYS {
        if read(&mut store, number, &mut value) {
            check(&value, number);
        }
        store.rest();
    }
    store.flush_all();
    while store.maintain(64, 1) {
        store.rest();
    }
    store.verify().unwrap();
    assert_eq!(store.stats().items, 0);
}
