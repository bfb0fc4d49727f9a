//! One store, several threads: no value is mixed up or out of date, nothing is lost that nobody removed, and every
//! invariant holds in the end.

#![cfg(feature = "smp")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use mm_store::{
    ArithmeticError, CasRule, Config, Mode, Operation, Outcome, Put, Shared, Store, StoreHandles,
};

const THREADS: u64 = 4;

/// Numbers that look random, the same for the same seed.
struct Choice(u64);

impl Choice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    }
}

fn on_threads(handles: &StoreHandles, work: impl Fn(u64, &mut Store<Shared>) + Sync) {
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                let mut store = handles.take().unwrap();
                start.wait();
                work(thread, &mut store);
            });
        }
    });
}

/// Lets others rest who may be reading all memory.
fn wait(store: &mut Store<Shared>) {
    while store.must_wait() {
        store.rest();
        std::thread::yield_now();
    }
}

fn open(limit_bytes: usize, evict: bool) -> StoreHandles {
    let config = Config { evict, ..Config::new(limit_bytes, 11) };
    StoreHandles::open(&config, usize::try_from(THREADS).unwrap() + 1).unwrap()
}

fn verify(handles: &StoreHandles) {
    let mut store = handles.take().unwrap();
    while store.maintain(1 << 16, 1) {}
    store.verify().unwrap();
}

/// A value that names its key and its version.
fn write_value(value: &mut Vec<u8>, (number, version): (u64, u64), len: u64) {
    value.clear();
    value.extend_from_slice(format!("{number}:{version}:").as_bytes());
    value.resize(value.len() + usize::try_from(len).unwrap(), b'a' + (version % 26) as u8);
}

/// The version of a whole value of the key.
fn version_of(value: &[u8], number: u64) -> u64 {
    let mut parts = value.splitn(3, |&byte| byte == b':');
    assert_eq!(parts.next().unwrap(), number.to_string().as_bytes(), "another key's value");
    let version: u64 = std::str::from_utf8(parts.next().unwrap()).unwrap().parse().unwrap();
    let filler = b'a' + (version % 26) as u8;
    assert!(parts.next().unwrap().iter().all(|&byte| byte == filler), "a mixed value");
    version
}

#[test]
fn values_written_by_all_are_read_whole_while_the_store_evicts_and_grows() {
    let handles = open(8 << 20, true);
    // Each key has a version that only grows.
    let versions: Vec<AtomicU64> = (0..20_000).map(|_| AtomicU64::new(0)).collect();
    on_threads(&handles, |thread, store| {
        let mut choice = Choice(thread + 77);
        let mut value = Vec::new();
        for batch in 0..12_500_u64 {
            let names: Vec<(u64, String)> = (0..16)
                .map(|_| choice.next(versions.len() as u64))
                .map(|number| (number, format!("key-{number}")))
                .collect();
            let mut keys: Vec<_> =
                names.iter().map(|(_, name)| store.key_ahead(name.as_bytes()).unwrap()).collect();
            // Others, and this thread itself, store and move things between the look and the call.
            keys.iter_mut().for_each(|key| store.look_ahead(key));
            for ((number, name), key) in names.iter().zip(keys) {
                let version = &versions[usize::try_from(*number).unwrap()];
                if number % THREADS == thread && choice.next(2) == 0 {
                    let next = version.load(Ordering::Relaxed) + 1;
                    write_value(&mut value, (*number, next), choice.next(900));
                    wait(store);
                    assert_eq!(store.put(key, &Put::default(), &value, 1).unwrap(), Outcome::Stored);
                    version.store(next, Ordering::Release);
                } else {
                    let least = version.load(Ordering::Acquire);
                    if let Ok(item) = store.get(key, 1) {
                        let read = version_of(item.value().unwrap(), *number);
                        assert!(read >= least, "{name}: version {read} was read after {least} was stored");
                    }
                }
            }
            if batch % 4 == 0 {
                store.rest();
            }
        }
    });
    verify(&handles);
}

