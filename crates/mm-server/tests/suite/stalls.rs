//! A task, or a service, that keeps its shard is told of by name.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::task::{Name, Options, spawn_with};
use mm_server::{Config, ListenAddress, Log, Peer, Server, Service, Step, Stop};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose stalls are told to whoever has the receiver, and where it listens.
fn server() -> (Server, SocketAddr, Receiver<String>) {
    let (written, lines) = channel();
    let log = Log::to(move |line| drop(written.send(line.to_owned())));
    let config = Config { signals: false, stall_ms: NonZeroU32::new(20), log, ..Config::default() };
    let server = Server::new(config).listen(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap())).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    (server, address, lines)
}

/// Blocks its thread until it is let go.
fn block(until: &Mutex<Receiver<()>>) {
    until.lock().unwrap().recv().unwrap();
}

/// Has the server stall, and looks at what is said about that while it still does.
fn expect(address: SocketAddr, lines: &Receiver<String>, release: &Sender<()>, wanted: &str) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"stall").unwrap();
    // While it goes on it is told of again, when it has lasted twice as long.
    for _ in 0..2 {
        while !lines.recv_timeout(PATIENCE).unwrap().contains(wanted) {}
    }
    release.send(()).unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn a_task_that_keeps_its_shard_is_named() {
    let (server, address, lines) = server();
    let (release, until) = channel();
    let until = Arc::new(Mutex::new(until));
    let handle = server.handle();
    let thread = std::thread::spawn(move || {
        server.serve(async move |mut stream| {
            let mut space = [0; 5];
            stream.read_exact(&mut space).await?;
            let until = Arc::clone(&until);
            let stalling =
                spawn_with(Options::new().name(Name::new("indexing")), async move { block(&until) });
            stalling.await.unwrap();
            Ok(stream.write_all(&space).await?)
        })
    });
    expect(address, &lines, &release, "shard 0: the task indexing kept its shard for");
    handle.stop(Stop::AtOnce);
    thread.join().unwrap().unwrap();
    // A busy machine may have caused others.
    assert!(handle.stats()[0].stalls.get() >= 1);
}

struct Slow(Arc<Mutex<Receiver<()>>>);

impl Service for Slow {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        block(&self.0);
        output.write(input);
        Step::Read { consumed: input.len() }
    }
}

#[test]
fn a_service_that_keeps_its_shard_is_told_of() {
    let (server, address, lines) = server();
    let (release, until) = channel();
    let until = Arc::new(Mutex::new(until));
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Slow(Arc::clone(&until))));
    expect(address, &lines, &release, "shard 0: the service kept its shard for");
    handle.stop(Stop::AtOnce);
    thread.join().unwrap().unwrap();
    // A busy machine may have caused others.
    assert!(handle.stats()[0].stalls.get() >= 1);
}
