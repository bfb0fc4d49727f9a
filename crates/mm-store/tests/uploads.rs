//! Uploads and pins against everything that may happen meanwhile.

#![expect(clippy::unwrap_used, reason = "a test")]

use mm_base::buffer::Pinned;
use mm_store::{Config, Mode, Outcome, Put, Store, Upload};

fn open(limit_mib: usize) -> Store {
    Store::open(&Config::new(limit_mib << 20, 5)).unwrap()
}

fn reserve(store: &mut Store, bytes: &[u8], put: &Put, len: usize) -> Upload {
    let key = store.key(bytes).unwrap();
    store.reserve(key, put, len, 1).unwrap()
}

/// Fills up to `len` bytes of what is missing.
fn fill(store: &mut Store, upload: &mut Upload, mut len: usize) {
    while len != 0 && upload.missing() != 0 {
        let space = store.space(upload, 1).unwrap();
        let piece = space.len().min(len);
        space[..piece].fill(b'u');
        store.filled(upload, piece);
        len -= piece;
    }
}

fn value(store: &mut Store, bytes: &[u8], now_s: u32) -> Option<Vec<u8>> {
    let key = store.key(bytes).unwrap();
    let item = store.get(key, now_s).ok()?;
    Some(item.pieces().flatten().copied().collect())
}

fn put(store: &mut Store, bytes: &[u8], mode: Mode, value: &[u8]) -> Outcome {
    let key = store.key(bytes).unwrap();
    store.put(key, &Put { mode, ..Put::default() }, value, 1).unwrap()
}

#[test]
fn an_upload_that_ends_after_a_flush_is_stored() {
    for len in [10, 1_000, 50_000] {
        let mut store = open(1);
        let mut upload = reserve(&mut store, b"k", &Put::default(), len);
        fill(&mut store, &mut upload, len / 2);
        store.flush_all();
        fill(&mut store, &mut upload, len);
        assert_eq!(store.commit(upload, 1).unwrap(), Outcome::Stored);
        assert_eq!(value(&mut store, b"k", 1).map(|value| value.len()), Some(len));
        while store.maintain(64, 1) {}
        store.verify().unwrap();
        assert_eq!(value(&mut store, b"k", 1), Some(vec![b'u'; len]));
    }
}

#[test]
fn maintenance_rests_while_an_upload_keeps_a_flush_from_ending() {
    let mut store = open(1);
    put(&mut store, b"old", Mode::Set, b"v");
    let upload = reserve(&mut store, b"k", &Put::default(), 1_000);
    store.flush_all();
    let rounds = (0..10_000).take_while(|_| store.maintain(64, 1)).count();
    assert!(rounds < 10_000, "it never has nothing to do");
    store.abort(upload);
    while store.maintain(64, 1) {}
    assert_eq!(store.stats().items, 0);
    store.verify().unwrap();
}

#[test]
fn an_upload_that_ends_after_its_expiry_is_reclaimed() {
    let mut store = open(1);
    let options = Put { expiry_s: 5, ..Put::default() };
    let mut upload = reserve(&mut store, b"k", &options, 100);
    fill(&mut store, &mut upload, 100);
    while store.maintain(64, 6) {}
    store.commit(upload, 6).unwrap();
    store.verify().unwrap();
    for now_s in 7..40 {
        while store.maintain(64, now_s) {}
    }
    assert_eq!((store.stats().items, store.stats().reclaimed), (0, 1));
}

#[test]
#[should_panic(expected = "another store")]
fn an_upload_cannot_be_filled_in_another_store() {
    let (mut store, mut other) = (open(1), open(1));
    let mut upload = reserve(&mut store, b"k", &Put::default(), 100);
    put(&mut other, b"k", Mode::Set, b"somebody may have pinned these bytes");
    let _space = other.space(&mut upload, 1);
}

#[test]
fn aborts_leave_nothing_whatever_was_filled() {
    for len in [0, 1, 1_999, 2_100, 40_000, 500_000] {
        for filled in [0, 1, len / 2, len] {
            let mut store = open(1);
            put(&mut store, b"k", Mode::Set, b"old");
            let mut upload = reserve(&mut store, b"k", &Put::default(), len);
            fill(&mut store, &mut upload, filled);
            store.abort(upload);
            store.verify().unwrap();
            assert_eq!(value(&mut store, b"k", 1), Some(b"old".to_vec()), "{filled} of {len}");
            assert_eq!(store.stats().item_bytes, 4);
        }
    }
}

