//! A server that ends by a hand-over leaves its listeners and connections, with which another one goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mm_server::datagrams::Bare;
use mm_server::{Carried, Config, Handed, Server, Start, Stop};

use crate::running::{PATIENCE, Running, Settings, exchange, expect, on_each_driver, rest};
use crate::toy::Toy;

on_each_driver! {
    connections_go_on_in_another_server
    who_was_sent_off_comes_back_where_a_hand_over_becomes_a_stop
    who_waits_for_a_place_gets_none_where_a_hand_over_becomes_a_stop
    a_driver_has_the_turns_to_let_go_that_it_needs
    nobody_is_served_before_the_first_shard_has_begun
    who_waits_for_a_place_goes_on_waiting_in_another_server
    who_does_not_read_takes_along_no_more_than_the_next_server_can_hold
}

fn resumed(first: Running, config: Config) -> Running {
    let handle = first.handle.clone();
    first.stop(Stop::HandOver);
    let handed = handle.take_handed().unwrap();
    let server = Server::new(config).resume(handed, &Bare { bytes_max: 1000 });
    Running::on(server, |server| server.serve_with(Toy::new))
}

/// More than the kernel takes.
const LONG: usize = 8 << 20;

fn connections_go_on_in_another_server(settings: Settings) {
    let shards = |shards| Config { shards: std::num::NonZeroUsize::new(shards).unwrap(), ..settings() };
    let mut server = Running::start(shards(2));
    let mut clients: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        exchange(client, b"echo hello\n", "hello\n");
    }
    // One has sent half a request, two have not read their answers yet, one of them a long one, and one is being stored
    // from and never ends that.
    clients[0].write_all(b"ec").unwrap();
    let long = "z".repeat(1000);
    let requests = format!("echo {long}\n").repeat(300);
    clients[1].write_all(requests.as_bytes()).unwrap();
    clients[2].write_all(b"store 100\nabc").unwrap();
    let value = vec![b'v'; LONG];
    clients[3].write_all(&[format!("store {LONG} 65536\n").as_bytes(), &value[..]].concat()).unwrap();
    expect(&mut clients[3], &format!("stored {LONG} sum {}\n", LONG * usize::from(b'v')));
    clients[3].write_all(b"load\n").unwrap();
    expect(&mut clients[3], &format!("value {LONG}\n"));
    server.wait_for_at_least(|stats| stats.bytes_read.get(), 300 * 1000 + LONG as u64);
    for shards_then in [2, 1, 3] {
        server = resumed(server, shards(shards_then));
        for client in &mut clients[4..] {
            exchange(client, b"echo again\n", "again\n");
        }
        if shards_then == 2 {
            // As many as before: it goes on counting, and counts none twice.
            assert_eq!(server.total(|stats| stats.connections_total.get()), 50);
            assert!(server.total(|stats| stats.connections.get()) <= 50);
        }
        let mut fresh = server.connect();
        exchange(&mut fresh, b"echo new\n", "new\n");
    }
    exchange(&mut clients[0], b"ho whole\n", "whole\n");
    expect(&mut clients[1], &format!("{long}\n").repeat(300));
    expect(&mut clients[3], &format!("{}\n", String::from_utf8_lossy(&value)));
    exchange(&mut clients[3], b"echo again\n", "again\n");
    clients[2].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(
        matches!(clients[2].read(&mut [0; 10]), Ok(0) | Err(_)),
        "closed: it was in the middle of a request"
    );
}

fn who_does_not_read_takes_along_no_more_than_the_next_server_can_hold(settings: Settings) {
    let config = || Config { buffer_bytes_max: LONG, hand_over_ms: 200, ..settings() };
    let server = Running::start(config());
    let mut behind: [TcpStream; 10] = std::array::from_fn(|_| server.connect());
    let value = vec![b'v'; LONG];
    behind[0].write_all(&[format!("store {LONG} 65536\n").as_bytes(), &value[..]].concat()).unwrap();
    expect(&mut behind[0], &format!("stored {LONG} sum {}\n", LONG * usize::from(b'v')));
    for client in &mut behind {
        client.write_all(b"load\n").unwrap();
        expect(client, &format!("value {LONG}\n"));
    }
    // The others have been served last, and one of them has begun a request.
    let mut others: [TcpStream; 10] = std::array::from_fn(|_| server.connect());
    for client in &mut others {
        exchange(client, b"echo hello\n", "hello\n");
    }
    exchange(&mut others[0], b"echo a\necho beg", "a\n");
    let handle = server.handle.clone();
    let cut = usize::try_from(server.stop(Stop::HandOver).drain_timeouts).unwrap();
    let handed = handle.take_handed().unwrap();
    let taken = handed.connections.iter().filter_map(|carried| carried.packed.as_ref());
    let taken_bytes: usize = taken.map(|packed| packed.input.len() + packed.output.len()).sum();
    assert!(taken_bytes <= LONG / 2 + 10, "{taken_bytes} bytes");
    assert!(cut > 0, "all of them were taken along");
    assert_eq!(handed.connections.len(), 20 - cut);
    let server = Server::new(config()).resume(handed, &Bare { bytes_max: 1000 });
    let _server = Running::on(server, |server| server.serve_with(Toy::new));
    exchange(&mut others[0], b"un\n", "begun\n");
    for client in &mut others {
        exchange(client, b"echo again\n", "again\n");
    }
    let mut rest = vec![0; LONG + 1];
    let whole = behind.iter_mut().filter_map(|client| client.read_exact(&mut rest).ok()).count();
    assert_eq!(whole, 10 - cut, "no answer is cut short without an error");
}