#[test]
fn nothing_gets_lost_while_items_move_about_in_a_growing_and_shrinking_index() {
    let handles = open(64 << 20, false);
    on_threads(&handles, |thread, store| {
        let key_of = |number: u64| format!("thread-{thread}-key-{number}");
        for round in 0..3 {
            for number in 0..60_000 {
                let name = key_of(number);
                let key = store.key(name.as_bytes()).unwrap();
                assert_eq!(store.put(key, &Put::default(), name.as_bytes(), 1).unwrap(), Outcome::Stored);
                let earlier = key_of(number / 2);
                let key = store.key(earlier.as_bytes()).unwrap();
                let found = store.get(key, 1).map(|item| item.value().unwrap() == earlier.as_bytes());
                let again = store.get(key, 1).is_ok();
                assert_eq!(found, Ok(true), "{earlier}, then {again}: {:?}", store.stats());
                if number % 64 == 0 {
                    store.rest();
                }
            }
            for number in 0..60_000 {
                let name = key_of(number);
                let key = store.key(name.as_bytes()).unwrap();
                assert!(
                    store.delete(key, None, 1).is_ok(),
                    "{name} was lost in round {round}: {:?}",
                    store.stats()
                );
                if number % 64 == 0 {
                    store.rest();
                    store.maintain(64, 1);
                }
            }
        }
    });
    verify(&handles);
}

#[test]
fn counting_adding_and_comparing_are_atomic() {
    let handles = open(8 << 20, true);
    let wins = AtomicU64::new(0);
    on_threads(&handles, |thread, store| {
        let name = store.key(b"counter").unwrap();
        let _one_of_all = store.put(name, &Put { mode: Mode::Add, ..Put::default() }, b"0", 1).unwrap();
        for step in 0..20_000_u64 {
            wait(store);
            let name = store.key(b"counter").unwrap();
            match store.arithmetic(name, Operation::Increment(1), CasRule::default(), 1) {
                Ok(_) => {}
                Err(error) => panic!("thread {thread}: {error:?}"),
            }
            let race = format!("race-{step}");
            let key = store.key(race.as_bytes()).unwrap();
            let added = store.put(key, &Put { mode: Mode::Add, ..Put::default() }, b"x", 1).unwrap();
            if added == Outcome::Stored {
                wins.fetch_add(1, Ordering::Relaxed);
            }
            let swap = store.key(b"swapped").unwrap();
            loop {
                let seen = store.get(swap, 1).map(|item| {
                    let number: u64 = std::str::from_utf8(item.value().unwrap()).unwrap().parse().unwrap();
                    (number, item.cas())
                });
                let (mode, next) = match seen {
                    Ok((number, cas)) => (Mode::Cas(cas), number + 1),
                    Err(_) => (Mode::Add, 1),
                };
                let put = Put { mode, ..Put::default() };
                store.ask_for_cas();
                let outcome = store.put(swap, &put, next.to_string().as_bytes(), 1).unwrap();
                let told = store.told_cas();
                assert_eq!(told.is_some(), outcome == Outcome::Stored);
                if let Some(cas) = told {
                    let item = store.get(swap, 1).unwrap();
                    let is_ours = item.value().unwrap() == next.to_string().as_bytes();
                    assert_eq!(item.cas() == cas, is_ours, "the CAS value told is that of the value stored");
                    break;
                }
            }
            if step % 16 == 0 {
                store.rest();
            }
        }
    });
    assert_eq!(wins.load(Ordering::Relaxed), 20_000, "one of all who add a key succeeds");
    let mut store = handles.take().unwrap();
    for name in [&b"counter"[..], b"swapped"] {
        let key = store.key(name).unwrap();
        let value = store.get(key, 1).unwrap().value().unwrap().to_vec();
        assert_eq!(value, (THREADS * 20_000).to_string().as_bytes(), "{:?}", String::from_utf8_lossy(name));
    }
    let missing = store.key(b"nothing").unwrap();
    let counted = store.arithmetic(missing, Operation::Increment(1), CasRule::default(), 1);
    assert!(matches!(counted, Err(ArithmeticError::Miss(_))));
    store.verify().unwrap();
}

