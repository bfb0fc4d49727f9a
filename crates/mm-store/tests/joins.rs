//! One shard appends to an item that another one changes between any two steps of that: both changes hold.

#![cfg(feature = "smp")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mm_base::gap;
use mm_store::{Config, Mode, Outcome, Put, PutError, Shared, Store, StoreHandles};

/// What no record of so small a store is long enough for.
const LONG_BYTES: usize = 4_000;

/// More steps than anything takes that does not go on until it is done.
const STEPS: usize = 1_000;

fn put(store: &mut Store<Shared>, mode: Mode, value: &[u8]) -> Result<Outcome, PutError> {
    let key = store.key(b"key").unwrap();
    let stored = store.put(key, &Put { mode, ..Put::default() }, value, 1);
    store.rest();
    stored
}

fn touch(store: &mut Store<Shared>, expiry_s: u32) {
    let key = store.key(b"key").unwrap();
    assert_eq!(store.touch(key, expiry_s, 1), Ok(Ok(())));
    store.rest();
}

/// Has one shard join a value with one of `len` bytes, while another acts so often between two steps. Returns the value
/// then, when it expires, and how often the other has acted.
fn join(
    (len, mode): (usize, Mode),
    times: usize,
    act: impl Fn(&mut Store<Shared>, usize) + 'static,
) -> (Vec<u8>, u32, usize) {
    let handles = StoreHandles::open(&Config::new(2 << 20, 1), 2).unwrap();
    let mut own = handles.take().unwrap();
    let other = Rc::new(RefCell::new(handles.take().unwrap()));
    assert_eq!(put(&mut own, Mode::Set, &vec![b'o'; len]), Ok(Outcome::Stored));
    touch(&mut own, 50);
    let count = Rc::new(Cell::new(0));
    let (counted, others) = (Rc::clone(&count), Rc::clone(&other));
    gap::set(Some(Box::new(move || {
        if counted.get() < times {
            counted.set(counted.get() + 1);
            act(&mut others.borrow_mut(), counted.get());
        }
    })));
    let stored = put(&mut own, mode, b"added");
    gap::set(None);
    assert_eq!(stored, Ok(Outcome::Stored), "after {} changes", count.get());
    let key = own.key(b"key").unwrap();
    let item = own.get(key, 1).unwrap();
    let (value, expiry_s) = (item.pieces().collect::<Vec<_>>().concat(), item.expiry_s());
    own.rest();
    own.verify().unwrap();
    (value, expiry_s, count.get())
}

fn other_appends(len: usize, times: usize) {
    for mode in [Mode::Append, Mode::Prepend] {
        let append = |store: &mut Store<Shared>, _| {
            assert_eq!(put(store, Mode::Append, b"x"), Ok(Outcome::Stored));
        };
        let (value, expiry_s, count) = join((len, mode), times, append);
        assert!(count > 1, "the other one was let in");
        assert_eq!(expiry_s, 50);
        let others = value.iter().filter(|&&byte| byte == b'x').count();
        assert_eq!((others, value.len()), (count, len + 5 + count));
        let text = String::from_utf8(value).unwrap();
        assert!(if mode == Mode::Append { text.contains("added") } else { text.starts_with("added") });
    }
}

#[test]
fn an_append_to_a_short_value_is_done_however_often_others_append() {
    other_appends(10, STEPS);
}

#[test]
fn an_append_to_a_long_value_is_done_however_often_others_append() {
    other_appends(LONG_BYTES, STEPS);
}

#[test]
fn an_append_does_not_wait_for_others_to_end_touching() {
    for len in [10, LONG_BYTES] {
        let flip = |store: &mut Store<Shared>, count: usize| touch(store, [100, 200][count % 2]);
        let (value, expiry_s, count) = join((len, Mode::Append), usize::MAX, flip);
        assert_eq!(value.len(), len + 5);
        assert_eq!(expiry_s, [100, 200][count % 2], "the last touch holds");
        assert!(count < 20, "{count}");
    }
}

#[test]
fn an_append_is_done_while_others_write_the_item_anew() {
    for len in [10, LONG_BYTES] {
        let flip = |store: &mut Store<Shared>, count: usize| touch(store, [0, 100][count % 2]);
        let (value, expiry_s, count) = join((len, Mode::Append), STEPS, flip);
        assert_eq!(value.len(), len + 5);
        assert_eq!(expiry_s, [0, 100][count % 2], "the last touch holds");
    }
}

#[test]
fn what_is_stored_after_a_flush_stays_though_an_append_was_begun_before_it() {
    // After some appends this one keeps the others from the item while it copies.
    for (appends, gap) in (0..40).flat_map(|appends| (1..5).map(move |gap| (appends, appends + gap))) {
        let flush = move |store: &mut Store<Shared>, count: usize| {
            if count == gap {
                let key = store.key(b"key").unwrap();
                let len = store.get(key, 1).unwrap().len();
                store.flush_all();
                // Such as was there before, but for its bytes.
                assert_eq!(put(store, Mode::Set, &vec![b'n'; len]), Ok(Outcome::Stored));
                touch(store, 50);
            } else if count <= appends {
                assert_eq!(put(store, Mode::Append, b"x"), Ok(Outcome::Stored));
            }
        };
        let (value, _, count) = join((LONG_BYTES, Mode::Append), gap, flush);
        if count == gap {
            let stored = value.iter().filter(|&&byte| byte == b'n').count();
            assert!(stored >= LONG_BYTES, "a new value");
            let left = &value[stored..];
            assert!(left.is_empty() || left == b"added", "{appends} appends, gap {gap}: {left:?}");
        }
    }
}

#[test]
fn an_append_is_given_up_where_others_never_end_storing_other_lengths() {
    let handles = StoreHandles::open(&Config::new(2 << 20, 1), 2).unwrap();
    let mut own = handles.take().unwrap();
    let other = RefCell::new(handles.take().unwrap());
    assert_eq!(put(&mut own, Mode::Set, &[b'o'; LONG_BYTES]), Ok(Outcome::Stored));
    let count = Cell::new(0);
    gap::set(Some(Box::new(move || {
        count.set(count.get() + 1);
        let value = vec![b'n'; LONG_BYTES + count.get() % 3];
        assert_eq!(put(&mut other.borrow_mut(), Mode::Set, &value), Ok(Outcome::Stored));
    })));
    let stored = put(&mut own, Mode::Append, b"added");
    gap::set(None);
    assert_eq!(stored, Err(PutError::NoMemory));
    own.verify().unwrap();
}
