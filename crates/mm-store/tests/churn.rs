//! What a store that has been overwritten for a while still holds.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_base::choice::Choices;
use mm_store::{Config, Put, Store};

const KEYS: u64 = 100_000;

fn key_of(number: u64) -> String {
    format!("key of 20 bytes{number:05x}")
}

fn put(store: &mut Store, number: u64) {
    let key = key_of(number);
    store.put(store.key(key.as_bytes()).unwrap(), &Put::default(), b"12345678", 1).unwrap();
}

#[test]
fn overwrites_and_deletions_leave_nearly_as_many_items_as_a_fresh_store_has() {
    let mut store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    for number in 0..KEYS {
        put(&mut store, number);
    }
    let fresh = store.stats().items;
    for number in 0..KEYS {
        let key = key_of(number);
        let _ = store.get(store.key(key.as_bytes()).unwrap(), 1);
    }
    let mut choices = Choices::new(1);
    for _ in 0..5 * fresh {
        // Each power of two of popularity has as many requests as the next; popular keys lie anywhere.
        let popularity = choices.below(1 << 20) as f64 / f64::from(1 << 20);
        let number = ((KEYS as f64).powf(popularity) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
        if choices.below(10) == 0 {
            let key = key_of(number);
            let _ = store.delete(store.key(key.as_bytes()).unwrap(), None, 1);
        } else {
            put(&mut store, number);
        }
    }
    let kept = store.stats().items;
    assert!(kept * 100 >= fresh * 92, "{kept} items of {fresh}");
    store.verify().unwrap();
}
