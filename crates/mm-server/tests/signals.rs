//! The process's signals: a graceful stop, a stop at once, and those with a hook.
//!
//! Alone in its process, since signals go to all of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_server::{Config, ListenAddress, Peer, Server, Service, Signal, Step};
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

#[test]
fn signals_do_what_they_are_for() {
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
