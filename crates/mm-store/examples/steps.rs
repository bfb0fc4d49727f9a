//! The price of each kind of step that a write may do beside its own work, in nanoseconds: `tests/steps.rs` bounds how
//! many of each one write does, docs/store.md adds up.
//!
//! `cargo run --release -p mm-store --example steps`
//!
//! Work of one kind is done many times over, and its time divided by the steps that the store counts.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::{Duration, Instant};

use mm_store::{Config, Put, Stats, Store};

const NOW_S: u32 = 1;

fn main() {
    buckets();
    expired();
    evicted(10);
    evicted(1_000);
    moved(100);
    moved(60_000);
}

fn put(store: &mut Store, number: u64, value: &[u8], expiry_s: u32) {
    let mut bytes = *b"key:0000000000000000";
    bytes[4..].copy_from_slice(format!("{number:016x}").as_bytes());
    let key = store.key(&bytes).unwrap();
    store.put(key, &Put { expiry_s, ..Put::default() }, value, NOW_S).unwrap();
}

/// Prints what a step costs; the longest of some goes of so many steps too.
fn tell(what: &str, took: Duration, steps: u64) {
    println!("{what:<52} {:>8.1} ns ({steps} steps)", took.as_secs_f64() * 1e9 / steps.max(1) as f64);
}

/// Times `work`, and divides by what `steps` makes of the counters.
fn measure(store: &mut Store, what: &str, steps: fn(&Stats) -> u64, work: impl FnOnce(&mut Store)) {
    let before = store.stats();
    let start = Instant::now();
    work(store);
    let took = start.elapsed();
    tell(what, took, steps(&store.stats()) - steps(&before));
}

/// Segments of 2 MiB.
fn large_segments(limit_bytes: usize) -> Store {
    let mut store = Store::open(&Config::new(1 << 30, 1)).unwrap();
    assert!(store.set_limit(limit_bytes));
    store
}

/// A bucket moved: an index that shrinks.
fn buckets() {
    let mut store = Store::open(&Config::new(1 << 30, 1)).unwrap();
    for number in 0..3_000_000 {
        put(&mut store, number, b"0123456789", 0);
    }
    for number in 0..2_000_000_u64 {
        let mut bytes = *b"key:0000000000000000";
        bytes[4..].copy_from_slice(format!("{number:016x}").as_bytes());
        let key = store.key(&bytes).unwrap();
        store.delete(key, None, NOW_S).unwrap();
    }
    measure(
        &mut store,
        "bucket moved",
        |stats| stats.buckets_moved,
        |store| while store.maintain(512, NOW_S) {},
    );
}

/// An expired item found and removed.
fn expired() {
    let mut store = Store::open(&Config::new(1 << 30, 1)).unwrap();
    for number in 0..2_000_000 {
        put(&mut store, number, &[b'v'; 100], NOW_S + 10);
    }
    let work = |store: &mut Store| while store.maintain(512, NOW_S + 10) {};
    measure(&mut store, "expired item removed", |stats| stats.reclaimed, work);
}

/// An item evicted, with its part of the write that does it: items leave from the queue's end while new keys come.
fn evicted(value_bytes: usize) {
    let mut store = large_segments(256 << 20);
    let value = vec![b'v'; value_bytes];
    let filling = 2 * (256 << 20) / (value_bytes as u64 + 40);
    for number in 0..filling {
        put(&mut store, number, &value, 0);
    }
    let what = format!("new key of {value_bytes} bytes stored, one evicted");
    measure(
        &mut store,
        &what,
        |stats| stats.stored,
        |store| {
            for number in filling..filling + 300_000 {
                put(store, number, &value, 0);
            }
        },
    );
}

/// An item moved, by the bytes: the store is flushed down to a limit of half the memory while nothing is evicted.
fn moved(value_bytes: usize) {
    let mut store = Store::open(&Config { evict: false, ..Config::new(1 << 30, 1) }).unwrap();
    let value = vec![b'v'; value_bytes];
    let items = (384 << 20) / (value_bytes as u64 + 40);
    for number in 0..items {
        put(&mut store, number, &value, 0);
    }
    for number in (0..items).filter(|number| number % 3 != 0) {
        let mut bytes = *b"key:0000000000000000";
        bytes[4..].copy_from_slice(format!("{number:016x}").as_bytes());
        let key = store.key(&bytes).unwrap();
        store.delete(key, None, NOW_S).unwrap();
    }
    assert!(store.set_limit(256 << 20));
    let what = format!("item of {value_bytes} bytes moved");
    measure(&mut store, &what, |stats| stats.moved, |store| while store.maintain(512, NOW_S) {});
}