#[test]
fn values_of_keys_that_shards_write_by_turns_go_up_and_never_repeat() {
    const KEYS: usize = 3;
    let handles = open(1 << 20, true);
    let mut shards: Vec<Store<Shared>> = (0..THREADS).map(|_| handles.take().unwrap()).collect();
    let mut choice = Choice(17);
    let (mut all, mut last) = (HashSet::new(), [None; KEYS]);
    for _ in 0..100_000 {
        let shard = usize::try_from(choice.next(THREADS)).unwrap();
        let number = usize::try_from(choice.next(KEYS as u64)).unwrap();
        let store = &mut shards[shard];
        let bytes = [b'k', b'0' + u8::try_from(number).unwrap()];
        let key = store.key(&bytes).unwrap();
        if choice.next(10) == 0 {
            let was_there = store.delete(key, None, 1).is_ok();
            assert_eq!(was_there, last[number].take().is_some());
        } else {
            assert_eq!(store.set(key, b"value", 1), Ok(Outcome::Stored));
            let cas = store.peek(store.key(&bytes).unwrap(), 1).unwrap().cas();
            assert!(all.insert(cas), "{cas} for the second time");
            assert!(last[number].is_none_or(|last| last < cas), "{cas} after {last:?}");
            last[number] = Some(cas);
        }
        store.rest();
    }
    drop(shards);
    verify(&handles);
}

#[test]
fn what_is_joined_with_an_item_of_a_cas_value_is_joined_with_no_other() {
    let handles = open(8 << 20, true);
    let joined = AtomicU64::new(0);
    on_threads(&handles, |thread, store| {
        let key = store.key(b"joined").unwrap();
        let _one_of_all = store.put(key, &Put { mode: Mode::Add, ..Put::default() }, b"", 1).unwrap();
        for _ in 0..1_000 {
            wait(store);
            let key = store.key(b"joined").unwrap();
            let item = store.get(key, 1).unwrap();
            let (cas, len) = (item.cas(), item.len());
            let mode = if thread % 2 == 0 { Mode::AppendTo(cas) } else { Mode::PrependTo(cas) };
            // Each piece says how long the value was that it was meant for.
            let piece = format!("{len:08}");
            let piece: String = if thread % 2 == 0 { piece } else { piece.chars().rev().collect() };
            if store.put(key, &Put { mode, ..Put::default() }, piece.as_bytes(), 1) == Ok(Outcome::Stored) {
                joined.fetch_add(1, Ordering::Relaxed);
            }
            store.rest();
        }
    });
    let mut store = handles.take().unwrap();
    let key = store.key(b"joined").unwrap();
    let item = store.get(key, 1).unwrap();
    let value: Vec<u8> = item.pieces().flatten().copied().collect();
    let joined = joined.load(Ordering::Relaxed);
    assert!(joined > 0);
    assert_eq!(value.len() as u64, 8 * joined);
    let number = |digits: &[u8]| std::str::from_utf8(digits).unwrap().parse::<u64>().unwrap();
    // Taken off from the outside inwards: the longest was joined last.
    let mut rest = &value[..];
    while !rest.is_empty() {
        let inner = rest.len() as u64 - 8;
        let reversed: Vec<u8> = rest[..8].iter().rev().copied().collect();
        if number(&rest[rest.len() - 8..]) == inner {
            rest = &rest[..rest.len() - 8];
        } else {
            assert_eq!(number(&reversed), inner, "joined with a value of another length");
            rest = &rest[8..];
        }
    }
    store.verify().unwrap();
}

#[test]
fn another_thread_looks_at_everything_and_goes_again_while_shards_write() {
    let handles = open(2 << 20, true);
    let others = handles.clone();
    let writing = AtomicU64::new(THREADS);
    std::thread::scope(|scope| {
        let writing = &writing;
        scope.spawn(move || {
            let mut looks = 0;
            while (writing.load(Ordering::Acquire) != 0 && looks < 5_000) || looks < 3 {
                looks += 1;
                // Nobody else wants the last handle, which comes back each time.
                let mut store = others.take().unwrap();
                let mut cursor = mm_store::Cursor::default();
                loop {
                    let more = store.scan(&mut cursor, 50, 1, |item| {
                        let value = item.value().unwrap();
                        assert!(value.starts_with(item.key()), "a value of another key");
                        assert_eq!(value.len(), item.key().len() + 200, "a whole value");
                    });
                    // What it has looked at is over, so it never keeps shards from writing for more than a step.
                    store.rest();
                    if !more {
                        break;
                    }
                }
            }
        });
        on_threads(&handles, |thread, store| {
            for number in 0..30_000_u64 {
                let name = format!("thread-{thread}-key-{}", number % 9_000);
                let value = [name.as_bytes(), &[b'v'; 200]].concat();
                wait(store);
                let key = store.key(name.as_bytes()).unwrap();
                assert_eq!(store.put(key, &Put::default(), &value, 1), Ok(Outcome::Stored));
                if number % 16 == 0 {
                    store.rest();
                }
            }
            writing.fetch_sub(1, Ordering::Release);
        });
    });
    verify(&handles);
}

