//! CAS values: another one for each value stored, never going back while the key is there.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;

use mm_store::{CasRule, Config, Cursor, Item, Mode, Operation, Outcome, Put, Store};

const HUGE: u64 = 1 << 60;
const NOW_S: u32 = 1;

fn open(limit_mib: usize) -> Store {
    Store::open(&Config::new(limit_mib << 20, 5)).unwrap()
}

fn put(store: &mut Store, bytes: &[u8], put: &Put, value: &[u8]) -> Outcome {
    let key = store.key(bytes).unwrap();
    store.put(key, put, value, NOW_S).unwrap()
}

fn cas(store: &mut Store, bytes: &[u8]) -> u64 {
    let key = store.key(bytes).unwrap();
    store.peek(key, NOW_S).unwrap().cas()
}

/// A store with the item "k" of the value "1", under the CAS value [`HUGE`].
fn with_huge() -> Store {
    let mut store = open(1);
    put(&mut store, b"k", &Put { cas: Some(HUGE), ..Put::default() }, b"1");
    assert_eq!(cas(&mut store, b"k"), HUGE);
    store
}

#[test]
fn what_is_stored_over_a_large_explicit_value_exceeds_it() {
    let mut store = with_huge();
    put(&mut store, b"k", &Put::default(), b"2");
    assert!(cas(&mut store, b"k") > HUGE, "put");

    let mut store = with_huge();
    let key = store.key(b"k").unwrap();
    store.arithmetic(key, Operation::Increment(1), CasRule::default(), NOW_S).unwrap();
    assert!(cas(&mut store, b"k") > HUGE, "arithmetic");

    let mut store = with_huge();
    put(&mut store, b"k", &Put { mode: Mode::Append, ..Put::default() }, b"2");
    assert!(cas(&mut store, b"k") > HUGE, "append");

    let mut store = with_huge();
    let key = store.key(b"k").unwrap();
    store.mark_stale(key, None, CasRule::default(), NOW_S).unwrap().unwrap();
    assert!(cas(&mut store, b"k") > HUGE, "marking as stale");

    let mut store = with_huge();
    put(&mut store, b"k", &Put::default(), &vec![b'v'; 100_000]);
    assert!(cas(&mut store, b"k") > HUGE, "a chained value");
    put(&mut store, b"k", &Put { mode: Mode::Prepend, ..Put::default() }, &vec![b'v'; 100_000]);
    assert!(cas(&mut store, b"k") > HUGE + 1, "a chained value joined");
}

/// What an item is stored or changed by.
const CHANGES: [fn(&mut Store); 5] = [
    |store| {
        put(store, b"k", &Put::default(), b"2");
    },
    |store| {
        put(store, b"k", &Put { mode: Mode::Append, ..Put::default() }, b"2");
    },
    |store| {
        put(store, b"k", &Put::default(), &vec![b'2'; 100_000]);
    },
    |store| {
        let key = store.key(b"k").unwrap();
        store.mark_stale(key, None, CasRule::default(), NOW_S).unwrap().unwrap();
    },
    |store| {
        put(store, b"k", &Put::default(), b"2");
        let key = store.key(b"k").unwrap();
        store.arithmetic(key, Operation::Increment(1), CasRule::default(), NOW_S).unwrap();
    },
];

/// Nothing exceeds the greatest value that a client can give: what comes after it is fresh.
#[test]
fn after_the_greatest_value_comes_another_that_was_never_there() {
    for given in [0, 1, 15, 16, 17].map(|less| u64::MAX - less) {
        for change in CHANGES {
            let mut store = open(1);
            let mut seen = vec![0];
            for _ in 0..3 {
                put(&mut store, b"k", &Put { cas: Some(given), ..Put::default() }, b"1");
                let mut last = given;
                for round in 0..20 {
                    change(&mut store);
                    let now = cas(&mut store, b"k");
                    assert!(
                        now > last || last >= u64::MAX - 16,
                        "{now} after {last}, round {round} after {given}"
                    );
                    let is_old = if now < u64::MAX - 16 { seen.contains(&now) } else { now == last };
                    assert!(now != 0 && !is_old, "{now} again in round {round} after {given}");
                    seen.push(now);
                    last = now;
                }
            }
            store.verify().unwrap();
        }
    }
}

#[test]
fn a_joined_item_gets_the_value_it_was_given() {
    for len in [1, 5_000] {
        let mut store = open(1);
        put(&mut store, b"k", &Put::default(), &vec![b'v'; len]);
        for (mode, given) in [(Mode::Append, 77), (Mode::Prepend, 7)] {
            put(&mut store, b"k", &Put { mode, cas: Some(given), ..Put::default() }, b"2");
            assert_eq!(cas(&mut store, b"k"), given, "{mode:?} to {len} bytes");
        }
    }
}

