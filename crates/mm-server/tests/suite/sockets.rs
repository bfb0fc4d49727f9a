//! The service on real sockets, on each driver of them: what peers do, and what they get.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mm_server::{Config, ListenAddress, Server, Stop, StreamOptions};

use crate::running::{PATIENCE, Running, Settings, exchange, expect, on_each_driver, rest};
use crate::toy::Toy;

fn pieces_of_requests(config: Settings) {
    let server = Running::start(config());
    let input = b"echo one\nrepeat 3 two\nstore 10\n0123456789load\n";
    let answer = "one\ntwo\ntwo\ntwo\nstored 10 sum 525\nvalue 10\n0123456789\n";
    for cut in 1..input.len() {
        let mut client = server.connect();
        client.write_all(&input[..cut]).unwrap();
        client.write_all(&input[cut..]).unwrap();
        expect(&mut client, answer);
    }
    let mut client = server.connect();
    for byte in input {
        client.write_all(&[*byte]).unwrap();
    }
    expect(&mut client, answer);
}

fn whoever_has_had_its_share_goes_on_in_the_next_turn(config: Settings) {
    let server = Running::start(config());
    let mut client = server.connect();
    client.write_all(&b"yield\necho a\n".repeat(100)).unwrap();
    expect(&mut client, &"a\n".repeat(100));
    assert!(server.total(|stats| stats.yields.get()) >= 100);
    client.write_all(b"yield\necho the end\nyield\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"the end\n");
}

fn a_long_answer_to_a_slow_reader_with_tiny_kernel_buffers(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let server = Running::start(Config { stream, ..config() });
    let mut client = server.connect();
    client.write_all(b"repeat 200000 0123456789\necho end\n").unwrap();
    let mut received = Vec::new();
    let mut space = [0; 1000];
    while !received.ends_with(b"end\n") {
        let bytes = client.read(&mut space).unwrap();
        received.extend_from_slice(&space[..bytes]);
    }
    assert_eq!(received.len(), 200_000 * 11 + 4);
    assert!(received.chunks(11).take(200_000).all(|line| line == b"0123456789\n"));
}

fn a_large_upload_and_its_download(config: Settings) {
    let server = Running::start(config());
    let mut client = server.connect();
    let value: Vec<u8> = (0..5_000_000_u32).map(|i| u8::try_from(i % 253).unwrap()).collect();
    let sum: u64 = value.iter().map(|byte| u64::from(*byte)).sum();
    client.write_all(b"store 5000000\n").unwrap();
    client.write_all(&value).unwrap();
    expect(&mut client, &format!("stored 5000000 sum {sum}\n"));
    client.write_all(b"load\n").unwrap();
    expect(&mut client, "value 5000000\n");
    let mut received = vec![0; value.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == value);
    expect(&mut client, "\n");
}

fn large_uploads_one_behind_the_other(config: Settings) {
    let server = Running::start(config());
    let mut clients: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
    let requests = [b"store 65536\n".to_vec(), vec![1; 65536]].concat().repeat(20);
    let sending: Vec<_> = clients
        .iter()
        .map(|client| {
            let (mut client, requests) = (client.try_clone().unwrap(), requests.clone());
            std::thread::spawn(move || client.write_all(&requests).unwrap())
        })
        .collect();
    for client in &mut clients {
        expect(client, &"stored 65536 sum 65536\n".repeat(20));
    }
    sending.into_iter().for_each(|thread| thread.join().unwrap());
}

fn half_a_close_still_gets_all_answers(config: Settings) {
    let server = Running::start(config());
    let mut client = server.connect();
    client.write_all(b"repeat 100000 0123456789\necho cut").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client).len(), 100_000 * 11);
    server.wait_for(|stats| stats.connections.get(), 0);
}

