//! A shard that does not rest keeps what it may be reading from being used again. Who writes meanwhile is told to wait
//! before anything is refused.

#![cfg(feature = "smp")]
#![expect(clippy::unwrap_used, reason = "a test")]

use mm_store::{Config, Outcome, Put, Shared, Store, StoreHandles};

const VALUE: [u8; 500] = [b'v'; 500];

/// Writes until it would have to wait, or so often.
fn write(store: &mut Store<Shared>, most: u32) -> u32 {
    for number in 0..most {
        if store.must_wait() {
            return number;
        }
        let name = format!("key-{number}");
        let key = store.key(name.as_bytes()).unwrap();
        assert_eq!(store.put(key, &Put::default(), &VALUE, 1), Ok(Outcome::Stored), "number {number}");
        store.rest();
    }
    most
}

#[test]
fn a_write_waits_for_a_reader_instead_of_being_refused() {
    let handles = StoreHandles::open(&Config::new(2 << 20, 5), 2).unwrap();
    let (mut writer, mut reader) = (handles.take().unwrap(), handles.take().unwrap());
    assert_eq!(write(&mut writer, 20_000), 20_000, "while nobody reads, nobody waits");
    assert_eq!(writer.stats().waited, 0);

    let name = writer.key(b"key-19999").unwrap();
    let kept = reader.get(name, 1).unwrap();
    let written = write(&mut writer, 20_000);
    assert!(written < 20_000, "all memory may be read by now");
    assert!(written > 50, "the reserve is used first");
    assert_eq!(kept.value(), Some(&VALUE[..]), "what is read stays as it is");
    let before = writer.stats();
    assert!(writer.must_wait() && before.waited > 0 && before.refused == 0, "{before:?}");

    reader.rest();
    assert!(!writer.must_wait(), "it has rested");
    assert_eq!(write(&mut writer, 20_000), 20_000);
    let after = writer.stats();
    assert_eq!((after.refused, after.waited), (0, before.waited + 1), "once more was asked above");
    writer.rest();
    writer.verify().unwrap();
}

#[test]
fn a_write_that_does_not_ask_is_refused_in_the_end_and_changes_nothing() {
    let handles = StoreHandles::open(&Config::new(2 << 20, 5), 2).unwrap();
    let (mut writer, mut reader) = (handles.take().unwrap(), handles.take().unwrap());
    write(&mut writer, 20_000);
    let name = writer.key(b"key-19999").unwrap();
    let _kept = reader.get(name, 1).unwrap();
    let written = write(&mut writer, 20_000);
    let items = writer.stats().items;
    let mut refused = 0;
    for number in 0..200 {
        let name = format!("another-{number}");
        let key = writer.key(name.as_bytes()).unwrap();
        refused += u32::from(writer.put(key, &Put::default(), &VALUE, 1).is_err());
        if refused == 3 {
            break;
        }
    }
    assert!(refused == 3 && written < 20_000);
    assert!(writer.stats().items + 200 > items, "the cache is not emptied for it");
    reader.rest();
    writer.rest();
    writer.verify().unwrap();
}

/// Of a store that is filled, a limit is lowered while another shard is within a turn most of the time.
#[test]
fn a_lower_limit_takes_no_more_than_it_has_to_from_under_readers() {
    const LIMIT: usize = 16 << 20;
    let handles = StoreHandles::open(&Config::new(4 * LIMIT, 5), 2).unwrap();
    let (mut one, mut other) = (handles.take().unwrap(), handles.take().unwrap());
    assert_eq!(write(&mut one, 200_000), 200_000);
    assert!(one.set_limit(LIMIT));
    let in_use = |store: &Store<Shared>| {
        let stats = store.stats();
        stats.segments * stats.segment_bytes + stats.index_bytes + stats.ghost_bytes
    };
    let mut turns = 0;
    while in_use(&one) > LIMIT as u64 {
        let name = other.key(b"key-199999").unwrap();
        other.get(name, 1).ok();
        for _ in 0..1_000 {
            one.maintain(64, 1);
            one.rest();
        }
        other.rest();
        turns += 1;
        assert!(turns < 20_000, "{:?}", one.stats());
    }
    let left = one.stats().item_bytes;
    assert!(left > LIMIT as u64 / 10 * 8, "{left} bytes of items are left within {LIMIT}");
    while one.maintain(64, 1) {
        one.rest();
    }
    one.rest();
    one.verify().unwrap();
}
