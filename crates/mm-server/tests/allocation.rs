//! What a request allocates (nothing), and what an idle connection holds.
//!
//! Alone in its process, since the allocator counts for all of it.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_server::{Config, DriverChoice, ListenAddress, Peer, Server, Service, Step, Stop};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 2000;

/// So many rounds of 300 requests in a row have to allocate nothing, within so many rounds.
const ROUNDS_QUIET: usize = 5;
const ROUNDS_MAX: usize = 50;

/// User-space bytes per idle connection that the design allows.
const IDLE_BYTES_MAX: usize = 400;

/// Echoes; with a state of the size that a protocol's would have.
struct Echo;

impl Service for Echo {
    type Connection = [u64; 8];

    fn connect(&mut self, _peer: &Peer) -> [u64; 8] {
        [0; 8]
    }

    fn run(&mut self, _: &mut [u64; 8], input: &[u8], output: &mut Output, _now: Now) -> Step {
        // A request ends with a full stop: what is cut is kept by the server.
        let consumed = input.iter().rposition(|byte| *byte == b'.').map_or(0, |end| end + 1);
        output.write(&input[..consumed]);
        Step::Read { consumed }
    }
}

#[cfg(test)]
fn exchange(client: &mut TcpStream, request: &[u8]) {
    let mut answer = [0; 4096];
    client.write_all(request).unwrap();
    client.read_exact(&mut answer[..request.len()]).unwrap();
}

#[test]
fn requests_allocate_nothing_and_idle_connections_hold_little() {
    for driver in [DriverChoice::Epoll, DriverChoice::Poll, DriverChoice::Uring] {
        check(driver);
    }
}

#[cfg(test)]
fn check(driver: DriverChoice) {
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let config = Config { driver, signals: false, connections_max: CONNECTIONS, ..Config::default() };
    let server = Server::new(config).listen(&any).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Echo));
    let mut clients: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    let connect = || {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        exchange(&mut client, b"hello.");
        client
    };
    clients.push(connect());
    let idle = Region::new(ALLOCATOR);
    for _ in 1..CONNECTIONS {
        clients.push(connect());
    }
    let held = idle.change();
    let held = held.bytes_allocated - held.bytes_deallocated;
    let each = held / (CONNECTIONS - 1);
    println!("{each} bytes per idle connection with {driver:?}");
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes per connection with {driver:?}");
    let long = [&[b'x'; 3000][..], b"."].concat();
    let rounds = |clients: &mut Vec<TcpStream>| {
        for client in clients.iter_mut().take(100) {
            exchange(client, b"short.");
            exchange(client, &long);
            // Cut in the middle.
            client.write_all(b"be").unwrap();
            exchange_rest(client);
        }
    };
    // Which buffers are in use together depends on how the kernel cuts the input, so the pools fill over some rounds.
    let mut quiet = 0;
    for round in 0.. {
        let steady = Region::new(ALLOCATOR);
        rounds(&mut clients);
        let change = steady.change();
        quiet = if change.allocations + change.reallocations == 0 { quiet + 1 } else { 0 };
        if quiet == ROUNDS_QUIET {
            break;
        }
        assert!(round < ROUNDS_MAX, "{driver:?} still allocates after {round} rounds: {change:?}");
    }
    handle.stop(Stop::AtOnce);
    thread.join().unwrap().unwrap();
}

#[cfg(test)]
/// The end of a request that begins with two bytes already sent.
fn exchange_rest(client: &mut TcpStream) {
    let mut answer = [0; 6];
    client.write_all(b"gin").unwrap();
    client.write_all(b".").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"begin.");
}