#[test]
fn what_is_stored_tells_its_value_to_whoever_asked() {
    let mut store = open(1);
    let told = |store: &mut Store, options: Put, value: &[u8]| {
        store.ask_for_cas();
        put(store, b"k", &options, value);
        store.told_cas()
    };
    for len in [1, 5_000, 100_000] {
        let value = vec![b'7'; len];
        for options in [
            Put::default(),
            Put { cas: Some(77), ..Put::default() },
            Put { mode: Mode::Append, ..Put::default() },
            Put { mode: Mode::AppendTo(HUGE), ..Put::default() },
        ] {
            let options = match options.mode {
                Mode::AppendTo(_) => Put { mode: Mode::AppendTo(cas(&mut store, b"k")), ..options },
                _ => options,
            };
            let told = told(&mut store, options, &value);
            assert!(told.is_some());
            assert_eq!(told, Some(cas(&mut store, b"k")), "{options:?} of {len} bytes");
        }
        assert_eq!(told(&mut store, Put { mode: Mode::Add, ..Put::default() }, &value), None);
        assert_eq!(told(&mut store, Put { mode: Mode::PrependTo(5), ..Put::default() }, &value), None);
    }
    put(&mut store, b"k", &Put::default(), b"7");
    let key = store.key(b"k").unwrap();
    store.ask_for_cas();
    store.arithmetic(key, Operation::Increment(1), CasRule::default(), NOW_S).unwrap();
    let told = store.told_cas();
    assert_eq!(told, Some(cas(&mut store, b"k")));
}

#[test]
fn a_touched_item_keeps_its_value() {
    let mut store = open(1);
    put(&mut store, b"k", &Put::default(), b"1");
    let before = cas(&mut store, b"k");
    for expiry_s in [100, 200, 0, 0, 300] {
        let key = store.key(b"k").unwrap();
        store.touch(key, expiry_s, NOW_S).unwrap().unwrap();
        assert_eq!(cas(&mut store, b"k"), before);
    }
    assert_eq!(store.stats().moved, 0, "nothing was moved to make room");
    store.verify().unwrap();
}

#[test]
fn values_go_up_and_never_repeat_whatever_moves() {
    let mut store = open(1);
    let mut seen: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut state = 9_u64;
    for round in 0..400_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (state >> 33) % 9_000;
        let bytes = format!("key:{number}").into_bytes();
        let key = store.key(&bytes).unwrap();
        let values = seen.entry(number).or_default();
        if (state >> 20) & 3 == 0 {
            if store.peek(key, NOW_S).is_err() {
                // Forgotten: what follows need not be greater, only different.
                values.sort_unstable();
                values.push(0);
            }
            put(&mut store, &bytes, &Put::default(), &vec![b'v'; (state >> 40) as usize % 90]);
        } else if let Ok(item) = store.get(key, NOW_S) {
            let (cas, last) = (item.cas(), values.last().copied().unwrap_or(0));
            assert!(cas >= last, "round {round}: {cas} after {last}");
            if cas != last {
                assert!(!values.contains(&cas), "round {round}: {cas} again");
                values.push(cas);
            }
        }
    }
    assert!(store.stats().moved > 1_000, "{:?}", store.stats());
}

/// The bytes of items that were looked at by `see` and then moved, beyond those that they took before.
fn bytes_grown(see: impl Fn(&Item<'_>) -> u64) -> usize {
    let mut store = open(1);
    let bytes_of = |number: u32| format!("key:{number:05}").into_bytes();
    for number in 0..10_000 {
        put(&mut store, &bytes_of(number), &Put::default(), &[b'v'; 60]);
    }
    let key = bytes_of(0);
    let before = store.peek(store.key(&key).unwrap(), NOW_S).unwrap().stored_bytes();
    let mut cursor = Cursor::default();
    while store.scan(&mut cursor, 64, NOW_S, |item| assert_ne!(see(item), 0)) {}
    let mut state = 9_u32;
    for _ in 0..60_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        put(&mut store, &bytes_of((state >> 8) % 5_000 * 2), &Put::default(), &[b'w'; 60]);
    }
    assert!(store.stats().moved > 500, "{:?}", store.stats());
    let odd = (1..10_000).step_by(2).map(bytes_of);
    odd.filter_map(|bytes| {
        let key = store.key(&bytes).unwrap();
        store.peek(key, NOW_S).ok().map(|item| item.stored_bytes() - before)
    })
    .sum()
}

#[test]
fn a_value_that_is_only_shown_is_not_kept() {
    assert_eq!(bytes_grown(|item| item.current_cas()), 0);
    let grown = bytes_grown(|item| item.cas());
    assert!(grown >= 8 * 50, "{grown} bytes");
}
