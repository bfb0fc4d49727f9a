//! Requests that need memory which another shard may be reading are put off until it has rested; others are not.

use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::harness::{ClientId, Harness};
use mm_store::{Config, Store, StoreHandles};

const LIMIT_BYTES: usize = 2 << 20;

type Harnessed = Harness<Memcached<mm_store::Shared>>;

/// A service, and the handle of another shard.
fn service_beside_a_reader() -> (Harnessed, Store<mm_store::Shared>) {
    let handles = StoreHandles::open(&Config::new(LIMIT_BYTES, 9), 2).unwrap();
    let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
    let store = handles.take().unwrap();
    (Harness::new(|start| Memcached::new(start, &shared, store)), handles.take().unwrap())
}

fn set(number: usize, len: usize) -> Vec<u8> {
    [format!("set key-{number} 0 0 {len}\r\n").as_bytes(), &vec![b'v'; len], b"\r\n"].concat()
}

/// Sets values of this length until one is not answered; returns its number.
fn set_until_one_waits(harness: &mut Harnessed, client: ClientId, len: usize) -> usize {
    let answers_stored = |number: &usize| {
        let answer = harness.exchange(client, &set(*number, len));
        assert!(answer.is_empty() || answer == b"STORED\r\n", "{}", String::from_utf8_lossy(&answer));
        !answer.is_empty()
    };
    (0..2 * LIMIT_BYTES / len).take_while(answers_stored).count()
}

/// `least` values of `len` bytes find room after the last rest of the other shard, and then one waits.
fn check((len, least): (usize, usize), wait: &[u8], rest: &[u8]) {
    let (mut harness, mut reader) = service_beside_a_reader();
    let [writer, other] = [(); 2].map(|()| harness.connect());
    assert_eq!(set_until_one_waits(&mut harness, writer, len), 2 * LIMIT_BYTES / len, "nobody reads");
    let key = reader.key(b"none").unwrap();
    assert!(reader.get(key, 1).is_err(), "it works from now on");
    let last = set_until_one_waits(&mut harness, writer, len);
    assert!((least..2 * LIMIT_BYTES / len).contains(&last), "number {last} waits");

    assert_eq!(harness.exchange(other, b"get none\r\n"), b"END\r\n", "who reads does not wait");
    assert_eq!(harness.exchange(other, wait), b"");
    harness.advance_ms(50);
    assert_eq!(harness.receive(writer, usize::MAX), b"", "the other shard has not rested yet");
    reader.rest();
    harness.advance_ms(2);
    assert_eq!(harness.receive(writer, usize::MAX), b"STORED\r\n");
    assert_eq!(String::from_utf8_lossy(&harness.receive(other, usize::MAX)), String::from_utf8_lossy(rest));
    let stats = harness.service().store().stats();
    assert!(stats.refused == 0 && stats.waited > 0, "{stats:?}");
    harness.service().store().verify().unwrap();
}

#[test]
fn small_values_wait_and_what_comes_behind_them_comes_behind() {
    let requests = b"add another 0 0 1\r\nx\r\nget another\r\nmg another v\r\nincr none 1\r\n";
    check((500, 100), requests, b"STORED\r\nVALUE another 0 1\r\nx\r\nEND\r\nVA 1\r\nx\r\nNOT_FOUND\r\n");
}

#[test]
fn large_values_wait_in_the_middle() {
    // Four segments are kept free for two shards: what fits three of them finds room once, what fits two twice.
    check((40_000, 1), b"ms another 1\r\nx\r\n", b"HD\r\n");
    check((20_000, 2), b"ms another 1\r\nx\r\n", b"HD\r\n");
}

#[test]
fn nobody_waits_for_a_shard_whose_last_connection_was_closed_amid_a_value() {
    let handles = StoreHandles::open(&Config::new(LIMIT_BYTES, 9), 2).unwrap();
    let shared = Shared::new(Settings::default(), 2, Box::new(NoHost));
    let [mut writing, mut quiet] = [(); 2].map(|()| {
        let store = handles.take().unwrap();
        Harness::new(|start| Memcached::new(start, &shared, store))
    });
    let [writer, sender] = [writing.connect(), quiet.connect()];
    let value = set(0, 40_000);
    assert_eq!(quiet.exchange(sender, &value[..20_000]), b"");
    // As where time-outs close it: nothing comes after that in the turn.
    let _sleeps = quiet.into_service();
    let len = 500;
    assert_eq!(set_until_one_waits(&mut writing, writer, len), 2 * LIMIT_BYTES / len);
}
