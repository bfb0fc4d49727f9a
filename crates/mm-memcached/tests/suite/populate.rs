//! Values that are put off while memory for them is being populated, and for how long at most.

use std::cell::RefCell;

use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::harness::{ClientId, Harness};
use mm_store::{Config, Store, Untouched};

/// A store of which four segments of 256 KiB are populated ahead.
const LIMIT_BYTES: usize = 128 << 20;
const LEN: usize = 1_000_000;
/// How long an upload waits for memory when none comes, and the time until that is looked at.
const PATIENCE_MS: u64 = 22;

thread_local! {
    static GIVEN: RefCell<Vec<Untouched>> = const { RefCell::new(Vec::new()) };
}

fn take_note(memory: Untouched) {
    GIVEN.with_borrow_mut(|given| given.push(memory));
}

fn populate_given() {
    GIVEN.take().into_iter().for_each(|memory| memory.populate().unwrap());
}

fn service() -> Harness<Memcached> {
    let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
    let config = Config { populate: Some(take_note), ..Config::new(LIMIT_BYTES, 1) };
    Harness::new(|start| Memcached::new(start, &shared, Store::open(&config).unwrap()))
}

fn classic(number: u32) -> Vec<u8> {
    [format!("set key-{number} 0 0 {LEN}\r\n").as_bytes(), &vec![b'v'; LEN], b"\r\n"].concat()
}

fn meta(number: u32) -> Vec<u8> {
    [format!("ms key-{number} {LEN}\r\n").as_bytes(), &vec![b'v'; LEN], b"\r\n"].concat()
}

fn binary(number: u32) -> Vec<u8> {
    let key = format!("key-{number}");
    let (key_len, body) = (u16::try_from(key.len()).unwrap(), u32::try_from(8 + key.len() + LEN).unwrap());
    let mut head = [0; 24];
    (head[0], head[1], head[4]) = (0x80, 1, 8);
    head[2..4].copy_from_slice(&key_len.to_be_bytes());
    head[8..12].copy_from_slice(&body.to_be_bytes());
    [&head[..], &[0; 8], key.as_bytes(), &vec![b'v'; LEN]].concat()
}

/// Stores eight values, and has time pass for as long as each is put off; gives how often `pass` was called.
fn store(
    harness: &mut Harness<Memcached>,
    request: fn(u32) -> Vec<u8>,
    pass: fn(&mut Harness<Memcached>),
) -> u32 {
    let [writer, other] = [(); 2].map(|()| harness.connect());
    let mut passed = 0;
    for number in 0..8 {
        let mut answer = harness.exchange(writer, &request(number));
        while answer.is_empty() {
            passed += 1;
            assert!(passed < 100, "it never goes on");
            assert_eq!(harness.exchange(other, b"get none\r\n"), b"END\r\n", "others do not wait");
            pass(harness);
            answer = harness.receive(writer, usize::MAX);
        }
        let is_stored =
            matches!(&answer[..], b"STORED\r\n" | b"HD\r\n") || answer[..8] == [0x81, 1, 0, 0, 0, 0, 0, 0];
        assert!(is_stored, "{}", answer.escape_ascii());
    }
    harness.service().store().verify().unwrap();
    passed
}

/// How often an upload was put off.
fn waits(harness: &mut Harness<Memcached>) -> u32 {
    let client: ClientId = harness.connect();
    let answer = String::from_utf8(harness.exchange(client, b"stats server\r\n")).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("STAT upload_waits ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn an_upload_goes_on_as_soon_as_memory_was_populated() {
    for request in [classic, meta, binary] {
        let mut harness = service();
        let passed = store(&mut harness, request, |harness| {
            harness.advance_ms(5);
            populate_given();
            harness.advance_ms(1);
        });
        assert!(passed >= 4 && waits(&mut harness) >= passed, "{passed}");
    }
}

#[test]
fn an_upload_goes_on_where_nobody_populates_memory() {
    for request in [classic, meta, binary] {
        let mut harness = service();
        let passed = store(&mut harness, request, |harness| harness.advance_ms(PATIENCE_MS));
        assert_eq!(passed, 1, "who waited in vain does not wait again");
        GIVEN.take();
    }
}
