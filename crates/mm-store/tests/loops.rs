//! What is asked for in a cycle that is longer than the memory.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Put, Store};

const LIMIT_BYTES: usize = 4 << 20;
const VALUE: [u8; 200] = [7; 200];

/// Asks for every one of so many keys in turn, storing those that are missing. Returns the hits.
fn go_round(store: &mut Store, keys: u32) -> u32 {
    let mut hits = 0;
    for number in 0..keys {
        let bytes = format!("key{number}");
        let key = store.key(bytes.as_bytes()).unwrap();
        if store.get(key, 1).is_ok() {
            hits += 1;
        } else {
            store.put(key, &Put::default(), &VALUE, 1).unwrap();
        }
    }
    hits
}

#[test]
fn a_loop_longer_than_the_memory_keeps_a_part_of_itself() {
    // The memory has room for some 18,000, of which nine tenths can stay.
    for keys in [60_000, 120_000] {
        let mut store = Store::open(&Config::new(LIMIT_BYTES, 3)).unwrap();
        for _ in 0..8 {
            go_round(&mut store, keys);
        }
        let hits = go_round(&mut store, keys);
        assert!(hits > 12_000, "{hits} hits among {keys}");
        store.verify().unwrap();
    }
}

/// Asks for one key, storing a value of this length where it is missing. Returns the hits.
fn ask(store: &mut Store, number: u32, len: usize) -> u32 {
    let bytes = format!("key{number}");
    let key = store.key(bytes.as_bytes()).unwrap();
    if store.get(key, 1).is_ok() {
        return 1;
    }
    store.put(key, &Put::default(), &vec![7; len], 1).unwrap();
    0
}

#[test]
fn keys_asked_for_to_and_fro_keep_a_part_of_themselves() {
    // At each turn those asked for last come back at once, and then not before the next time but one.
    const KEYS: u32 = 2_000;
    let lens = [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10];
    let len = |number: u32| lens[(number.wrapping_mul(0x9e37_79b9) >> 16) as usize % lens.len()];
    for (limit_bytes, least) in [(2 << 20, 17), (4 << 20, 36)] {
        let mut store = Store::open(&Config::new(limit_bytes, 3)).unwrap();
        let mut hits = 0;
        for pass in 0..40 {
            let counted = u32::from(pass >= 20);
            for i in 0..KEYS {
                let number = if pass % 2 == 0 { i } else { KEYS - 1 - i };
                hits += counted * ask(&mut store, number, len(number));
            }
        }
        let percent = hits * 100 / (20 * KEYS);
        assert!(percent >= least, "{percent} % at {limit_bytes} bytes");
        store.verify().unwrap();
    }
}

#[test]
fn small_items_stay_while_large_ones_that_nobody_reads_go_by() {
    // A thousand small ones are a tenth of what is asked for between two rounds, and a fiftieth of the memory.
    const SMALL: u32 = 1_000;
    let mut store = Store::open(&Config::new(LIMIT_BYTES, 3)).unwrap();
    let mut large = SMALL;
    let mut hits = 0;
    for round in 0..6 {
        for number in 0..SMALL {
            hits += ask(&mut store, number, 50) * u32::from(round != 0);
            for _ in 0..4 {
                ask(&mut store, large, 1_000);
                large += 1;
            }
        }
    }
    assert!(hits > 5 * SMALL * 9 / 10, "{hits} hits of {}", 5 * SMALL);
    store.verify().unwrap();
}