fn who_was_sent_off_comes_back_where_a_hand_over_becomes_a_stop(settings: Settings) {
    let server = Running::start(Config { hand_over_ms: 60_000, drain_ms: 60_000, ..settings() });
    let (mut busy, mut slow) = (server.connect(), server.connect());
    let value = vec![b'v'; LONG];
    slow.write_all(&[format!("store {LONG} 65536\n").as_bytes(), &value[..]].concat()).unwrap();
    expect(&mut slow, &format!("stored {LONG} sum {}\n", LONG * usize::from(b'v')));
    slow.write_all(b"load\n").unwrap();
    expect(&mut slow, &format!("value {LONG}\n"));
    exchange(&mut busy, b"echo a\nstore 4\nvv", "a\n");
    server.handle.stop(Stop::HandOver);
    // The one that is between two requests has gone, with its answer.
    server.wait_for(|stats| stats.connections.get(), 1);
    server.handle.stop(Stop::Gracefully);
    expect(&mut slow, &format!("{}\n", String::from_utf8_lossy(&value)));
    assert_eq!(rest(&mut slow), b"");
    exchange(&mut busy, b"vv", &format!("stored 4 sum {}\n", 4 * usize::from(b'v')));
    assert_eq!(rest(&mut busy), b"");
    let summary = server.stop(Stop::Gracefully);
    assert_eq!((summary.drain_timeouts, summary.connections_total), (0, 2));
}

fn who_waits_for_a_place_gets_none_where_a_hand_over_becomes_a_stop(settings: Settings) {
    let long = 60_000;
    let server =
        Running::start(Config { connections_max: 2, hand_over_ms: long, drain_ms: long, ..settings() });
    let (mut busy, mut idle) = (server.connect(), server.connect());
    exchange(&mut busy, b"echo a\nstore 4\nvv", "a\n");
    exchange(&mut idle, b"echo b\n", "b\n");
    let mut waiting = server.connect();
    server.wait_for_at_least(|stats| stats.accept_pauses.get(), 1);
    server.handle.stop(Stop::HandOver);
    // The idle one has gone, and the one that waits before it.
    server.wait_for(|stats| stats.connections.get(), 1);
    server.handle.stop(Stop::Gracefully);
    assert_eq!((rest(&mut idle), rest(&mut waiting)), (Vec::new(), Vec::new()));
    exchange(&mut busy, b"vv", &format!("stored 4 sum {}\n", 4 * usize::from(b'v')));
    assert_eq!(server.stop(Stop::Gracefully).connections_total, 2);
}

fn a_driver_has_the_turns_to_let_go_that_it_needs(settings: Settings) {
    let config = || Config { hand_over_ms: 0, ..settings() };
    let server = Running::start(config());
    let mut clients: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        exchange(client, b"echo hello\n", "hello\n");
    }
    let _server = resumed(server, config());
    for client in &mut clients {
        exchange(client, b"echo again\n", "again\n");
    }
}

