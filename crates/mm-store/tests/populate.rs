//! Memory that is populated before records are written to it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard};

use mm_store::{Config, Put, Store, Untouched};

const MIB: usize = 1 << 20;
const LIMIT: usize = 128 * MIB;
/// What may be populated and not used: a 128th of the limit.
const AHEAD: usize = LIMIT / 128;

thread_local! {
    static GIVEN: RefCell<Vec<Untouched>> = const { RefCell::new(Vec::new()) };
}

/// Tests that look at the memory of the process take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A test's turn. What it has been given keeps its store's memory, and goes before the turn does.
struct Turn {
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    fn wait_for() -> Self {
        Self { _turn: TURN.lock().unwrap() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        GIVEN.take();
    }
}

fn take_note(memory: Untouched) {
    GIVEN.with_borrow_mut(|given| given.push(memory));
}

/// Bytes given since the last call, all populated.
fn populate_given() -> usize {
    let given = GIVEN.take();
    given
        .into_iter()
        .map(|memory| {
            let len = memory.len();
            memory.populate().unwrap();
            len
        })
        .sum()
}

fn open() -> Store {
    Store::open(&Config { populate: Some(take_note), ..Config::new(LIMIT, 1) }).unwrap()
}

/// Stores values of 8 KiB, numbered from `first` on.
fn fill(store: &mut Store, first: usize, bytes: usize) {
    for number in first..first + bytes / 8192 {
        let name = format!("key {number}");
        let value = [name.as_bytes(), &[b'v'; 8192]].concat();
        store.put(store.key(name.as_bytes()).unwrap(), &Put::default(), &value[..8192], 1).unwrap();
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn little_is_asked_for_ahead_and_all_of_it_once() {
    let _turn = Turn::wait_for();
    let mut store = open();
    fill(&mut store, 0, MIB / 2);
    assert_eq!(populate_given(), 0, "next to nothing is stored");
    let mut given = 0;
    for written in (0..LIMIT).step_by(MIB / 4) {
        fill(&mut store, written, MIB / 4);
        given += populate_given();
        // Of a segment the last thirtieth may stay empty.
        assert!(given <= written / 29 * 30 + MIB + AHEAD, "{given} bytes asked for after {written}");
    }
    assert!(given > LIMIT / 2, "{given}: most of the memory was populated ahead");
    fill(&mut store, 0, LIMIT);
    assert!(populate_given() + given <= LIMIT, "no memory twice, and none above the limit");
    store.verify().unwrap();
}

#[test]
fn what_is_populated_stays_as_it_was_written() {
    let _turn = Turn::wait_for();
    let mut store = open();
    fill(&mut store, 0, LIMIT / 4);
    // Given long ago and in use by now.
    assert!(populate_given() > 0);
    for number in 0..LIMIT / 4 / 8192 {
        let name = format!("key {number}");
        let item = store.get(store.key(name.as_bytes()).unwrap(), 1).unwrap();
        assert!(item.value().unwrap().starts_with(name.as_bytes()));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn all_memory_is_resident_when_asked_for_and_goes_back_with_the_limit() {
    let _turn = Turn::wait_for();
    let mut store = open();
    let before = resident_bytes();
    store.populate().unwrap();
    let populated = resident_bytes();
    assert!(populated > before + LIMIT * 3 / 4, "{} MiB are resident", (populated - before) / MIB);
    fill(&mut store, 0, LIMIT / 2);
    assert_eq!(GIVEN.take().len(), 0, "there is nothing left to populate");
    assert!(store.set_limit(LIMIT / 4));
    while store.maintain(1000, 1) {}
    fill(&mut store, 0, LIMIT);
    while store.maintain(1000, 1) {}
    let after = resident_bytes();
    assert!(after < before + LIMIT / 2, "{} MiB are resident", (after - before) / MIB);
    store.verify().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_populated_goes_back_with_the_limit_though_nobody_writes() {
    let _turn = Turn::wait_for();
    let mut store = open();
    let before = resident_bytes();
    store.populate().unwrap();
    assert!(store.set_limit(LIMIT / 4));
    while store.maintain(1000, 1) {}
    let after = resident_bytes();
    assert!(after < before + LIMIT / 2, "{} MiB are resident", (after - before) / MIB);
    store.verify().unwrap();
}

/// Uploads a value of this length. Whenever the store would have it wait, `relieve` has to end that.
fn upload(store: &mut Store, len: usize, mut relieve: impl FnMut()) -> usize {
    let key = store.key(b"large").unwrap();
    let mut upload = store.reserve(key, &Put::default(), len, 1).unwrap();
    let mut waits = 0;
    while upload.missing() > 0 {
        if store.awaits_memory(&upload) {
            let before = store.populated();
            relieve();
            assert!(!store.awaits_memory(&upload) && store.populated() != before, "after {waits} waits");
            waits += 1;
        }
        let space = store.space(&mut upload, 1).unwrap();
        space.fill(b'v');
        let len = space.len();
        store.filled(&mut upload, len);
    }
    store.commit(upload, 1).unwrap();
    store.verify().unwrap();
    waits
}

#[test]
fn an_upload_waits_for_memory_that_is_being_populated() {
    let _turn = Turn::wait_for();
    let mut store = open();
    let waits = upload(&mut store, 16 * MIB, || assert!(populate_given() <= AHEAD));
    assert!(waits >= 8 * MIB / AHEAD, "{waits} waits");
    // What is not populated after all is not waited for.
    let waits = upload(&mut store, 16 * MIB, || drop(GIVEN.take()));
    assert!(waits >= 8 * MIB / AHEAD, "{waits} waits");
    // Others may use the memory meanwhile.
    fill(&mut store, 0, LIMIT / 2);
    let waits = upload(&mut store, MIB, || drop(GIVEN.take()));
    assert!(waits <= 2, "{waits} waits");
}

#[test]
fn no_upload_waits_for_memory_that_was_used() {
    let _turn = Turn::wait_for();
    let mut store = open();
    fill(&mut store, 0, 2 * LIMIT);
    drop(GIVEN.take());
    assert!(!store.awaits_memory_for(MIB));
    assert_eq!(upload(&mut store, 32 * MIB, || {}), 0);
    let mut alone = Store::open(&Config::new(LIMIT, 1)).unwrap();
    assert!(!alone.awaits_memory_for(MIB), "nobody populates memory");
    assert_eq!(upload(&mut alone, 32 * MIB, || {}), 0);
}
