//! Measures the layout of items and index, for docs/decisions/0001 and 0022: bytes per item, fresh and after
//! overwrites, cost of look-ups, steps of growth.
//!
//! `cargo run --release -p mm-store --example layout -- [density|churn|lookups ITEMS|growth ITEMS]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times far below the bounds"
)]

use std::time::Instant;

use mm_store::{Config, Key, Put, Store};

const KEY_BYTES: usize = 20;
const NOW_S: u32 = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let items = arguments.get(1).map_or(1_000_000, |text| text.parse().unwrap());
    match arguments.first().map(String::as_str) {
        Some("lookups") => look_ups(items),
        Some("growth") => growth(items),
        Some("density") => density(),
        Some("churn") => churn(),
        _ => {
            density();
            churn();
            look_ups(1_000_000);
            growth(4_000_000);
        }
    }
}

/// A key of 20 bytes.
fn key_bytes(number: u64) -> [u8; KEY_BYTES] {
    let mut bytes = *b"key:0000000000000000";
    let mut rest = number;
    for byte in bytes[4..].iter_mut().rev() {
        *byte = b"0123456789abcdef"[(rest % 16) as usize];
        rest /= 16;
    }
    bytes
}

fn fill(store: &mut Store, from: u64, to: u64, value: &[u8], put: &Put) {
    for number in from..to {
        let bytes = key_bytes(number);
        let key = store.key(&bytes).unwrap();
        store.put(key, put, value, NOW_S).unwrap();
    }
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Fills to twice the limit, then counts what can be read back, in a process of its own for each row so that
/// resident memory is the store's alone.
fn density() {
    println!(
        "limit MiB | value bytes | TTL | items | bytes beside key and value: resident | percent of payload"
    );
    for (limit_mib, value_bytes, expiry_s) in [
        (1024, 8, 0),
        (1024, 100, 0),
        (1024, 230, 0),
        (1024, 1_000, 0),
        (1024, 4_000, 0),
        (1024, 100, 1_000_000),
        (64, 8, 0),
        (64, 100, 0),
        (64, 230, 0),
        (64, 1_000, 0),
        (64, 4_000, 0),
        (64, 100, 1_000_000),
    ] {
        let before = resident_bytes();
        let limit_bytes: usize = limit_mib << 20;
        let mut store = Store::open(&Config::new(limit_bytes, 7)).unwrap();
        let payload = KEY_BYTES + value_bytes;
        let count = (limit_bytes / payload) as u64;
        let put = Put { expiry_s, ..Put::default() };
        fill(&mut store, 0, count, &vec![b'v'; value_bytes], &put);
        let resident = resident_bytes() - before;
        let readable = (0..count).filter(|&number| {
            let bytes = key_bytes(number);
            let key = store.key(&bytes).unwrap();
            store.peek(key, NOW_S).is_ok()
        });
        let items = readable.count();
        let overhead = resident as f64 / items as f64 - payload as f64;
        println!(
            "{limit_mib:9} | {value_bytes:11} | {:3} | {items:8} | {overhead:6.1} | {:5.1}",
            if expiry_s == 0 { "no" } else { "yes" },
            overhead * 100.0 / payload as f64,
        );
    }
}

/// Fills, then overwrites five times the memory by Zipf with a tenth of deletes; counts what can be read back, and
/// what was copied for what was written in the second half of that.
fn churn() {
    println!("limit MiB | value bytes | items | bytes beside key and value | copied / written | evicted");
    for (limit_mib, value_bytes) in
        [(64, 8), (64, 100), (64, 1_000), (64, 4_000), (1024, 1_000), (1024, 4_000)]
    {
        let limit_bytes: usize = limit_mib << 20;
        let mut store = Store::open(&Config::new(limit_bytes, 7)).unwrap();
        let payload = KEY_BYTES + value_bytes;
        let (keys, value) = ((limit_bytes * 13 / 10 / payload) as u64, vec![b'v'; value_bytes]);
        fill(&mut store, 0, keys, &value, &Put::default());
        overwrite(&mut store, keys, &value, (5 * limit_bytes / 2 / payload) as u64);
        let before = store.stats();
        let writes = (5 * limit_bytes / 2 / payload) as u64;
        overwrite(&mut store, keys, &value, writes);
        let stats = store.stats();
        let readable = (0..keys).filter(|&number| {
            let bytes = key_bytes(number);
            let key = store.key(&bytes).unwrap();
            store.peek(key, NOW_S).is_ok()
        });
        let items = readable.count();
        let used = stats.segments * stats.segment_bytes + stats.index_bytes + stats.ghost_bytes;
        println!(
            "{limit_mib:9} | {value_bytes:11} | {items:7} | {:6.1} | {:4.2} | {}",
            used as f64 / items as f64 - payload as f64,
            (stats.moved_bytes - before.moved_bytes) as f64 / (writes * payload as u64) as f64,
            stats.evicted - before.evicted,
        );
    }
}

/// So many writes to `keys` keys, nearly as often as one over their rank, and a delete for each nine of them.
fn overwrite(store: &mut Store, keys: u64, value: &[u8], writes: u64) {
    for number in 0..writes * 10 / 9 {
        let unit = (mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (keys as f64).powf(unit) as u64 - 1;
        let bytes = key_bytes(rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys);
        let key = store.key(&bytes).unwrap();
        if number % 10 == 0 {
            // It may have been evicted or deleted before.
            let _absent = store.delete(key, None, NOW_S);
        } else {
            store.put(key, &Put::default(), value, NOW_S).unwrap();
        }
    }
}

/// Cost of hits and misses, one by one and in batches of 32 with prefetches.
fn look_ups(items: u64) {
    let mut store = Store::open(&Config::new(items as usize * 64 + (64 << 20), 7)).unwrap();
    fill(&mut store, 0, items, b"0123456789", &Put::default());
    let numbers: Vec<u64> = (0..2_000_000_u64).map(|i| mix(i) % items).collect();
    println!("items {items} | ns per look-up: one by one | batches of 32");
    for (name, offset) in [("hit", 0), ("miss", items)] {
        let keys: Vec<[u8; KEY_BYTES]> = numbers.iter().map(|number| key_bytes(number + offset)).collect();
        let start = Instant::now();
        let mut hits = 0_usize;
        for bytes in &keys {
            let key = store.key(bytes).unwrap();
            hits += usize::from(store.get(key, NOW_S).is_ok());
        }
        let single = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!(hits, if offset == 0 { keys.len() } else { 0 });
        let start = Instant::now();
        let mut hits = 0_usize;
        for chunk in keys.chunks(32) {
            hits += batch(&mut store, chunk);
        }
        let batched = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!(hits, if offset == 0 { keys.len() } else { 0 });
        println!("{name:4} | {single:6.1} | {batched:6.1}");
    }
}

fn batch(store: &mut Store, chunk: &[[u8; KEY_BYTES]]) -> usize {
    let mut keys: [Option<Key<'_>>; 32] = [None; 32];
    for (key, bytes) in keys.iter_mut().zip(chunk) {
        *key = store.key(bytes);
        key.iter().for_each(|key| store.prefetch_index(key.hash()));
    }
    for key in keys.iter().flatten() {
        store.prefetch_item(key.hash());
    }
    keys.iter().flatten().filter(|key| store.get(**key, NOW_S).is_ok()).count()
}

/// The longest single write while the index grows, and while eviction runs, from the second million on.
fn growth(items: u64) {
    let mut store = Store::open(&Config::new(items as usize * 48, 7)).unwrap();
    let mut slowest: Vec<(u64, &str)> = Vec::new();
    let mut total_ns = 0;
    for number in 0..items * 2 {
        let bytes = key_bytes(number);
        let key = store.key(&bytes).unwrap();
        let was_moving = store.stats().index_moving;
        let start = Instant::now();
        store.put(key, &Put::default(), b"0123456789", NOW_S).unwrap();
        let ns = start.elapsed().as_nanos() as u64;
        total_ns += ns;
        slowest.push((ns, if was_moving { "growing" } else { "still" }));
    }
    slowest.sort_unstable();
    let percentile = |p: f64| slowest[((slowest.len() - 1) as f64 * p) as usize].0;
    println!(
        "{} writes, {} evicted, load {:.3}: mean {} ns, p50 {}, p99 {}, p99.99 {}, five longest {:?}",
        items * 2,
        store.stats().evicted,
        store.stats().items as f64 / (store.stats().index_buckets as f64 * 9.0),
        total_ns / (items * 2),
        percentile(0.5),
        percentile(0.99),
        percentile(0.9999),
        &slowest[slowest.len() - 5..],
    );
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d)
}
