//! What the store does beside requests, in instructions and in steps: eviction under overload, and the search for
//! expired items.
//!
//! `cargo run --release -p mm-store --example work -- evict WRITES [VALUE_BYTES]` fills 64 MiB, has each of so many
//! writes store a new key, and prints how long the longest took and how many records the busiest one moved, evicted or
//! reclaimed. With `bare` behind it nothing is measured beside writes: under `valgrind --tool=callgrind` the difference
//! of two numbers of them is what one takes. `replace` instead of `evict` writes keys that are there.
//!
//! `... -- sweep ITEMS SECONDS` stores items with times to live from a minute to a month, and lets seconds go by in
//! which nobody asks for anything.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::{Duration, Instant};

use mm_store::{Config, Put, Store};

const LIMIT_BYTES: usize = 64 << 20;
/// Keys that are replaced: all fit.
const REPLACED: u64 = 200_000;
/// Records that background work looks at in a go. The service's goes are shorter.
const MAINTAIN_RECORDS: usize = 512;
/// Times to live in seconds; a fifth of the items has each.
const TTLS_S: [u32; 5] = [60, 600, 3600, 86_400, 2_592_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |position: usize, default: u64| arguments.get(position).map_or(default, |text| text.parse().unwrap());
    match arguments.first().map(String::as_str) {
        Some("sweep") => sweep(number(1, 1_000_000), number(2, 60)),
        Some("replace") => {
            write(&arguments, number(1, 1_000_000), number(2, 100), |number| number % REPLACED);
        }
        _ => write(&arguments, number(1, 1_000_000), number(2, 100), |number| number),
    }
}

fn put(store: &mut Store, number: u64, value: &[u8], put: &Put, now_s: u32) {
    let mut bytes = *b"key:0000000000000000";
    let mut rest = number;
    for byte in bytes[4..].iter_mut().rev() {
        *byte = b"0123456789abcdef"[usize::try_from(rest % 16).unwrap()];
        rest /= 16;
    }
    let key = store.key(&bytes).unwrap();
    store.put(key, put, value, now_s).unwrap();
}

fn worked(store: &Store) -> u64 {
    let stats = store.stats();
    stats.moved + stats.evicted + stats.reclaimed
}

/// Fills the store, then writes `writes` more.
fn write(arguments: &[String], writes: u64, value_bytes: u64, choose: fn(u64) -> u64) {
    let mut store = Store::open(&Config::new(LIMIT_BYTES, 1)).unwrap();
    let value = vec![b'v'; usize::try_from(value_bytes).unwrap()];
    let filling = 2 * LIMIT_BYTES as u64 / (value_bytes + 40);
    for number in 0..filling {
        put(&mut store, choose(number), &value, &Put::default(), 1);
    }
    if arguments.get(3).is_some_and(|argument| argument == "bare") {
        for number in filling..filling + writes {
            put(&mut store, choose(number), &value, &Put::default(), 1);
        }
        return;
    }
    let before = store.stats();
    let (mut most, mut times) = (0, Vec::new());
    for number in filling..filling + writes {
        let (work, began) = (worked(&store), Instant::now());
        put(&mut store, choose(number), &value, &Put::default(), 1);
        times.push(began.elapsed());
        most = most.max(worked(&store) - work);
    }
    let after = store.stats();
    times.sort_unstable();
    let at = |share: u64| {
        times.get(usize::try_from(writes * share / 10_000).unwrap()).copied().unwrap_or_default()
    };
    println!(
        "{writes} writes: {} evicted, {} moved, {most} records at most in one; p50 {:?}, p99 {:?}, p99.99 {:?}, \
         longest {:?}",
        after.evicted - before.evicted,
        after.moved - before.moved,
        at(5_000),
        at(9_900),
        at(9_999),
        times.last().copied().unwrap_or_default(),
    );
}

/// Stores items and lets time pass.
fn sweep(items: u64, seconds: u64) {
    let limit = usize::try_from(items * 100).unwrap().max(LIMIT_BYTES);
    let mut store = Store::open(&Config::new(limit, 1)).unwrap();
    for number in 0..items {
        let ttl_s = TTLS_S[usize::try_from(number % 5).unwrap()];
        put(&mut store, number, b"value of 16 bytes", &Put { expiry_s: 1 + ttl_s, ..Put::default() }, 1);
    }
    let (mut busy, mut longest, mut goes) = (Duration::ZERO, Duration::ZERO, 0_u64);
    for now_s in 2..2 + u32::try_from(seconds).unwrap() {
        loop {
            let began = Instant::now();
            let is_more = store.maintain(MAINTAIN_RECORDS, now_s);
            let took = began.elapsed();
            (busy, longest, goes) = (busy + took, longest.max(took), goes + 1);
            if !is_more {
                break;
            }
        }
    }
    let stats = store.stats();
    println!(
        "{items} items, {seconds} s: {} reclaimed, {} left; busy for {busy:?} in {goes} goes, the longest {longest:?}",
        stats.reclaimed, stats.items
    );
}
