//! How the server ends under load, and what ended connections leave behind. Both on each driver.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Client, DRIVERS, Server, eventually, send_signal, status_of, terminate};

/// How long a stop may take: the time that connections have to finish what they have begun.
const STOP_MAX: Duration = Duration::from_secs(5);

const LOADERS: usize = 40;
const VALUE_BYTES: usize = 3_000;

/// Requests that are sent together.
const BATCH: usize = 20;

/// Sends requests, so that some are always under way and one is half sent, until the server is gone. What has been
/// answered must be whole.
fn load(mut stream: TcpStream, answers: &AtomicUsize) {
    let mut requests = b"get value\r\n".repeat(BATCH);
    let begun = requests.len() - 5;
    stream.write_all(&requests[..begun]).unwrap();
    requests.rotate_left(begun);
    let answer =
        [format!("VALUE value 0 {VALUE_BYTES}\r\n"), "v".repeat(VALUE_BYTES), "\r\nEND\r\n".to_owned()];
    let answer = answer.concat().into_bytes();
    let mut received = vec![0; answer.len()];
    loop {
        // It may be gone already, and have answered before.
        stream.write_all(&requests).ok();
        for _ in 0..BATCH {
            let done = read_up_to(&mut stream, &mut received);
            if done == 0 {
                return;
            }
            assert_eq!(done, answer.len(), "an answer was cut short");
            assert!(received == answer, "another answer");
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads until `space` is full or the connection has ended, either way: what was sent last may have crossed the end.
fn read_up_to(stream: &mut TcpStream, space: &mut [u8]) -> usize {
    let mut done = 0;
    while done < space.len() {
        match stream.read(&mut space[done..]) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            read => done += read.unwrap(),
        }
    }
    done
}

fn is_stopped_under_load(driver: &str) {
    let mut server = Server::start(&format!("load-{driver}"), &format!("mmem -p -1 -t 2 --driver {driver}"));
    let mut client = Client::connect(&server);
    assert_eq!(client.ask(format!("set value 0 0 {VALUE_BYTES}\n{}\n", "v".repeat(VALUE_BYTES))), "STORED\n");
    drop(client);
    let answers = AtomicUsize::new(0);
    let connect = |_| TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let streams: Vec<TcpStream> = (0..LOADERS).map(connect).collect();
    thread::scope(|scope| {
        for stream in streams {
            scope.spawn(|| load(stream, &answers));
        }
        eventually(|| (answers.load(Ordering::Relaxed) > 20 * LOADERS).then_some(()));
        let asked = Instant::now();
        terminate(server.child.id());
        let status = server.child.wait().unwrap();
        let took = asked.elapsed();
        assert_eq!(status.code(), Some(0), "{driver}");
        assert!(took < STOP_MAX, "{driver}: the stop took {took:?}");
    });
}

#[test]
fn a_stop_under_load_cuts_no_answer_short() {
    DRIVERS.iter().copied().for_each(is_stopped_under_load);
}

/// How often ten thousand connections may leave more memory behind: the receive buffers of a ring are in memory from
/// their first use on, and how many are in use at a time is chance.
const ATTEMPTS: usize = 4;

/// Connections of a round, all open at a time.
const AT_A_TIME: usize = 250;

/// Opens, uses and closes some connections.
fn churn(server: &Server, rounds: usize) {
    for _ in 0..rounds {
        let mut open: Vec<Client> = (0..AT_A_TIME).map(|_| Client::connect(server)).collect();
        open.iter_mut().for_each(|client| client.send("mg a v\nversion\n"));
        for client in &mut open {
            assert_eq!([client.line(), client.line()], ["EN\n", "VERSION 1.6.45\n"]);
        }
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn anonymous_kib(pid: u32) -> u64 {
    let text = status_of(pid, "RssAnon").unwrap();
    text.trim_end_matches(" kB").parse().unwrap()
}

fn is_left_as_it_was(driver: &str) {
    let server = Server::start(&format!("churn-{driver}"), &format!("mmem -p -1 -t 2 --driver {driver}"));
    let pid = server.child.id();
    let mut only = Client::connect(&server);
    let mut is_alone = || (only.stat("", "curr_connections") == "1").then_some(());
    // Both grow to what is kept for connections to come; with as many connections again they do not.
    churn(&server, 8);
    let mut more_kib = 0;
    for _ in 0..ATTEMPTS {
        eventually(&mut is_alone);
        let (descriptors_before, before_kib) = (descriptors(pid), anonymous_kib(pid));
        churn(&server, 10_000 / AT_A_TIME);
        eventually(&mut is_alone);
        // The driver may close what the server has closed with its next wait.
        eventually(|| (descriptors(pid) <= descriptors_before).then_some(()));
        more_kib = anonymous_kib(pid).saturating_sub(before_kib);
        if more_kib < 128 {
            return;
        }
    }
    panic!("{driver}: {more_kib} KiB more after ten thousand connections");
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    DRIVERS.iter().copied().for_each(is_left_as_it_was);
}

#[test]
fn a_quit_signal_tells_what_the_server_does() {
    let mut server = Server::start("quit", "mmem -p -1");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n");
    send_signal(server.child.id(), "-QUIT");
    let mut line = String::new();
    while !line.contains(" connection from ") {
        line = server.next_line();
        assert!(line.starts_with("mmem: "), "{line}");
    }
    assert!(line.contains("waits for a request (listener 0)"), "{line}");
    assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n", "and it goes on");
}
