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
