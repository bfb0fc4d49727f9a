//! A store whose memory is a file is taken over by the next one as it was left, or not at all.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "smp")]
use mm_store::StoreHandles;
use mm_store::{Config, Kept, KeptError, Leave, Mode, Outcome, Put, Sharing, Stats, Store};

const LIMIT_BYTES: usize = 4 << 20;

/// Numbers that look random, the same for the same seed.
struct Choice(u64);

impl Choice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end
    }
}

/// A file of its own for each test, which goes with it.
struct Memory(PathBuf);

impl Memory {
    fn new(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id())))
    }

    fn file(&self) -> File {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        options.open(&self.0).unwrap()
    }

    fn kept(&self, book: Option<Vec<u8>>) -> Kept {
        book.map_or_else(|| Kept::new(self.file()), |book| Kept::with_book(self.file(), book))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn config(limit_bytes: usize, seed: u64) -> Config {
    Config::new(limit_bytes, seed)
}

/// Works with the store in `kept`, of one shard or of several, and returns the book that it leaves.
fn session(
    kept: &Kept,
    shards: usize,
    leave: Leave,
    work: impl FnMut(&mut dyn Works),
) -> Result<Option<Vec<u8>>, KeptError> {
    kept.leave(leave);
    kept.note_with(|| b"noted".to_vec());
    if shards == 1 { work_alone(kept, work) } else { work_among(kept, shards, work) }?;
    Ok(kept.take_book())
}

fn work_alone(kept: &Kept, mut work: impl FnMut(&mut dyn Works)) -> Result<(), KeptError> {
    work(&mut Store::open_kept(&config(LIMIT_BYTES, 7), kept)?);
    Ok(())
}

#[cfg(feature = "smp")]
fn work_among(kept: &Kept, shards: usize, mut work: impl FnMut(&mut dyn Works)) -> Result<(), KeptError> {
    let handles = StoreHandles::open_kept(&config(LIMIT_BYTES, 8), shards, kept)?;
    let mut stores: Vec<_> = (0..shards).map(|_| handles.take().unwrap()).collect();
    work(stores.last_mut().unwrap());
    Ok(())
}

/// A build for one shard does the same alone.
#[cfg(not(feature = "smp"))]
fn work_among(kept: &Kept, _shards: usize, work: impl FnMut(&mut dyn Works)) -> Result<(), KeptError> {
    work_alone(kept, work)
}

/// What the tests do with a store of either kind.
trait Works {
    fn put(&mut self, key: &[u8], put: &Put, value: &[u8], now_s: u32) -> Outcome;
    /// Value, CAS value, expiry and client flags.
    fn look(&mut self, key: &[u8], now_s: u32) -> Option<(Vec<u8>, u64, u32, u32)>;
    fn flush(&mut self);
    fn maintain(&mut self, now_s: u32) -> bool;
    fn items(&self) -> u64;
    fn stats(&self) -> Stats;
    fn reset_stats(&mut self);
    fn index_is_moving(&self) -> bool;
    fn verify(&self);
}

impl<S: Sharing> Works for Store<S> {
    fn put(&mut self, key: &[u8], put: &Put, value: &[u8], now_s: u32) -> Outcome {
        let key = self.key(key).unwrap();
        let outcome = Self::put(self, key, put, value, now_s).unwrap();
        self.rest();
        outcome
    }

    fn look(&mut self, key: &[u8], now_s: u32) -> Option<(Vec<u8>, u64, u32, u32)> {
        let item = self.peek(self.key(key).unwrap(), now_s).ok()?;
        Some((item.pieces().collect::<Vec<_>>().concat(), item.cas(), item.expiry_s(), item.client_flags()))
    }

    fn flush(&mut self) {
        self.flush_all();
    }

    fn maintain(&mut self, now_s: u32) -> bool {
        Self::maintain(self, 1000, now_s)
    }

    fn items(&self) -> u64 {
        self.stats().items
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn reset_stats(&mut self) {
        Self::reset_stats(self);
    }

    fn index_is_moving(&self) -> bool {
        self.stats().index_moving
    }

    fn verify(&self) {
        Self::verify(self).unwrap();
    }
}

/// Small and large values, with and without expiry and client flags, more of them than there is room for.
fn write_some(store: &mut dyn Works, choice: &mut Choice, now_s: u32) {
    for _ in 0..8_000 {
        let number = choice.below(20_000);
        let len = if choice.below(400) == 0 { 70_000 } else { choice.below(300) };
        let put = Put {
            client_flags: u32::try_from(number % 3).unwrap(),
            expiry_s: [0, now_s + 50, now_s + 5_000][number % 3],
            mode: Mode::Set,
            ..Put::default()
        };
        let value = format!("{number}:").repeat(len / 4 + 1);
        store.put(format!("key-{number}").as_bytes(), &put, value.as_bytes(), now_s);
    }
}

fn contents(store: &mut dyn Works, now_s: u32) -> BTreeMap<usize, (Vec<u8>, u64, u32, u32)> {
    let look = |number| Some((number, store.look(format!("key-{number}").as_bytes(), now_s)?));
    (0..20_000).filter_map(look).collect()
}

#[test]
fn what_was_left_is_there_again_whatever_the_number_of_shards() {
    for leave in [Leave::Checked, Leave::Trusted] {
        let memory = Memory::new(&format!("again-{leave:?}"));
        let mut choice = Choice(99);
        let (mut book, mut before, mut greatest_cas) = (None, BTreeMap::new(), 0);
        for (round, shards) in [1, 1, 3, 2, 1].into_iter().enumerate() {
            let now_s = 100 * u32::try_from(round).unwrap() + 10;
            let kept = memory.kept(book.take());
            let left = session(&kept, shards, leave, |store| {
                let note = kept.take_note();
                assert_eq!(note.as_deref(), (round != 0).then_some(&b"noted"[..]));
                store.verify();
                let found = contents(store, now_s);
                let live = |(_, value): &(&usize, &(Vec<u8>, u64, u32, u32))| value.2 == 0 || value.2 > now_s;
                let expected: BTreeMap<_, _> =
                    before.iter().filter(live).map(|(&number, value)| (number, value.clone())).collect();
                assert!(found == expected, "round {round}: {} of {}", found.len(), expected.len());
                assert!(round == 0 || found.len() > 1000);
                write_some(store, &mut choice, now_s);
                store.verify();
                store.put(b"new", &Put::default(), b"1", now_s);
                let (_, cas, ..) = store.look(b"new", now_s).unwrap();
                assert!(cas > greatest_cas, "a CAS value is used twice");
                greatest_cas = cas;
                before = contents(store, now_s);
            });
            book = left.unwrap();
            assert!(book.is_some());
        }
    }
}

#[test]
fn memory_of_its_own_goes_to_the_file_in_the_end() {
    for shards in [1, 2] {
        let memory = Memory::new(&format!("moved-{shards}"));
        let mut before = BTreeMap::new();
        let left = session(&Kept::moved_to(memory.file()), shards, Leave::Trusted, |store| {
            write_some(store, &mut Choice(17), 10);
            before = contents(store, 10);
        });
        let left = session(&memory.kept(left.unwrap()), 1, Leave::Trusted, |store| {
            store.verify();
            assert!(before.len() > 1000 && contents(store, 10) == before);
            write_some(store, &mut Choice(18), 11);
            store.verify();
        });
        assert!(left.unwrap().is_some());
    }
}

#[test]
fn lent_memory_can_be_taken_back_until_it_is_owned() {
    for (shards, leave) in [(1, Leave::Trusted), (2, Leave::Checked)] {
        let memory = Memory::new(&format!("lent-{shards}"));
        let mut before = BTreeMap::new();
        let left = session(&memory.kept(None), 1, leave, |store| {
            write_some(store, &mut Choice(19), 10);
            before = contents(store, 10);
        });
        let book = left.unwrap().unwrap();
        for _ in 0..2 {
            let lent = Kept::lent(memory.file(), book.clone());
            assert_eq!(session(&lent, shards, Leave::Nothing, |_| {}).unwrap(), None);
        }
        let lent = Kept::lent(memory.file(), book.clone());
        let left = session(&lent, shards, leave, |store| {
            lent.own().unwrap();
            assert_eq!(contents(store, 10), before);
            let refused = session(&memory.kept(Some(book.clone())), shards, leave, |_| {}).unwrap_err();
            assert!(refused.to_string().starts_with("its book is of another time"), "{refused}");
        });
        session(&memory.kept(left.unwrap()), shards, leave, |store| store.verify()).unwrap();
    }
}

#[test]
fn a_store_that_is_given_up_while_it_is_taken_over_stays_as_it_was_left() {
    for (shards, is_lent) in [(1, false), (2, true)] {
        let memory = Memory::new(&format!("given-up-{shards}"));
        let mut before = BTreeMap::new();
        let left = session(&memory.kept(None), 1, Leave::Checked, |store| {
            write_some(store, &mut Choice(29), 10);
            before = contents(store, 10);
        });
        let book = left.unwrap().unwrap();
        let kept = if is_lent { Kept::lent(memory.file(), book) } else { memory.kept(Some(book)) };
        let asked = Arc::new(AtomicUsize::new(0));
        let mut patience = 1;
        // Each attempt goes a step further, and the next one is as if there had been none.
        let left = loop {
            let asked_now = Arc::clone(&asked);
            asked.store(0, Ordering::Relaxed);
            kept.give_up_when(move || asked_now.fetch_add(1, Ordering::Relaxed) + 1 == patience);
            let opened = session(&kept, shards, Leave::Checked, |store| {
                store.verify();
                assert!(before.len() > 1000 && contents(store, 10) == before);
            });
            match opened {
                Ok(left) => break left,
                Err(KeptError::System(error)) => assert_eq!(error.kind(), ErrorKind::Interrupted),
                Err(refused) => panic!("{refused}"),
            }
            assert_eq!((kept.take_book(), kept.take_note()), (None, None));
            patience += 1;
        };
        assert!(patience > 10, "it is asked for each segment: {patience}");
        assert!(left.is_some());
    }
}

#[test]
fn a_growth_and_a_flush_under_way_go_on() {
    let memory = Memory::new("under-way");
    let mut number = 0_u32;
    let left = session(&memory.kept(None), 1, Leave::Checked, |store| {
        store.put(b"old", &Put::default(), &vec![0; 100_000], 5);
        store.flush();
        while number < 10_000 || !store.index_is_moving() {
            store.put(&number.to_le_bytes(), &Put::default(), b"v", 5);
            number += 1;
        }
    });
    let left = session(&memory.kept(left.unwrap()), 2, Leave::Checked, |store| {
        assert!(store.index_is_moving());
        store.verify();
        assert_eq!(store.items(), u64::from(number) + 1);
        assert_eq!(store.look(b"old", 6), None);
        let there = (0..number).filter(|number| store.look(&number.to_le_bytes(), 6).is_some());
        assert_eq!(there.count(), usize::try_from(number).unwrap());
        while store.maintain(7) {}
        store.verify();
    });
    assert!(left.unwrap().is_some());
}

#[test]
fn what_is_to_be_checked_is_never_merely_trusted() {
    let memory = Memory::new("at-most");
    let kept = memory.kept(None);
    kept.leave(Leave::Checked);
    let left = session(&kept, 1, Leave::Trusted, |store| write_some(store, &mut Choice(23), 10));
    let book = left.unwrap();
    let whole = fs::read(&memory.0).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    memory.file().write_all_at(&[!whole[used]], used as u64).unwrap();
    let refused = session(&memory.kept(book), 1, Leave::Nothing, |_| {}).unwrap_err();
    assert_eq!(refused.to_string(), "its contents are damaged");
}

/// What is there now set to 0: the rest only grows.
fn counters_of(stats: Stats) -> Stats {
    Stats {
        items: 0,
        item_bytes: 0,
        index_bytes: 0,
        index_buckets: 0,
        ghost_bytes: 0,
        index_moving: false,
        segments: 0,
        segments_free: 0,
        ..stats
    }
}

#[test]
fn counters_go_on_where_that_is_asked_for() {
    for (shards, then) in [(1, 1), (2, 3), (2, 1)] {
        let memory = Memory::new(&format!("counters-{shards}-{then}"));
        let (before, mut counted) = (memory.kept(None), Stats::default());
        let left = session(&before, shards, Leave::Trusted, |store| {
            write_some(store, &mut Choice(31), 10);
            store.reset_stats();
            write_some(store, &mut Choice(37), 100);
            for number in 0..10_u8 {
                store.put(&[number], &Put::default(), &vec![0; 70_000], 140);
            }
            assert!(contents(store, 200).len() > 1000);
            counted = store.stats();
            assert!(
                counted.evicted > 0 && counted.evicted_age_s > 0 && counted.met_expired > 0,
                "{counted:?}"
            );
        });
        let (book, items) = (left.unwrap(), counted.items);
        let mut go_on = |kept: &Kept, items: u64| {
            let left = session(kept, then, Leave::Trusted, |store| {
                assert_eq!(counters_of(store.stats()), counters_of(counted));
                assert_eq!(store.items(), items);
                store.put(b"new", &Put::default(), b"1", 200);
                assert_eq!(store.stats().stored, counted.stored + 1);
                counted = store.stats();
            });
            assert!(left.unwrap().is_some());
        };
        let (again, anew) = (memory.kept(book), memory.kept(None));
        again.count_on_from(&before);
        go_on(&again, items);
        anew.count_on_from(&again);
        go_on(&anew, 0);
        // They are told once.
        let last = memory.kept(None);
        last.count_on_from(&again);
        session(&last, then, Leave::Nothing, |store| assert_eq!(store.stats().stored, 0)).unwrap();
    }
}

#[test]
fn nothing_is_left_where_it_is_not_asked_for_or_something_is_in_use() {
    let memory = Memory::new("nothing");
    let left = session(&memory.kept(None), 1, Leave::Nothing, |_| {});
    assert_eq!(left.unwrap(), None);
    let kept = memory.kept(None);
    kept.leave(Leave::Checked);
    let mut store = Store::open_kept(&config(LIMIT_BYTES, 7), &kept).unwrap();
    store.put(store.key(b"k").unwrap(), &Put::default(), b"value", 1).unwrap();
    let mut pinned = Vec::new();
    store.get(store.key(b"k").unwrap(), 1).unwrap().pin(|pin| pinned.push(pin));
    drop(store);
    assert_eq!(kept.take_book(), None, "a value is being sent");
}

/// A store with some contents in `memory`, and its book.
fn left_in(memory: &Memory) -> Vec<u8> {
    let work = |store: &mut dyn Works| write_some(store, &mut Choice(5), 10);
    session(&memory.kept(None), 1, Leave::Checked, work).unwrap().unwrap()
}

fn refusal(memory: &Memory, book: Vec<u8>, limit_bytes: usize) -> Option<String> {
    match Store::open_kept(&config(limit_bytes, 7), &memory.kept(Some(book))) {
        Ok(_) => None,
        Err(KeptError::Refused(refused)) => Some(refused.to_string()),
        Err(KeptError::System(error)) => Some(error.to_string()),
    }
}

#[test]
fn what_another_kind_of_server_left_is_refused_by_name() {
    let memory = Memory::new("others");
    let book = left_in(&memory);
    let with = |at: usize, number: u64| {
        let mut book = book.clone();
        book[at..at + 8].copy_from_slice(&number.to_ne_bytes());
        refusal(&memory, book, LIMIT_BYTES).unwrap()
    };
    assert_eq!(with(0, 0), "it was not left by a server of this kind");
    let swapped = with(16, 0x0807_0605_0403_0201);
    assert_eq!(swapped, "it was left by a machine with another order of bytes, or is damaged");
    assert!(with(24, 99).starts_with("it is of version 99, this program writes "));
    assert!(with(32, 16).starts_with("it was left by a build for 16 bits, this one is for "));
    assert_eq!(with(40, 1), "its book is damaged");
    let other_limit = refusal(&memory, book.clone(), LIMIT_BYTES * 2);
    assert_eq!(other_limit.unwrap(), "it was left with a limit of 4 MiB, not 8");
    assert_eq!(refusal(&memory, book, LIMIT_BYTES), None, "all the others have left it as it was");
}

#[test]
fn a_damaged_book_is_refused() {
    let memory = Memory::new("book");
    let book = left_in(&memory);
    for len in (0..book.len()).step_by(7).chain([book.len() - 1]) {
        assert!(refusal(&memory, book[..len].to_vec(), LIMIT_BYTES).is_some(), "cut at {len}");
    }
    for at in 0..book.len() {
        let mut damaged = book.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(refusal(&memory, damaged, LIMIT_BYTES).is_some(), "byte {at}");
    }
    assert_eq!(refusal(&memory, book, LIMIT_BYTES), None);
}

#[test]
fn damaged_memory_is_refused_or_makes_no_difference() {
    let memory = Memory::new("memory");
    let book = left_in(&memory);
    let file = memory.file();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut choice = Choice(3);
    let mut refused = 0;
    for round in 0..100 {
        // Most of the file has never been used: half of the damage is done to what has.
        let at = choice.below(if round % 2 == 0 { LIMIT_BYTES } else { len }) as u64;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (round % 8)], at).unwrap();
        match Store::open_kept(&config(LIMIT_BYTES, 7), &memory.kept(Some(book.clone()))) {
            Ok(store) => {
                store.verify().unwrap();
                drop(store);
                // It was in use, which its book does not tell.
                let reason = refusal(&memory, book.clone(), LIMIT_BYTES).unwrap();
                assert!(reason.starts_with("its book is of another time"), "{reason}");
                assert_eq!(left_in(&memory), book, "the same work leaves the same");
            }
            Err(_) => {
                refused += 1;
                file.write_all_at(&byte, at).unwrap();
            }
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_shorter_or_longer_file_is_refused() {
    let memory = Memory::new("shorter");
    let book = left_in(&memory);
    let len = memory.file().metadata().unwrap().len();
    for other in [0, 1, len / 2, len - 1, len + 1] {
        memory.file().set_len(other).unwrap();
        let reason = refusal(&memory, book.clone(), LIMIT_BYTES).unwrap();
        assert_eq!(reason, format!("it has {other} bytes, of {len} that were left"));
    }
}
