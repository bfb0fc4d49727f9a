//! Limits of one peer's connections, and how a connection is ended whose peer still sends.

use std::io::Write;
use std::net::Shutdown;
use std::num::NonZeroUsize;

use mm_server::Config;

use crate::running::{Running, config, exchange, expect, rest};

#[test]
fn one_peer_has_only_so_many_connections() {
    let limits = Config { connections_per_address_max: Some(2), refusal: Some(b"too many\n"), ..config() };
    let server = Running::start(limits);
    let mut first = server.connect();
    let mut second = server.connect();
    exchange(&mut first, b"echo 1\n", "1\n");
    exchange(&mut second, b"echo 2\n", "2\n");
    // What it says already must not cost it the reason.
    for _ in 0..20 {
        let mut third = server.connect();
        third.write_all(b"echo 3\n").ok();
        assert_eq!(rest(&mut third), b"too many\n");
    }
    assert_eq!(server.total(|stats| stats.addresses_rejected.get()), 20);
    drop(first);
    server.wait_for(|stats| stats.connections.get(), 1);
    exchange(&mut server.connect(), b"echo 4\n", "4\n");
}

#[test]
fn a_peer_that_still_sends_reads_the_last_words() {
    let server = Running::start(config());
    for _ in 0..20 {
        let mut client = server.connect();
        let ignored = vec![b'x'; 100_000];
        client.write_all(&[&b"echo last\nquit\n"[..], &ignored].concat()).unwrap();
        expect(&mut client, "last\n");
        client.shutdown(Shutdown::Write).ok();
        assert_eq!(rest(&mut client), b"");
    }
    server.wait_for(|stats| stats.connections.get(), 0);
}

#[test]
fn a_peer_that_never_stops_sending_is_closed_all_the_same() {
    let server = Running::start(Config { linger_ms: 50, ..config() });
    let mut client = server.connect();
    client.write_all(b"quit\nmore").unwrap();
    assert_eq!(rest(&mut client), b"");
    server.wait_for(|stats| stats.connections.get(), 0);
    assert_eq!(server.total(|stats| stats.lingered.get()), 1);
}

#[test]
fn shards_can_be_pinned() {
    let server = Running::start(Config { shards: NonZeroUsize::new(2).unwrap(), pinned: true, ..config() });
    for _ in 0..4 {
        exchange(&mut server.connect(), b"echo x\n", "x\n");
    }
}

#[test]
fn who_waits_for_a_place_is_not_reset() {
    let shards = NonZeroUsize::new(2).unwrap();
    let server = Running::start(Config { shards, connections_max: 1, backlog: 64, ..config() });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    exchange(&mut server.connect(), b"echo mine\n", "mine\n");
                }
            });
        }
    });
    assert_eq!(server.total(|stats| stats.connections_total.get()), 400);
    assert_eq!(server.total(|stats| stats.connections_rejected.get()), 0);
}
