//! A server on a thread of its own, and clients of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mm_server::{Config, DriverChoice, Handle, ListenAddress, Server, Stats, Stop, Summary};

use crate::toy::Toy;

/// Long enough for anything to happen on a busy machine; what takes longer is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<std::io::Result<Summary>>>,
}

/// Makes the settings of most tests, with the driver that they are asked of.
pub(crate) type Settings = fn() -> Config;

/// No signals, since the tests share a process.
pub(crate) fn config() -> Config {
    Config { signals: false, ..Config::default() }
}

/// On epoll.
pub(crate) fn epoll() -> Config {
    Config { driver: DriverChoice::Epoll, ..config() }
}

/// On poll.
pub(crate) fn poll() -> Config {
    Config { driver: DriverChoice::Poll, ..config() }
}

/// On `io_uring`, where there is that.
pub(crate) fn uring() -> Config {
    Config { driver: DriverChoice::Uring, ..config() }
}

/// Makes tests of these functions, for each driver of the machine's sockets.
macro_rules! on_each_driver {
    ($($test:ident)*) => {
        mod epoll {
            $(#[test]
            fn $test() {
                super::$test($crate::running::epoll);
            })*
        }

        mod poll {
            $(#[test]
            fn $test() {
                super::$test($crate::running::poll);
            })*
        }

        mod uring {
            $(#[test]
            fn $test() {
                super::$test($crate::running::uring);
            })*
        }
    };
}
pub(crate) use on_each_driver;

impl Running {
    /// Serves [`Toy`] on a port of the system's choice.
    pub(crate) fn start(config: Config) -> Self {
        Self::of(config, |server| server.serve_with(Toy::new))
    }

    /// Serves whatever `serve` does on a port of the system's choice.
    pub(crate) fn of(
        config: Config,
        serve: impl FnOnce(Server) -> std::io::Result<Summary> + Send + 'static,
    ) -> Self {
        let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
        Self::on(Server::new(config).listen(&any).unwrap(), serve)
    }

    /// Serves whatever `serve` does where this server listens.
    pub(crate) fn on(
        server: Server,
        serve: impl FnOnce(Server) -> std::io::Result<Summary> + Send + 'static,
    ) -> Self {
        let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else {
            panic!("no address")
        };
        let handle = server.handle();
        let thread = Some(std::thread::spawn(move || serve(server)));
        Self { address, handle, thread }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// A counter, over all shards.
    pub(crate) fn total(&self, of: fn(&Stats) -> u64) -> u64 {
        self.handle.stats().iter().map(of).sum()
    }

    /// Waits until a counter has this value.
    pub(crate) fn wait_for(&self, of: fn(&Stats) -> u64, value: u64) {
        let start = Instant::now();
        while self.total(of) != value {
            assert!(start.elapsed() < PATIENCE, "{} instead of {value}: {:?}", self.total(of), self.handle);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a counter has reached this value.
    pub(crate) fn wait_for_at_least(&self, of: fn(&Stats) -> u64, value: u64) {
        let start = Instant::now();
        while self.total(of) < value {
            assert!(start.elapsed() < PATIENCE, "{} of {value}: {:?}", self.total(of), self.handle);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a stop that was asked for has begun.
    pub(crate) fn wait_for_stop(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "still listening: {:?}", self.handle);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn stop(mut self, how: Stop) -> Summary {
        self.handle.stop(how);
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop(Stop::AtOnce);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Sends `request` and receives an answer of exactly `answer`'s length, which must be `answer`.
pub(crate) fn exchange(client: &mut TcpStream, request: &[u8], answer: &str) {
    client.write_all(request).unwrap();
    expect(client, answer);
}

/// Receives exactly `answer`.
pub(crate) fn expect(client: &mut TcpStream, answer: &str) {
    let mut received = vec![0; answer.len()];
    client.read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8_lossy(&received), answer);
}

/// Receives until the end, which must come.
pub(crate) fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    received
}
