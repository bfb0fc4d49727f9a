//! Sockets for tasks: [`Listener`], [`Stream`] with its halves and [`BufferedReader`], and [`Datagrams`].
//!
//! The calls read as if they blocked. Each tries first and waits only if it must. What ends a wait early is an error of
//! its own kind and leaves the connection usable: [`TimedOut`](io::ErrorKind::TimedOut) after the time set on the half
//! passed without any progress, [`Interrupted`](io::ErrorKind::Interrupted) when the task was interrupted. A whole read
//! or write that fails says how much is left.
//!
//! Sockets belong to the shard of the task that made them.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use mm_base::buffer::{Output, Pool};

use crate::driver::sockets::Sockets;
use crate::driver::{Address, Received, Sent, SourceId};
use crate::executor::Executor;
use crate::shard::Io;
use crate::sys::socket::ListenAddress;
use crate::task::{Interrupted, raw, take_interrupt};
use crate::timers::{Elapsed, Sleep, now};

mod buffered;
mod datagrams;
mod listener;
mod stream;

pub use crate::driver::sockets::Endpoint;
pub use buffered::BufferedReader;
pub use datagrams::Datagrams;
pub use listener::Listener;
pub use stream::{Incomplete, ReadHalf, Stream, WriteHalf};

/// A shard's driver and pool as tasks use them, whatever the driver's type.
pub(crate) trait Net {
    fn pool(&self) -> &Pool;
    fn listen(&self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)>;
    fn accept(&self, listener: SourceId) -> io::Result<Option<(SourceId, Address)>>;
    fn connect(&self, endpoint: &Endpoint) -> io::Result<SourceId>;
    fn connected(&self, stream: SourceId) -> io::Result<bool>;
    fn may_have_input(&self, stream: SourceId) -> bool;
    fn receive(&self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>>;
    fn send(&self, stream: SourceId, output: &mut Output) -> io::Result<Sent>;
    fn shutdown_output(&self, stream: SourceId) -> io::Result<()>;
    fn close(&self, source: SourceId);
    fn reset(&self, stream: SourceId);
    fn bind_datagram(&self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)>;
    fn receive_from(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>>;
    fn send_to(&self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool>;
    fn wait(&self, source: SourceId, direction: Direction, waker: &Waker);
}

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Input,
    Output,
}

struct ShardNet<D> {
    io: Io<D>,
    pool: Pool,
}

impl<D: Sockets> Net for ShardNet<D> {
    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn listen(&self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)> {
        self.io.driver().listen(address, backlog)
    }

    fn accept(&self, listener: SourceId) -> io::Result<Option<(SourceId, Address)>> {
        let mut driver = self.io.driver();
        let Some((socket, peer)) = driver.accept(listener)? else { return Ok(None) };
        Ok(Some((driver.add_stream(socket, crate::driver::Owner::Task)?, peer)))
    }

    fn connect(&self, endpoint: &Endpoint) -> io::Result<SourceId> {
        self.io.driver().connect(endpoint)
    }

    fn connected(&self, stream: SourceId) -> io::Result<bool> {
        self.io.driver().connected(stream)
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.io.driver().may_have_input(stream)
    }

    fn receive(&self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        self.io.driver().receive_into(stream, space)
    }

    fn send(&self, stream: SourceId, output: &mut Output) -> io::Result<Sent> {
        self.io.driver().send(stream, output)
    }

    fn shutdown_output(&self, stream: SourceId) -> io::Result<()> {
        self.io.driver().shutdown_output(stream)
    }

    fn close(&self, source: SourceId) {
        self.io.close(source);
    }

    fn reset(&self, stream: SourceId) {
        self.io.driver().reset(stream);
        self.io.close(stream);
    }

    fn bind_datagram(&self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)> {
        self.io.driver().bind_datagram(address)
    }

    fn receive_from(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        self.io.driver().receive_from(socket, space)
    }

    fn send_to(&self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        self.io.driver().send_to(socket, bytes, to)
    }

    fn wait(&self, source: SourceId, direction: Direction, waker: &Waker) {
        match direction {
            Direction::Input => self.io.wake_when_readable(source, waker),
            Direction::Output => self.io.wake_when_writable(source, waker),
        }
    }
}

/// Lets the tasks of `executor` use the sockets of the driver behind `io`, with buffers of `pool`.
pub fn attach<D: Sockets + 'static>(executor: &Executor, io: Io<D>, pool: Pool) {
    executor.set_net(Rc::new(ShardNet { io, pool }));
}

/// The present shard's sockets.
fn current() -> io::Result<Rc<dyn Net>> {
    raw::with_current(|local| local.and_then(|local| local.net.borrow().clone()))
        .ok_or_else(|| io::Error::other("there are no sockets outside a shard's tasks"))
}

/// A source and its net, closed when the last handle is dropped.
struct Handle {
    net: Rc<dyn Net>,
    source: SourceId,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.net.close(self.source);
    }
}

/// What a try came to.
enum Tried<T> {
    Done(T),
    /// It must wait, but has got somewhere since the last try.
    Progress,
    /// It must wait.
    Blocked,
}

/// How long one direction of a socket may wait.
#[derive(Debug)]
struct Patience {
    timeout_ms: Option<u64>,
    /// Stays armed between calls: moving it later is cheaper than setting it anew.
    sleep: Sleep,
}

impl Patience {
    fn new() -> Self {
        Self { timeout_ms: None, sleep: Sleep::until(0) }
    }

    /// Tries until it is done, waiting for `direction` between tries.
    async fn retry<T>(
        &mut self,
        handle: &Handle,
        direction: Direction,
        mut attempt: impl FnMut(&dyn Net, SourceId) -> io::Result<Tried<T>>,
    ) -> io::Result<T> {
        let mut waiting = false;
        std::future::poll_fn(|context| {
            match attempt(&*handle.net, handle.source) {
                Ok(Tried::Done(value)) => return Poll::Ready(Ok(value)),
                Ok(Tried::Progress) => waiting = false,
                Ok(Tried::Blocked) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if take_interrupt() {
                return Poll::Ready(Err(Interrupted.into()));
            }
            if let Some(timeout_ms) = self.timeout_ms {
                if !waiting {
                    self.sleep.reset(now().monotonic_ms.saturating_add(timeout_ms));
                    waiting = true;
                }
                if self.sleep.poll_elapsed(context).is_ready() {
                    return Poll::Ready(Err(Elapsed.into()));
                }
            }
            handle.net.wait(handle.source, direction, context.waker());
            Poll::Pending
        })
        .await
    }
}

/// The internet addresses of a name such as `localhost:11211`, looked up on the offload pool.
///
/// # Errors
/// The name is unknown, the offload pool is full, or the task was interrupted.
pub async fn look_up(name: impl Into<String>) -> io::Result<Vec<SocketAddr>> {
    let name = name.into();
    let found = crate::offload::run(move || {
        std::net::ToSocketAddrs::to_socket_addrs(&name).map(Iterator::collect::<Vec<_>>)
    });
    found.await?
}
