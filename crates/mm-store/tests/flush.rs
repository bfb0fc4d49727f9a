//! A flush removes what was stored before it, and nothing that is stored after it.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Put, Store};

/// Whether the key is there.
fn has(store: &mut Store, key: &[u8], now_s: u32) -> bool {
    let key = store.key(key).unwrap();
    store.get(key, now_s).is_ok()
}

fn put(store: &mut Store, key: &[u8], value: &[u8], now_s: u32) {
    let key = store.key(key).unwrap();
    store.put(key, &Put::default(), value, now_s).unwrap();
}

/// Background work until there is none.
fn maintain(store: &mut Store, now_s: u32) {
    let steps = (0..100_000).take_while(|_| store.maintain(100, now_s)).count();
    assert!(steps < 100_000, "there is no end to the background work");
}

#[test]
fn a_flush_of_an_empty_store_takes_nothing_that_comes_later() {
    let value = vec![b'v'; 1 << 20];
    let mut store = Store::open(&Config::new(64 << 20, 1)).unwrap();
    store.flush_all();
    for key in [&b"a"[..], b"b", b"c"] {
        put(&mut store, key, &value, 1);
        maintain(&mut store, 1);
        assert!(has(&mut store, key, 1));
    }
    assert_eq!(store.stats().evicted, 0);
    store.verify().unwrap();
}

#[test]
fn a_flush_takes_all_that_was_there_and_frees_it() {
    let value = vec![b'v'; 1 << 20];
    let mut store = Store::open(&Config::new(64 << 20, 1)).unwrap();
    for number in 0..20_u32 {
        put(&mut store, &number.to_le_bytes(), &value, 1);
    }
    store.flush_all();
    assert!(!has(&mut store, &7_u32.to_le_bytes(), 1));
    for number in 20..40_u32 {
        put(&mut store, &number.to_le_bytes(), &value, 1);
    }
    maintain(&mut store, 1);
    for number in 0..40_u32 {
        assert_eq!(has(&mut store, &number.to_le_bytes(), 1), number >= 20, "{number}");
    }
    assert_eq!((store.stats().items, store.stats().evicted), (20, 0));
    store.verify().unwrap();
}

#[test]
fn what_a_flush_left_free_goes_back_when_the_limit_is_lowered() {
    let value = vec![b'v'; 100 << 10];
    let mut store = Store::open(&Config::new(64 << 20, 1)).unwrap();
    let fill = |store: &mut Store, count: u32| {
        (0..count).for_each(|number| put(store, &number.to_le_bytes(), &value, 1));
    };
    fill(&mut store, 600);
    store.flush_all();
    maintain(&mut store, 1);
    fill(&mut store, 40);
    maintain(&mut store, 1);
    assert!(store.set_limit(16 << 20));
    maintain(&mut store, 1);
    let stats = store.stats();
    assert!(stats.segments * stats.segment_bytes <= 16 << 20, "{stats:?}");
    assert_eq!((stats.items, stats.evicted), (40, 0));
    store.verify().unwrap();
}

#[cfg(feature = "smp")]
#[test]
fn a_flush_takes_what_other_shards_had_begun_to_write() {
    let handles = mm_store::StoreHandles::open(&Config::new(64 << 20, 1), 2).unwrap();
    let [mut quiet, mut flusher] = [handles.take().unwrap(), handles.take().unwrap()];
    let key = quiet.key(b"key").unwrap();
    quiet.set(key, b"value", 1).unwrap();
    quiet.rest();
    flusher.flush_all();
    flusher.rest();
    let steps = (0..10_000).take_while(|_| quiet.maintain(100, 2) | flusher.maintain(100, 2));
    assert!(steps.count() < 10_000, "there is no end to the background work");
    assert_eq!(quiet.stats().items, 0);
    quiet.verify().unwrap();
}
