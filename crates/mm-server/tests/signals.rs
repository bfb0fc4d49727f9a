//! The process's signals: a graceful stop, those with a hook, a dump, and reading again.
//!
//! Alone in its process, since signals go to all of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_server::{Config, ListenAddress, Log, Peer, Server, Service, Signal, Step, Stop};
use rustix::process::{Signal as Number, getpid, kill_process};

/// Answers whole lines.
struct Lines;

impl Service for Lines {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        let consumed = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        output.write(&input[..consumed]);
        Step::Read { consumed }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The next line of a log in which this occurs.
#[cfg(test)]
fn line_with(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

/// One after the other, since signals go to the whole process.
#[test]
fn signals_do_what_they_are_for() {
    hooks_and_stops();
    a_stop_during_a_hand_over();
    panics();
    dumps();
    reloads();
}

#[cfg(test)]
fn dumps() {
    let (written, lines) = channel();
    let log = Log::to(move |line| written.send(line.to_owned()).unwrap());
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let server = Server::new(Config { log, ..Config::default() }).listen(&any).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Lines));
    let mut begun = TcpStream::connect(address).unwrap();
    begun.write_all(b"one\ntw").unwrap();
    begun.read_exact(&mut [0; 4]).unwrap();
    kill_process(getpid(), Number::QUIT).unwrap();
    assert!(line_with(&lines, "dump: shard 0").contains("1 connections"));
    let name = begun.local_addr().unwrap().to_string();
    assert!(line_with(&lines, &name).contains("waits for the rest of a request"));
    // A dump is bounded, however many there are.
    let others: Vec<_> = (0..300)
        .map(|_| {
            let mut other = TcpStream::connect(address).unwrap();
            other.write_all(b"one\n").unwrap();
            other.read_exact(&mut [0; 4]).unwrap();
            other
        })
        .collect();
    handle.dump();
    assert!(line_with(&lines, "dump: shard 0").contains("301 connections"));
    let mut shown = 0;
    let last = loop {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        if line.contains(" connections more") {
            break line;
        }
        shown += u32::from(line.contains("connection from"));
    };
    assert_eq!((shown, &*last), (256, "dump: shard 0: and 45 connections more"));
    drop(others);
    kill_process(getpid(), Number::TERM).unwrap();
    drop(begun);
    thread.join().unwrap().unwrap();
}

/// A panic of what a signal is for is told, and the server goes on.
#[cfg(test)]
fn panics() {
    let (written, lines) = channel();
    let log = Log::to(move |line| written.send(line.to_owned()).unwrap());
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let mut times = 0;
    let server = Server::new(Config { log, ..Config::default() }).listen(&any).unwrap().on_signal(
        Signal::User1,
        move |_| {
            times += 1;
            panic!("as asked, {times}");
        },
    );
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Lines));
    let mut client = TcpStream::connect(address).unwrap();
    for time in 1..=2 {
        client.write_all(b"one\n").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        kill_process(getpid(), Number::USR1).unwrap();
        assert!(line_with(&lines, "User1").ends_with(&format!("as asked, {time}")));
    }
    client.write_all(b"one\n").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(handle.stats().iter().map(|stats| stats.panics.get()).sum::<u64>(), 2);
    drop(client);
    kill_process(getpid(), Number::TERM).unwrap();
    thread.join().unwrap().unwrap();
}

#[cfg(test)]
fn reloads() {
    let path = std::env::temp_dir().join(format!("mm-server-log-{}", std::process::id()));
    let renamed = path.with_extension("1");
    let (read, reads) = channel();
    let log = Log::file(&path).unwrap();
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let server = Server::new(Config { log: log.clone(), ..Config::default() })
        .listen(&any)
        .unwrap()
        .on_reload(|| Err("the certificate is unreadable; the old one goes on".to_owned()))
        .on_reload(move || read.send(()).map_err(|error| error.to_string()));
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let thread = std::thread::spawn(move || server.serve_with(|_start| Lines));
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"one\n").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    log.write("before");
    std::fs::rename(&path, &renamed).unwrap();
    kill_process(getpid(), Number::HUP).unwrap();
    reads.recv_timeout(PATIENCE).unwrap();
    log.write("after");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(text(&renamed), "before\n");
    assert_eq!(text(&path), "SIGHUP: the certificate is unreadable; the old one goes on\nafter\n");
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(renamed).unwrap();
    drop(client);
    kill_process(getpid(), Number::TERM).unwrap();
    thread.join().unwrap().unwrap();
}

/// It is the first one, and so a graceful one.
#[cfg(test)]
fn a_stop_during_a_hand_over() {
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let config = Config { hand_over_ms: 60_000, drain_ms: 60_000, ..Config::default() };
    let server = Server::new(config).listen(&any).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Lines));
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"one\ntw").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    handle.stop(Stop::HandOver);
    kill_process(getpid(), Number::TERM).unwrap();
    while TcpStream::connect(address).is_ok() {}
    client.write_all(b"o\n").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"two\n");
    assert_eq!(client.read(&mut answer).unwrap(), 0);
    thread.join().unwrap().unwrap();
}

#[cfg(test)]
fn hooks_and_stops() {
    let (hooked, heard) = channel();
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let server = Server::new(Config { drain_ms: 60_000, ..Config::default() })
        .listen(&any)
        .unwrap()
        .on_signal(Signal::Hangup, move |handle| hooked.send(handle.is_stopping()).unwrap());
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let thread = std::thread::spawn(move || server.serve_with(|_start| Lines));
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = [0; 4];
    client.write_all(b"one\ntw").unwrap();
    client.read_exact(&mut answer).unwrap();

    kill_process(getpid(), Number::HUP).unwrap();
    assert!(!heard.recv_timeout(Duration::from_secs(30)).unwrap());
    client.write_all(b"o\nth").unwrap();
    client.read_exact(&mut answer).unwrap();

    // Gracefully: no new connections, but the request that has begun may end.
    kill_process(getpid(), Number::TERM).unwrap();
    while TcpStream::connect(address).is_ok() {}
    client.write_all(b"r\n").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"thr\n");
    assert_eq!(client.read(&mut answer).unwrap(), 0);
    thread.join().unwrap().unwrap();
}
