//! Extents that are longer than a write copies at once are on their way for several writes: what is read meanwhile and
//! afterwards is what was stored, and one whose item goes meanwhile leaves nothing.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Put, Store};

/// Segments of 256 KiB, so that an extent takes up to four steps.
const LIMIT_BYTES: usize = 128 << 20;

const KEYS: u64 = 300;

fn value(key: u64, version: u64) -> Vec<u8> {
    let len = 200_000 + usize::try_from(key * 3_001).unwrap();
    let first = key * 1_000_003 + version * 7_919;
    (0..len as u64 / 8 + 1).flat_map(|number| (first + number).to_le_bytes()).take(len).collect()
}

fn put(store: &mut Store, name: &str, value: &[u8]) {
    let key = store.key(name.as_bytes()).unwrap();
    store.put(key, &Put::default(), value, 1).unwrap();
}

/// Whether a key has an item, whose value is the one that was stored last.
fn check(store: &mut Store, number: u64, version: u64) -> bool {
    let name = format!("large:{number}");
    let key = store.key(name.as_bytes()).unwrap();
    let Ok(item) = store.get(key, 1) else { return false };
    let expected = value(number, version);
    let mut rest = &expected[..];
    for piece in item.pieces() {
        let (same, behind) = rest.split_at_checked(piece.len()).expect("more bytes than were stored");
        assert!(piece == same, "other bytes than were stored");
        rest = behind;
    }
    assert!(rest.is_empty(), "fewer bytes than were stored");
    true
}

#[test]
fn values_stay_as_they_are_while_their_extents_move() {
    let mut store = Store::open(&Config::new(LIMIT_BYTES, 1)).unwrap();
    let mut versions = vec![0; usize::try_from(KEYS).unwrap()];
    let mut state = 5_u64;
    let mut choose = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut found, mut deleted, mut moved_in_small_writes) = (0, 0, 0);
    for round in 0..2_000_u64 {
        let number = choose(KEYS);
        let at = usize::try_from(number).unwrap();
        if choose(8) == 0 {
            let name = format!("large:{number}");
            let key = store.key(name.as_bytes()).unwrap();
            deleted += u32::from(store.delete(key, None, 1).is_ok());
        } else if choose(3) == 0 {
            versions[at] = round;
            put(&mut store, &format!("large:{number}"), &value(number, round));
        }
        let before = store.stats().moved_bytes;
        for _ in 0..choose(40) {
            let small = choose(20_000);
            put(&mut store, &format!("small:{small}"), &[b'v'; 100]);
        }
        moved_in_small_writes += store.stats().moved_bytes - before;
        let number = choose(KEYS);
        found += u32::from(check(&mut store, number, versions[usize::try_from(number).unwrap()]));
        if round % 50 == 0 {
            store.verify().unwrap();
        }
    }
    let stats = store.stats();
    assert!(found > 300 && deleted > 50 && stats.moved > 500, "{found}, {deleted}, {stats:?}");
    assert!(moved_in_small_writes > 10 << 20, "{moved_in_small_writes} bytes moved by small writes");
    for number in 0..KEYS {
        check(&mut store, number, versions[usize::try_from(number).unwrap()]);
    }
    for number in 0..KEYS {
        let name = format!("large:{number}");
        let key = store.key(name.as_bytes()).unwrap();
        let _gone = store.delete(key, None, 1).is_ok();
    }
    while store.maintain(64, 1) {}
    store.verify().unwrap();
}
