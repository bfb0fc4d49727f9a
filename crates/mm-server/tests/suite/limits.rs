//! Limits of one peer's connections, and how a connection is ended whose peer still sends.

use std::io::Write;
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::Faults;
use mm_server::limits::{FAULT_PAUSE_MS, INPUT_BYTES_MAX, SPACES_PER_TURN_MAX};
use mm_server::simulation::{Simulation, Stepped};
use mm_server::{Config, DriverChoice, Log, Peer, Service, Step};

use crate::running::{PATIENCE, Running, Settings, config, exchange, expect, on_each_driver, rest};

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

/// A value whose space the service gives byte by byte: what a connection fills of it in a turn is bounded where each
/// part is handed over by itself, as on a ring, and it is served all the same.
fn a_value_received_into_short_spaces(settings: Settings) {
    let server = Running::start(settings());
    let mut client = server.connect();
    let len = 10 * SPACES_PER_TURN_MAX;
    exchange(&mut client, b"echo begins\n", "begins\n");
    client.write_all(format!("store {len} 1\n").as_bytes()).unwrap();
    server.wait_for_at_least(|stats| stats.bytes_read.get(), 12 + 12);
    let before = server.total(|stats| stats.turns.get());
    exchange(&mut client, &vec![1; len], &format!("stored {len} sum {len}\n"));
    let turns = server.total(|stats| stats.turns.get()) - before;
    // Elsewhere it is epoll that serves.
    let has_ring = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let is_on_ring = has_ring && settings().driver == DriverChoice::Uring;
    assert!(turns >= 10 || !is_on_ring, "{turns} turns");
    exchange(&mut client, b"echo ends\n", "ends\n");
}

on_each_driver! { a_value_received_into_short_spaces }

/// Never finds the end of a request, or, where it begins with `s`, wants to receive it into no space.
struct Endless;

impl Service for Endless {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], _output: &mut Output, _now: Now) -> Step {
        if input.starts_with(b"s") { Step::ReadInto { consumed: 0 } } else { Step::Read { consumed: 0 } }
    }
}

/// Has a new peer send these bytes, until its connection is closed.
fn send_until_closed(simulation: &mut Simulation<Endless>, bytes: &[u8]) {
    let peer = simulation.connect();
    let mut sent = 0;
    let end_ms = simulation.network().now().monotonic_ms + FAULT_PAUSE_MS / 4;
    loop {
        sent += simulation.network().write(peer, &bytes[sent..]).unwrap_or(0);
        match simulation.network().read(peer, 1) {
            Ok(Received::Bytes(_) | Received::Blocked) => {}
            Ok(Received::End) | Err(_) => return,
        }
        assert_ne!(simulation.step_until(end_ms), Stepped::Spinning);
        assert!(simulation.network().now().monotonic_ms < end_ms, "it is not closed");
    }
}

#[test]
fn a_service_that_does_not_get_on_with_a_connection_is_told_of_once_a_second() {
    let (written, lines) = channel();
    let log = Log::to(move |line| written.send(line.to_owned()).unwrap());
    let mut simulation = Simulation::new(&Config { log, ..config() }, 1, Faults::default(), |_start| Endless);
    let long = vec![b'x'; INPUT_BYTES_MAX];
    send_until_closed(&mut simulation, &long);
    send_until_closed(&mut simulation, &long);
    let next_line = || lines.recv_timeout(PATIENCE).unwrap();
    let start = "shard 0: a connection was closed: the service";
    assert_eq!(next_line(), format!("{start} has found no end of a request in {INPUT_BYTES_MAX} bytes"));
    let later_ms = simulation.network().now().monotonic_ms + FAULT_PAUSE_MS;
    while simulation.network().now().monotonic_ms < later_ms {
        assert_ne!(simulation.step_until(later_ms), Stepped::Spinning);
    }
    send_until_closed(&mut simulation, b"s");
    assert_eq!(simulation.handle().stats()[0].faults.get(), 3);
    assert_eq!(next_line(), format!("{start} makes no progress with it"));
    // The log goes with it.
    drop(simulation);
    assert_eq!(lines.iter().count(), 0);
}
