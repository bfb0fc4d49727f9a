//! A signal that comes when the first shard, which is to act on it, has not started.
//!
//! Alone in its process, since signals go to all of it.

#[path = "echo/service.rs"]
mod echo;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use mm_server::{Config, ListenAddress, Server};
use rustix::process::{Signal, getpid, kill_process};

use echo::Echo;

#[test]
fn signals_are_caught_before_anybody_is_served() {
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let shards = NonZeroUsize::new(2).unwrap();
    let server = Server::new(Config { shards, ..Config::default() }).listen(&any).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let (start, may_start) = channel();
    let (begins, begun) = channel();
    let may_start = Mutex::new(may_start);
    let thread = std::thread::spawn(move || {
        server.serve_with(|this| {
            begins.send(()).unwrap();
            if this.shard == 0 {
                may_start.lock().unwrap().recv().unwrap();
            }
            Echo
        })
    });
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for _ in 0..shards.get() {
        begun.recv().unwrap();
    }
    kill_process(getpid(), Signal::TERM).unwrap();
    start.send(()).unwrap();
    // The other shard may have accepted it by the time the first one acts on the signal: then it ends, else it is
    // reset.
    match client.read(&mut [0]) {
        Ok(bytes) => assert_eq!(bytes, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    thread.join().unwrap().unwrap();
}
