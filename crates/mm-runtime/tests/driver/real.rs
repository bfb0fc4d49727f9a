//! The drivers on real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use mm_base::slab::Key;
use mm_runtime::driver::epoll::EpollDriver;
use mm_runtime::driver::poll::PollDriver;
use mm_runtime::driver::readiness::{Poller, ReadinessDriver, System};
use mm_runtime::driver::{AcceptFailure, Driver, Owner};
use mm_runtime::sys::socket::{ListenAddress, Listener, StreamOptions};
use rustix::net::sockopt;

use crate::suite::World;

/// A driver of the machine's sockets.
pub(crate) trait Real: Driver<Listener = Listener> {
    fn make(options: StreamOptions) -> Self;
}

impl<P: Poller> Real for ReadinessDriver<System<P>> {
    fn make(options: StreamOptions) -> Self {
        Self::new(options).unwrap()
    }
}

/// A driver with TCP over loopback.
pub(crate) struct Tcp<D> {
    driver: D,
    address: Option<SocketAddr>,
}

impl<D: Real> World for Tcp<D> {
    type Driver = D;
    type Peer = TcpStream;

    fn new(small_buffers: bool) -> Self {
        let send_buffer_bytes = small_buffers.then_some(4096);
        let options = StreamOptions { send_buffer_bytes, ..StreamOptions::default() };
        Self { driver: D::make(options), address: None }
    }

    fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    fn listener(&mut self) -> Listener {
        let listener = Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1024).unwrap();
        let ListenAddress::Ip(address) = listener.address() else { panic!("another kind of address") };
        self.address = Some(*address);
        listener
    }

    fn connect(&mut self) -> TcpStream {
        let peer = TcpStream::connect(self.address.unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer
    }

    fn write(&mut self, peer: &mut TcpStream, bytes: &[u8]) {
        peer.write_all(bytes).unwrap();
    }

    fn read(&mut self, peer: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut space = vec![0; bytes];
        let received = peer.read(&mut space).unwrap();
        space.truncate(received);
        space
    }

    fn finish(&mut self, peer: &mut TcpStream) {
        peer.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(&mut self, peer: TcpStream) {
        sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    }
}

mod epoll_tcp {
    crate::driver_suite!(super::Tcp<super::EpollDriver>);
    crate::driver_suite! { super::Tcp<super::EpollDriver>:
        urgent_bytes_keep_nothing_back
        looking_before_sleeping_misses_nothing
        looking_before_sleeping_ends_in_time
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

mod poll_tcp {
    crate::driver_suite!(super::Tcp<super::PollDriver>);
    crate::driver_suite! { super::Tcp<super::PollDriver>:
        urgent_bytes_keep_nothing_back
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

/// Accepted sockets have the options that the driver was made with, and not those of their listener.
pub(crate) fn options_are_set_on_what_is_accepted<D: Real + Driver<Socket = OwnedFd>>() {
    for (nodelay, keepalive) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = Tcp {
            driver: D::make(StreamOptions { nodelay, keepalive, ..Default::default() }),
            address: None,
        };
        let listener = world.listener();
        let inherited = OwnedFd::from(listener.try_clone().unwrap());
        sockopt::set_tcp_nodelay(&inherited, !nodelay).unwrap();
        sockopt::set_socket_keepalive(&inherited, !keepalive).unwrap();
        let listener = world.driver.add_listener(listener, Owner::Work(Key::reserved(1))).unwrap();
        let _peer = world.connect();
        let mut events = Vec::new();
        let accepted = loop {
            if let Some((accepted, _)) = world.driver.accept(listener).unwrap() {
                break accepted;
            }
            world.driver.poll(Some(20_000), &mut events).unwrap();
            assert!(!std::mem::take(&mut events).is_empty(), "nobody has come");
        };
        assert_eq!(sockopt::tcp_nodelay(&accepted), Ok(nodelay));
        assert_eq!(sockopt::socket_keepalive(&accepted), Ok(keepalive));
    }
}

#[test]
fn options_are_set_by_epoll_and_poll() {
    options_are_set_on_what_is_accepted::<EpollDriver>();
    options_are_set_on_what_is_accepted::<PollDriver>();
}

/// A driver with Unix sockets.
pub(crate) struct Unix<D> {
    driver: D,
    path: PathBuf,
}

static PATHS: AtomicU32 = AtomicU32::new(0);

fn new_path() -> PathBuf {
    let number = PATHS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("mm-driver-{}-{number}.sock", std::process::id()))
}

impl<D: Real> World for Unix<D> {
    type Driver = D;
    type Peer = UnixStream;

    fn new(small_buffers: bool) -> Self {
        let send_buffer_bytes = small_buffers.then_some(4096);
        let options = StreamOptions { send_buffer_bytes, ..StreamOptions::default() };
        Self { driver: D::make(options), path: PathBuf::new() }
    }

    fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    fn listener(&mut self) -> Listener {
        std::fs::remove_file(&self.path).ok();
        self.path = new_path();
        Listener::bind(&ListenAddress::Unix(self.path.clone(), 0o700), 1024).unwrap()
    }

    fn connect(&mut self) -> UnixStream {
        let peer = UnixStream::connect(&self.path).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer
    }

    fn write(&mut self, peer: &mut UnixStream, bytes: &[u8]) {
        peer.write_all(bytes).unwrap();
    }

    fn read(&mut self, peer: &mut UnixStream, bytes: usize) -> Vec<u8> {
        let mut space = vec![0; bytes];
        let received = peer.read(&mut space).unwrap();
        space.truncate(received);
        space
    }

    fn finish(&mut self, peer: &mut UnixStream) {
        peer.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(&mut self, peer: UnixStream) {
        drop(peer);
    }
}

impl<D> Drop for Unix<D> {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

mod epoll_unix {
    crate::unix_driver_suite!(super::Unix<super::EpollDriver>);
}

mod poll_unix {
    crate::unix_driver_suite!(super::Unix<super::PollDriver>);
}

#[test]
fn a_port_in_use_is_named() {
    let first = Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1).unwrap();
    let error = Listener::bind(first.address(), 1).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}: address already in use", first.address()));
    first.try_clone().unwrap();
}

#[test]
fn an_ipv6_listener_leaves_the_ipv4_port_alone() {
    let is_left = || {
        let Ok(six) = Listener::bind(&ListenAddress::Ip("[::]:0".parse().unwrap()), 1) else { return true };
        let ListenAddress::Ip(address) = six.address() else { panic!("another kind of address") };
        let four = format!("0.0.0.0:{}", address.port()).parse().unwrap();
        Listener::bind(&ListenAddress::Ip(four), 1).is_ok()
    };
    // The system chose a port that is free for IPv6; for IPv4 another program may have it.
    assert!((0..10).any(|_| is_left()));
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let address = ListenAddress::Unix(new_path(), 0o600);
    let ListenAddress::Unix(path, _) = &address else { panic!("another kind of address") };
    let first = Listener::bind(&address, 1).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    Listener::bind(&address, 1).unwrap_err();
    drop(first);
    drop(Listener::bind(&address, 1).unwrap());
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, "not a socket").unwrap();
    Listener::bind(&address, 1).unwrap_err();
    assert_eq!(std::fs::read(path).unwrap(), b"not a socket");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn failures_to_accept_are_told_apart() {
    let of = |number| AcceptFailure::of(&std::io::Error::from_raw_os_error(number));
    // EMFILE, ENFILE, ENOBUFS, ENOMEM.
    for exhausted in [24, 23, 105, 12] {
        assert_eq!(of(exhausted), AcceptFailure::Exhausted, "{exhausted}");
    }
    // ECONNABORTED, EINTR, EPERM, and what Linux names as errors of the new socket: ENETDOWN, EPROTO, ENOPROTOOPT,
    // EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH.
    for single in [103, 4, 1, 100, 71, 92, 112, 64, 113, 95, 101] {
        assert_eq!(of(single), AcceptFailure::Connection, "{single}");
    }
}

#[test]
fn a_listener_that_is_closed_here_and_open_elsewhere_takes_no_wake_ups() {
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let listener = Listener::bind(&any, 16).unwrap();
    let ListenAddress::Ip(address) = *listener.address() else { panic!("another kind of address") };
    let same = listener.try_clone().unwrap();
    let owner = Owner::Work(Key::reserved(1));
    let (leaving, left) = mpsc::channel();
    let other = std::thread::spawn(move || {
        let mut driver = EpollDriver::make(StreamOptions::default());
        let source = driver.add_listener(same, owner).unwrap();
        driver.close(source);
        leaving.send(driver.waker()).unwrap();
        driver.poll(None, &mut Vec::new()).unwrap();
    });
    let waker = left.recv().unwrap();
    let mut driver = EpollDriver::make(StreamOptions::default());
    let source = driver.add_listener(listener, owner).unwrap();
    for _ in 0..20 {
        let _peer = TcpStream::connect(address).unwrap();
        let mut events = Vec::new();
        driver.poll(Some(20_000), &mut events).unwrap();
        assert!(events.iter().any(|event| event.source == source && event.readable), "not told");
        while driver.accept(source).unwrap().is_some() {}
    }
    waker.wake();
    other.join().unwrap();
}
