//! The service without sockets.

use mm_server::harness::{Harness, every_cut};

use crate::toy::Toy;

fn toy() -> Harness<Toy> {
    Harness::new(Toy::new)
}

#[test]
fn the_same_answer_however_the_input_is_cut() {
    let big = vec![b'x'; 3000];
    let mut input = b"echo one\nrepeat 5 two\nstore 3000\n".to_vec();
    input.extend_from_slice(&big);
    input.extend_from_slice(b"load\nbogus\nstore 0\necho end\nquit\necho never\n");
    let answer = every_cut(toy, &input).unwrap();
    let mut expected = b"one\ntwo\ntwo\ntwo\ntwo\ntwo\nstored 3000 sum 360000\nvalue 3000\n".to_vec();
    expected.extend_from_slice(&big);
    expected.extend_from_slice(b"\nwhat?\nstored 0 sum 0\nend\n");
    assert_eq!(String::from_utf8(answer), String::from_utf8(expected));
}

#[test]
fn a_long_answer_waits_for_its_reader() {
    let mut harness = toy();
    harness.set_output_cap(1000);
    let client = harness.connect();
    harness.send(client, b"repeat 100000 0123456789\necho after\n");
    assert!(harness.buffered_bytes() <= 64 * 1024, "{} bytes held", harness.buffered_bytes());
    let answer = harness.receive(client, usize::MAX);
    assert_eq!(answer.len(), 100_000 * 11 + 6);
    assert!(answer.ends_with(b"0123456789\nafter\n"));
    assert_eq!(harness.buffered_bytes(), 0);
}

#[test]
fn a_parked_connection_reads_on_after_its_wake() {
    let mut harness = toy();
    let (waiter, poster) = (harness.connect(), harness.connect());
    assert_eq!(harness.exchange(waiter, b"wait\necho next\n"), b"");
    assert_eq!(harness.exchange(waiter, b"echo more\n"), b"");
    assert_eq!(harness.exchange(poster, b"post news\n"), b"ok\n");
    assert_eq!(harness.receive(waiter, usize::MAX), b"posted news\nnext\nmore\n");
    assert_eq!(harness.buffered_bytes(), 0);
}

#[test]
fn output_without_input() {
    let mut harness = toy();
    let client = harness.connect();
    assert_eq!(harness.exchange(client, b"tick 50\n"), b"");
    harness.advance_ms(49);
    assert_eq!(harness.receive(client, usize::MAX), b"");
    harness.advance_ms(1);
    assert_eq!(harness.receive(client, usize::MAX), b"tock\n");
}

#[test]
fn what_is_consumed_by_nobody_ends_at_the_bound() {
    let mut harness = toy();
    let client = harness.connect();
    let answer = harness.exchange(client, &vec![b'x'; 20_000]);
    assert_eq!(answer, b"too long\n");
    assert!(!harness.is_open(client));
}

#[test]
fn a_peer_that_finishes_gets_its_answers_first() {
    let mut harness = toy();
    harness.set_output_cap(10);
    let client = harness.connect();
    harness.send(client, b"repeat 10 12345\necho cut");
    harness.finish(client);
    assert!(harness.is_open(client));
    assert_eq!(harness.receive(client, usize::MAX).len(), 60);
    assert!(!harness.is_open(client));
    assert_eq!((harness.buffered_bytes(), harness.service().disconnected), (0, 1));
}

#[test]
fn an_end_in_the_middle_gives_everything_back() {
    let mut harness = toy();
    let client = harness.connect();
    harness.exchange(client, b"store 5000\n");
    harness.exchange(client, &[b'y'; 5000]);
    harness.send(client, b"load\n");
    assert_eq!(harness.service().values.pins.get(), 1);
    harness.reset(client);
    assert_eq!((harness.buffered_bytes(), harness.service().values.pins.get()), (0, 0));
    let half = harness.connect();
    harness.exchange(half, b"store 5000\nyyy");
    assert_eq!(harness.into_service().disconnected, 2);
}

#[test]
fn requests_are_prepared_before_they_run() {
    let mut harness = toy();
    let client = harness.connect();
    harness.exchange(client, b"echo 1\necho 2\n");
    assert_eq!(harness.service().prepared, [1, 1]);
}