fn data_and_end_at_once(config: Settings) {
    let server = Running::start(config());
    for _ in 0..50 {
        let mut client = server.connect();
        client.write_all(b"echo last\nquit\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut client), b"last\n");
    }
}

fn a_reset_in_the_middle_hurts_nobody_else(config: Settings) {
    let server = Running::start(config());
    let mut other = server.connect();
    let post = "post x\necho still here\n";
    let mut sent = 0;
    for request in [&b"store 100000\nabc"[..], b"repeat 1000000 x\n", b"echo ", b"wait\n"] {
        let mut client = server.connect();
        client.write_all(request).unwrap();
        // What is parked does not notice that its peer has gone: it has to be parked before the post.
        sent += request.len() as u64;
        server.wait_for_at_least(|stats| stats.bytes_read.get(), sent);
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        exchange(&mut other, post.as_bytes(), "ok\nstill here\n");
        sent += post.len() as u64;
        server.wait_for(|stats| stats.connections.get(), 1);
    }
}

fn those_who_never_read_are_bounded_in_memory_and_closed(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let buffer_bytes_max = 1 << 20;
    let server = Running::start(Config { stream, buffer_bytes_max, ..config() });
    let mut greedy: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.write_all(b"repeat 100000000 0123456789\n").unwrap();
    }
    // Fifty outputs at their cap do not fit, so some must go for this one to be served.
    let mut modest = server.connect();
    for _ in 0..100 {
        exchange(&mut modest, b"echo me too\n", "me too\n");
    }
    server.wait_for_at_least(|stats| stats.memory_timeouts.get(), 1);
    assert!(server.total(|stats| stats.connections.get()) > 1);
}

fn those_who_never_read_are_closed_in_time(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let server = Running::start(Config { stream, write_timeout_ms: Some(50), ..config() });
    let mut greedy = server.connect();
    greedy.write_all(b"repeat 100000000 0123456789\n").unwrap();
    server.wait_for(|stats| stats.write_timeouts.get(), 1);
    server.wait_for(|stats| stats.connections.get(), 0);
}

fn the_silent_are_closed_in_time_and_the_talkative_are_not(config: Settings) {
    let server = Running::start(Config { idle_timeout_ms: Some(500), ..config() });
    let mut silent = server.connect();
    let mut talkative = server.connect();
    exchange(&mut silent, b"echo once\n", "once\n");
    while server.total(|stats| stats.idle_timeouts.get()) == 0 {
        exchange(&mut talkative, b"echo again\n", "again\n");
    }
    assert_eq!(rest(&mut silent), b"");
    exchange(&mut talkative, b"echo still\n", "still\n");
}

fn a_thousand_connections(config: Settings) {
    let server = Running::start(Config { connections_max: 2000, ..config() });
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| server.connect()).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.write_all(format!("echo {round}\n").as_bytes()).unwrap();
        }
        for client in &mut clients {
            expect(client, &format!("{round}\n"));
        }
    }
    assert_eq!(server.total(|stats| stats.connections.get()), 1000);
    drop(clients);
    server.wait_for(|stats| stats.connections.get(), 0);
    assert_eq!(server.stop(Stop::Gracefully).connections_total, 1000);
}

fn a_panic_ends_its_connection_and_nothing_else(config: Settings) {
    let server = Running::start(config());
    let mut other = server.connect();
    for round in 1..=3 {
        let mut client = server.connect();
        client.write_all(b"echo before\npanic\necho after\n").unwrap();
        let mut received = Vec::new();
        // The answer before it goes with the connection, which may end in a reset.
        let _ended = client.read_to_end(&mut received);
        assert!(received.is_empty() || received == b"before\n");
        exchange(&mut other, b"echo alive\n", "alive\n");
        assert_eq!(server.total(|stats| stats.panics.get()), round);
    }
    server.wait_for(|stats| stats.connections.get(), 1);
}