#[test]
fn every_mode_is_decided_at_the_end() {
    for len in [10, 5_000] {
        for (mode, with_old, without_old) in [
            (Mode::Set, Outcome::Stored, Outcome::Stored),
            (Mode::Add, Outcome::NotStored, Outcome::Stored),
            (Mode::Replace, Outcome::Stored, Outcome::NotStored),
            (Mode::Append, Outcome::Stored, Outcome::NotStored),
            (Mode::Prepend, Outcome::Stored, Outcome::NotStored),
            (Mode::Cas(1), Outcome::Exists, Outcome::NotFound),
        ] {
            for is_there in [true, false] {
                let mut store = open(1);
                // The opposite of what it will be in the end.
                if !is_there {
                    put(&mut store, b"k", Mode::Set, b"old");
                }
                let options = Put { mode, ..Put::default() };
                let mut upload = reserve(&mut store, b"k", &options, len);
                fill(&mut store, &mut upload, len);
                if is_there {
                    put(&mut store, b"k", Mode::Set, b"new");
                } else {
                    let key = store.key(b"k").unwrap();
                    store.delete(key, None, 1).unwrap();
                }
                let expected = if is_there { with_old } else { without_old };
                assert_eq!(store.commit(upload, 1).unwrap(), expected, "{mode:?}, there: {is_there}");
                let len_now = value(&mut store, b"k", 1).map(|value| value.len());
                let kept = is_there.then_some(3);
                let joined = matches!(mode, Mode::Append | Mode::Prepend).then_some(len + 3);
                let stored = joined.or(Some(len));
                assert_eq!(len_now, if expected == Outcome::Stored { stored } else { kept }, "{mode:?}");
                store.verify().unwrap();
            }
        }
    }
}

#[test]
fn pins_outlive_item_eviction_flush_and_store() {
    let mut store = open(1);
    let mut pins: Vec<Pinned> = Vec::new();
    for number in 0_u8..10 {
        put(&mut store, &[number + 1], Mode::Set, &[number; 9_000]);
        let key_bytes = [number + 1];
        let key = store.key(&key_bytes).unwrap();
        store.get(key, 1).unwrap().pin(|pinned| pins.push(pinned));
    }
    for round in 0..20_000_u32 {
        put(&mut store, &round.to_le_bytes(), Mode::Set, &[b'x'; 200]);
    }
    store.flush_all();
    while store.maintain(64, 1) {}
    store.verify().unwrap();
    drop(store);
    let mut bytes: Vec<u8> = pins.iter().flat_map(|pinned| pinned.bytes().to_vec()).collect();
    assert_eq!(bytes.len(), 90_000);
    bytes.dedup();
    assert_eq!(bytes, (0..10).collect::<Vec<u8>>());
}

/// What a client sees of an item.
fn state(store: &mut Store, bytes: &[u8]) -> (usize, u32, bool, bool) {
    let key = store.key(bytes).unwrap();
    let item = store.peek(key, 1).unwrap();
    (item.len(), item.expiry_s(), item.is_stale(), item.is_win_sent())
}

#[test]
fn an_upload_that_is_out_of_date_is_so_from_the_start() {
    for (len, before_s, own_s) in [(1_000, 0, 0), (1_000, 9, 0), (50_000, 0, 7), (50_000, 9, 7)] {
        for win_sent in [false, true] {
            let mut store = open(1);
            let key = store.key(b"k").unwrap();
            let old = Put { expiry_s: before_s, win_sent, ..Put::default() };
            store.put(key, &old, b"v", 1).unwrap();
            let cas = store.peek(key, 1).unwrap().cas();
            let mut upload = reserve(&mut store, b"k", &Put { expiry_s: own_s, ..Put::default() }, len);
            fill(&mut store, &mut upload, len);
            upload.set_stale(cas, before_s + 1, win_sent);
            let (outcome, mut upload) = store.try_commit(upload, 1).expect_err("the item has another time");
            assert_eq!(outcome, Outcome::Exists);
            upload.set_stale(cas, before_s, !win_sent);
            let (_, mut upload) =
                store.try_commit(upload, 1).expect_err("somebody was told to fetch, or not");
            upload.set_stale(cas, before_s, win_sent);
            assert_eq!(store.try_commit(upload, 1).unwrap().unwrap(), Outcome::Stored);
            assert_eq!(state(&mut store, b"k"), (len, before_s, true, win_sent));
            assert_eq!(value(&mut store, b"k", 1), Some(vec![b'u'; len]));
            store.verify().unwrap();
        }
    }
}

#[test]
fn an_upload_that_is_not_stored_on_one_condition_may_be_on_another() {
    for len in [1_000, 50_000] {
        let mut store = open(1);
        let mut upload = reserve(&mut store, b"k", &Put { mode: Mode::Append, ..Put::default() }, len);
        fill(&mut store, &mut upload, len);
        let (outcome, mut upload) = store.try_commit(upload, 1).expect_err("there is nothing to append to");
        assert_eq!(outcome, Outcome::NotStored);
        let key = store.key(b"k").unwrap();
        store.put(key, &Put::default(), b"v", 1).unwrap();
        upload.set_mode(Mode::Add);
        let (outcome, mut upload) = store.try_commit(upload, 1).expect_err("there is something");
        assert_eq!(outcome, Outcome::NotStored);
        upload.set_mode(Mode::Append);
        assert_eq!(store.try_commit(upload, 1).unwrap(), Ok(Outcome::Stored));
        assert_eq!(value(&mut store, b"k", 1).unwrap().len(), len + 1);
        store.verify().unwrap();
    }
}