#[test]
fn what_another_shard_has_overwritten_in_its_turn_refuses_nobody_room() {
    const LIMIT_BYTES: u64 = 2 << 20;
    let handles = open(usize::try_from(LIMIT_BYTES).unwrap(), true);
    // One has short turns and large values, the other one goes on for long.
    let (mut first, mut second) = (handles.take().unwrap(), handles.take().unwrap());
    let (mut choice, mut stored) = (Choice(3), 0);
    for round in 0..200_000 {
        let store = if round % 40 < 20 { &mut first } else { &mut second };
        if store.must_wait() {
            first.rest();
            second.rest();
            continue;
        }
        let name = format!("key-{}", choice.next(LIMIT_BYTES / 300));
        let mut key = store.key_ahead(name.as_bytes()).unwrap();
        store.look_ahead(&mut key);
        let value = vec![b'v'; usize::try_from(100 + choice.next(300)).unwrap()];
        assert_eq!(store.set(key, &value, 1), Ok(Outcome::Stored), "round {round}");
        if round % 40 == 30 {
            let name = format!("large-{}", choice.next(6));
            let value = vec![b'l'; usize::try_from(choice.next(LIMIT_BYTES / 12)).unwrap()];
            let key = second.key(name.as_bytes()).unwrap();
            // It may be refused for memory that the first one could be reading.
            stored += u32::from(second.put(key, &Put::default(), &value, 1) == Ok(Outcome::Stored));
        }
        if round % 40 == 39 {
            second.rest();
        }
        if round % 400 == 399 {
            first.rest();
        }
    }
    assert!(stored > 1_000, "{stored} large values were stored");
    drop((first, second));
    verify(&handles);
}

/// Where checks are compiled in, the store checks at each record that counts as dead that nobody finds it any more: its
/// segment may be used again from then on, while others look up the key.
#[test]
fn what_an_item_leaves_when_it_is_written_anew_is_found_no_more_before_it_counts_as_dead() {
    let handles = open(1 << 20, true);
    let mut store = handles.take().unwrap();
    let value = [b'v'; 100];
    // In one piece, and with extents.
    for len in [100, 50_000] {
        let key = store.key(b"key").unwrap();
        store.put(key, &Put::default(), &value.repeat(len / 100), 1).unwrap();
        store.touch(key, 100, 1).unwrap().unwrap();
        store.touch(key, 0, 1).unwrap().unwrap();
        let (item, before_s) = store.get_touching(key, 200, 1).unwrap();
        assert_eq!((item.len(), before_s, item.expiry_s()), (len, 0, 200));
        store.mark_stale(key, Some(0), CasRule::default(), 1).unwrap().unwrap();
        assert!(store.get(key, 1).unwrap().is_stale());
        store.put(key, &Put::default(), b"another", 1).unwrap();
        store.delete(key, None, 1).unwrap();
    }
    drop(store);
    verify(&handles);
}

#[test]
fn a_new_value_of_the_same_bytes_with_another_time_to_live_is_no_copy() {
    let handles = open(1 << 20, true);
    let (mut reader, mut writer) = (handles.take().unwrap(), handles.take().unwrap());
    let key = reader.key(b"key").unwrap();
    let put = |expiry_s| Put { expiry_s, ..Put::default() };
    writer.put(key, &put(100), b"value", 1).unwrap();
    let item = reader.get(key, 1).unwrap();
    writer.put(key, &put(101), b"value", 1).unwrap();
    assert_eq!((item.take_win(), item.shown_cas()), (None, None), "it is to be read again");
    let item = reader.get(key, 1).unwrap();
    assert_eq!(item.take_win(), Some(true));
    drop(writer);
}