fn nobody_is_served_before_the_first_shard_has_begun(settings: Settings) {
    let shards = std::num::NonZeroUsize::new(3).unwrap();
    let config = || Config { shards, ..settings() };
    let first = Running::start(config());
    let mut clients: Vec<TcpStream> = (0..6).map(|_| first.connect()).collect();
    for client in &mut clients {
        exchange(client, b"echo hello\n", "hello\n");
    }
    let handle = first.handle.clone();
    first.stop(Stop::HandOver);
    let handed = handle.take_handed().unwrap();
    let connections = handed.connections.iter().map(|carried| Carried {
        socket: carried.socket.try_clone().unwrap(),
        listener: carried.listener,
        packed: carried.packed.clone(),
    });
    let copies = handed.listeners.iter().map(|listener| listener.try_clone().unwrap());
    let copy =
        Handed { listeners: copies.collect(), connections: connections.collect(), ..Handed::default() };
    for client in &mut clients {
        client.write_all(b"echo once\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    }
    let begun = AtomicUsize::new(0);
    let failing = Server::new(config()).resume(copy, &Bare { bytes_max: 1000 });
    let ended = failing.try_serve_with(|start| {
        begun.fetch_add(1, Ordering::Relaxed);
        if start.shard != 0 {
            return Ok(Toy::new(start));
        }
        while begun.load(Ordering::Relaxed) < shards.get() {
            std::thread::yield_now();
        }
        // Whoever serves has time to do so.
        for client in &clients {
            let silence = client.peek(&mut [0]).unwrap_err();
            assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
        }
        Err(std::io::Error::other("the first shard fails"))
    });
    assert_eq!(ended.unwrap_err().to_string(), "the first shard fails");
    // All is as it was.
    let server = Server::new(config()).resume(handed, &Bare { bytes_max: 1000 });
    let _server = Running::on(server, |server| server.serve_with(Toy::new));
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        expect(client, "once\n");
        exchange(client, b"echo again\n", "again\n");
    }
}

#[test]
fn the_last_step_waits_for_all_shards_and_is_not_taken_where_one_fails() {
    let shards = std::num::NonZeroUsize::new(3).unwrap();
    for failing in [None, Some(1), Some(2)] {
        let config = Config { shards, ..crate::running::epoll() };
        let (made, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |start: &Start| {
            if start.shard != 0 {
                while made.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
            }
            if Some(start.shard) == failing {
                return Err(std::io::Error::other("a late shard fails"));
            }
            made.fetch_add(1, Ordering::Relaxed);
            Ok(Toy::new(start))
        };
        let ended = Server::new(config).try_serve_begun_by(make, |start, _service| {
            begun.fetch_add(1, Ordering::Relaxed);
            assert_eq!((start.shard, made.load(Ordering::Relaxed)), (0, 3));
            Err(std::io::Error::other("the last step fails"))
        });
        let (why, times) =
            if failing.is_some() { ("a late shard fails", 0) } else { ("the last step fails", 1) };
        assert_eq!(ended.unwrap_err().to_string(), why);
        assert_eq!(begun.load(Ordering::Relaxed), times);
    }
}

#[test]
fn a_server_that_stops_hands_nothing_over() {
    let server = Running::start(crate::running::epoll());
    let (address, handle) = (server.address, server.handle.clone());
    handle.stop(Stop::Gracefully);
    server.stop(Stop::HandOver);
    assert!(handle.take_handed().is_none());
    assert!(TcpStream::connect(address).is_err());
}

fn who_waits_for_a_place_goes_on_waiting_in_another_server(settings: Settings) {
    let narrow = || Config { connections_max: 2, ..settings() };
    let server = Running::start(narrow());
    let mut served = [server.connect(), server.connect()];
    for client in &mut served {
        exchange(client, b"echo hello\n", "hello\n");
    }
    // One has been accepted. The others are in the socket, unless the driver has accepted them as well.
    let mut waiting: [TcpStream; 5] = std::array::from_fn(|_| server.connect());
    for client in &mut waiting {
        client.write_all(b"echo late\n").unwrap();
    }
    server.wait_for_at_least(|stats| stats.accept_pauses.get(), 1);
    // The next one allows fewer: one of those that were served has to wait, too.
    let server = resumed(server, Config { connections_max: 1, ..narrow() });
    let [mut first, second] = served;
    exchange(&mut first, b"echo again\n", "again\n");
    drop(first);
    drop(second);
    for mut client in waiting {
        expect(&mut client, "late\n");
    }
    assert_eq!(server.total(|stats| stats.connections_rejected.get()), 0);
}

#[test]
fn who_is_above_the_limit_of_another_server_is_told_and_counted() {
    let server = Running::start(crate::running::epoll());
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for client in &mut clients {
        exchange(client, b"echo hello\n", "hello\n");
    }
    let refusal = Some(b"too many\n".as_slice());
    let server = resumed(server, Config { connections_max: 1, refusal, ..crate::running::epoll() });
    let [mut kept, refused @ ..] = clients;
    exchange(&mut kept, b"echo again\n", "again\n");
    for mut client in refused {
        expect(&mut client, "too many\n");
    }
    assert_eq!(server.total(|stats| stats.connections_rejected.get()), 2);
}
