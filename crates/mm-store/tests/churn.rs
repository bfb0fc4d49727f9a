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

/// Whether it was there.
fn delete(store: &mut Store, number: u64) -> bool {
    let key = key_of(number);
    store.delete(store.key(key.as_bytes()).unwrap(), None, 1).is_ok()
}

/// How many of the keys are there.
fn read_all(store: &mut Store) -> u64 {
    let mut has = |key: &str| store.get(store.key(key.as_bytes()).unwrap(), 1).is_ok();
    (0..KEYS).map(|number| u64::from(has(&key_of(number)))).sum()
}

#[test]
fn overwrites_and_deletions_leave_nearly_as_many_items_as_a_fresh_store_has() {
    let mut store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    (0..KEYS).for_each(|number| put(&mut store, number));
    let fresh = read_all(&mut store);
    let (mut choices, mut deleted) = (Choices::new(1), 0);
    for _ in 0..5 * fresh {
        // Each power of two of popularity has as many requests as the next; popular keys lie anywhere.
        let ranks = 2 << choices.below(17);
        let number = choices.below(ranks).wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
        if choices.below(10) == 0 {
            deleted += u64::from(delete(&mut store, number));
        } else {
            put(&mut store, number);
        }
    }
    let kept = read_all(&mut store);
    assert!(kept * 100 >= fresh * 91, "{kept} items of {fresh}, {deleted} deleted");
    store.verify().unwrap();
}

/// How many of some items are left that are used after each of a few fillers, of which come more than fit.
fn left_when_used(mut use_it: impl FnMut(&mut Store, &[u8], u64)) -> u64 {
    const USED: u64 = 100;
    let mut store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    (0..USED).for_each(|number| put(&mut store, number));
    for round in 0..5 * KEYS {
        put(&mut store, USED + round);
        if round % 10 == 0 {
            use_it(&mut store, key_of(round / 10 % USED).as_bytes(), round);
        }
    }
    let mut has = |key: &str| store.get(store.key(key.as_bytes()).unwrap(), 1).is_ok();
    (0..USED).map(|number| u64::from(has(&key_of(number)))).sum()
}

#[test]
fn items_that_are_touched_stay_as_those_that_are_read() {
    let read = left_when_used(|store, key, _| {
        let _read = store.get(store.key(key).unwrap(), 1);
    });
    assert_eq!(read, 100);
    let touch = |expiry_s: fn(u64) -> u32| {
        left_when_used(move |store, key, round| {
            let _touched = store.touch(store.key(key).unwrap(), expiry_s(round), 1);
        })
    };
    // In place without an expiry and with one; written anew each second time.
    assert_eq!(touch(|_| 0), 100);
    assert_eq!(touch(|round| 100 + u32::from(round % 20 == 0)), 100);
    assert_eq!(touch(|round| 1000 * u32::from(round / 1000 % 2 == 0)), 100);
}