fn above_the_limit_connections_wait(config: Settings) {
    let server = Running::start(Config { connections_max: 2, ..config() });
    let mut first = server.connect();
    let mut second = server.connect();
    exchange(&mut first, b"echo 1\n", "1\n");
    exchange(&mut second, b"echo 2\n", "2\n");
    let mut third = server.connect();
    third.write_all(b"echo 3\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(third.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(first);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut third, "3\n");
    server.wait_for_at_least(|stats| stats.accept_pauses.get(), 1);
}

fn above_the_limit_connections_are_told(config: Settings) {
    let refusal = Some(&b"ERROR Too many open connections\r\n"[..]);
    let server = Running::start(Config { connections_max: 1, refusal, ..config() });
    let mut first = server.connect();
    exchange(&mut first, b"echo 1\n", "1\n");
    assert_eq!(rest(&mut server.connect()), b"ERROR Too many open connections\r\n");
    assert_eq!(server.total(|stats| stats.connections_rejected.get()), 1);
    drop(first);
    server.wait_for(|stats| stats.connections.get(), 0);
    exchange(&mut server.connect(), b"echo 2\n", "2\n");
}

fn a_firehose_does_not_starve_the_others(config: Settings) {
    let server = Running::start(config());
    let mut hose = server.connect();
    let mut drain = hose.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let lines = b"echo x\n".repeat(10_000);
        while hose.write_all(&lines).is_ok() {}
    });
    let reader = std::thread::spawn(move || {
        let mut space = vec![0; 1 << 16];
        while drain.read(&mut space).is_ok_and(|bytes| bytes > 0) {}
    });
    let mut modest = server.connect();
    for _ in 0..200 {
        exchange(&mut modest, b"tick 1\n", "tock\n");
    }
    server.wait_for_at_least(|stats| stats.yields.get(), 1);
    server.stop(Stop::AtOnce);
    writer.join().unwrap();
    reader.join().unwrap();
}

