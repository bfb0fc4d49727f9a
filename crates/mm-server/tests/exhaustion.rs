//! A process whose descriptors have run out goes on serving, does not spin, and accepts again when there are some.
//!
//! Alone in its process, since the limit is the process's.

#[path = "echo/service.rs"]
mod echo;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mm_server::{Config, DriverChoice, ListenAddress, Server, Stop};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use echo::Echo;

#[cfg(test)]
fn exchange(client: &mut TcpStream) {
    let mut answer = [0; 5];
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut answer).unwrap();
}

#[test]
fn exhausted_descriptors_are_survived() {
    for driver in [DriverChoice::Epoll, DriverChoice::Poll, DriverChoice::Uring] {
        check(driver);
    }
}

#[cfg(test)]
fn check(driver: DriverChoice) {
    // Before the server begins to accept: an operation that goes on keeps the limit that it began with.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let config = Config { driver, signals: false, ..Config::default() };
    let server = Server::new(config).listen(&any).unwrap();
    let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else { panic!("no address") };
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(|_start| Echo));
    let mut first = TcpStream::connect(address).unwrap();
    exchange(&mut first);

    let mut hogs = Vec::new();
    while let Ok(hog) = File::open("/dev/null") {
        hogs.push(hog);
    }
    // One descriptor for the client's end, none for the server's.
    hogs.pop();
    let mut second = TcpStream::connect(address).unwrap();
    second.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    second.write_all(b"hello").unwrap();
    let start = Instant::now();
    while handle.stats()[0].accept_pauses.get() < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "{handle:?}");
        exchange(&mut first);
    }
    // Two pauses lie between three attempts.
    assert!(start.elapsed() >= Duration::from_millis(150), "accepting spins: {handle:?}");
    assert_eq!(handle.stats()[0].connections.get(), 1);

    // One for the second. Then there is none again, and nobody who waits for one.
    hogs.pop();
    let mut answer = [0; 5];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    let (errors, start) = (handle.stats()[0].accept_errors.get(), Instant::now());
    while start.elapsed() < Duration::from_millis(500) {
        exchange(&mut first);
    }
    let more = handle.stats()[0].accept_errors.get() - errors;
    assert!(more <= 2, "{more} accepts failed for nobody: {handle:?}");

    drop(hogs);
    let mut third = TcpStream::connect(address).unwrap();
    exchange(&mut third);
    exchange(&mut first);
    assert!(handle.stats()[0].accept_errors.get() >= 3);
    handle.stop(Stop::AtOnce);
    thread.join().unwrap().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}