fn a_graceful_stop_lets_requests_finish(config: Settings) {
    let server = Running::start(config());
    let mut idle = server.connect();
    exchange(&mut idle, b"echo idle\n", "idle\n");
    let mut uploading = server.connect();
    exchange(&mut uploading, b"echo go\nstore 10\n01234", "go\n");
    let mut reading = server.connect();
    reading.write_all(b"repeat 500000 0123456789\n").unwrap();
    expect(&mut reading, "0123456789\n");
    server.handle.stop(Stop::Gracefully);
    assert_eq!(rest(&mut idle), b"");
    exchange(&mut uploading, b"56789", "stored 10 sum 525\n");
    assert_eq!(rest(&mut uploading), b"");
    assert_eq!(rest(&mut reading).len(), 499_999 * 11);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn a_graceful_stop_has_a_deadline(config: Settings) {
    let server = Running::start(Config { drain_ms: 50, ..config() });
    let mut stuck = server.connect();
    exchange(&mut stuck, b"echo go\nstore 10\n01234", "go\n");
    let summary = server.stop(Stop::Gracefully);
    assert_eq!(summary.drain_timeouts, 1);
}

/// Those who have not read, and whose last answer found little or no room in the kernel.
fn a_graceful_stop_sends_what_has_been_answered(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let server = Running::start(Config { stream, linger_ms: 0, ..config() });
    let written = || usize::try_from(server.total(|stats| stats.bytes_written.get())).unwrap();
    let answer_bytes = 350 * 11;
    // As many answers as the server gets rid of at most.
    let ask = |answers_max: usize| {
        let (mut client, before) = (server.connect(), written());
        for asked in 1..=answers_max {
            client.write_all(b"repeat 350 0123456789\n").unwrap();
            let begun = Instant::now();
            while written() < before + asked * answer_bytes {
                if begun.elapsed() > Duration::from_millis(200) {
                    return (client, asked);
                }
            }
        }
        (client, answers_max)
    };
    // Nobody is left who keeps the shard until all of this has been read.
    let full = ask(10_000).1;
    server.wait_for(|stats| stats.connections.get(), 0);
    let clients: Vec<_> = (full.saturating_sub(4)..full).map(ask).collect();
    server.handle.stop(Stop::Gracefully);
    for (mut client, asked) in clients {
        assert_eq!(
            rest(&mut client).len(),
            asked * answer_bytes,
            "of {asked} answers, {full} fill the kernel"
        );
    }
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn shards_share_the_connections(config: Settings) {
    let shards = NonZeroUsize::new(3).unwrap();
    let server = Running::start(Config { shards, ..config() });
    let mut clients: Vec<TcpStream> = (0..30).map(|_| server.connect()).collect();
    for client in &mut clients {
        exchange(client, b"echo hello\n", "hello\n");
    }
    let counts: Vec<u64> = server.handle.stats().iter().map(|stats| stats.connections.get()).collect();
    assert_eq!(counts, [10, 10, 10]);
    drop(clients);
    server.wait_for(|stats| stats.connections.get(), 0);
    let summary = server.stop(Stop::Gracefully);
    assert_eq!(summary.connections_total, 30);
}

/// The shard that serves a client.
fn shard_of(client: &mut TcpStream) -> u8 {
    client.write_all(b"where\n").unwrap();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    answer[0]
}

fn a_busy_shard_gives_connections_to_an_idle_one(config: Settings) {
    let shards = NonZeroUsize::new(2).unwrap();
    let server = Running::start(Config { shards, ..config() });
    let mut clients: Vec<TcpStream> = (0..32).map(|_| server.connect()).collect();
    let (mut busy, mut idle): (Vec<_>, Vec<_>) =
        clients.drain(..).partition(|client| shard_of(&mut client.try_clone().unwrap()) == b'0');
    assert_eq!((busy.len(), idle.len()), (16, 16));
    let start = Instant::now();
    let mut round = 0_u32;
    while server.total(|stats| stats.connections_moved.get()) < 4 {
        round += 1;
        for client in &mut busy {
            client.write_all(format!("echo {round}\n").as_bytes()).unwrap();
        }
        for client in &mut busy {
            expect(client, &format!("{round}\n"));
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", server.handle);
    }
    // Wherever they are now, they are whole, and counted once.
    let moved = busy.iter_mut().map(shard_of).filter(|shard| *shard == b'1').count();
    assert!((4..16).contains(&moved), "{moved}");
    let counts: Vec<u64> = server.handle.stats().iter().map(|stats| stats.connections.get()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 32);
    for client in busy.iter_mut().chain(&mut idle) {
        exchange(client, b"echo still here\n", "still here\n");
    }
    drop((busy, idle));
    server.wait_for(|stats| stats.connections.get(), 0);
    assert_eq!(server.stop(Stop::Gracefully).connections_total, 32);
}

fn unix_sockets_serve_too_and_their_server_removes_them(config: Settings) {
    let server = Server::new(config());
    let driver = server.driver();
    let path = std::env::temp_dir().join(format!("mm-server-{}-{driver}.sock", std::process::id()));
    let server = server.listen(&ListenAddress::Unix(path.clone(), 0o700)).unwrap();
    assert_eq!(server.to_string(), format!("listening on {} (driver {driver}, 1 shard)", path.display()));
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(Toy::new));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"echo unix\nquit\n").unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"unix\n");
    // A client that waits keeps the server from ending, while another one takes its place.
    let mut waiting = UnixStream::connect(&path).unwrap();
    waiting.write_all(b"echo here\nwait\n").unwrap();
    waiting.read_exact(&mut [0; 5]).unwrap();
    handle.stop(Stop::Gracefully);
    let start = Instant::now();
    while UnixStream::connect(&path).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it still listens");
        std::thread::yield_now();
    }
    let next = Server::new(config()).listen(&ListenAddress::Unix(path.clone(), 0o700)).unwrap();
    handle.stop(Stop::AtOnce);
    thread.join().unwrap().unwrap();
    let handle = next.handle();
    let thread = std::thread::spawn(move || next.serve_with(Toy::new));
    UnixStream::connect(&path).expect("the next server can be reached");
    handle.stop(Stop::Gracefully);
    thread.join().unwrap().unwrap();
    assert!(!path.exists());
}

on_each_driver! {
    pieces_of_requests
    whoever_has_had_its_share_goes_on_in_the_next_turn
    a_long_answer_to_a_slow_reader_with_tiny_kernel_buffers
    a_large_upload_and_its_download
    large_uploads_one_behind_the_other
    half_a_close_still_gets_all_answers
    data_and_end_at_once
    a_reset_in_the_middle_hurts_nobody_else
    those_who_never_read_are_bounded_in_memory_and_closed
    those_who_never_read_are_closed_in_time
    the_silent_are_closed_in_time_and_the_talkative_are_not
    a_thousand_connections
    a_panic_ends_its_connection_and_nothing_else
    above_the_limit_connections_wait
    above_the_limit_connections_are_told
    a_firehose_does_not_starve_the_others
    a_graceful_stop_lets_requests_finish
    a_graceful_stop_has_a_deadline
    a_graceful_stop_sends_what_has_been_answered
    shards_share_the_connections
    a_busy_shard_gives_connections_to_an_idle_one
    unix_sockets_serve_too_and_their_server_removes_them
}
