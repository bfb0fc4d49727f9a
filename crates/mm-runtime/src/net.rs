//! Sockets for tasks: [`Listener`], [`Stream`] with its halves, [`BufferedReader`] and [`BufferedWriter`],
//! [`Datagrams`] and [`UnixDatagrams`].
//!
//! The calls read as if they blocked. Each tries first and waits only if it must. What ends a wait early is an error of
//! its own kind and leaves the connection usable: [`TimedOut`](io::ErrorKind::TimedOut) after the time set on the half
//! passed without any progress, [`Interrupted`](io::ErrorKind::Interrupted) when the task was interrupted. A whole read
//! or write that fails says how much is left. A task that never has to wait is made to, now and then, so that others
//! run.
//!
//! A call may be given up, which is to drop its future, as [`timeout`](crate::timers::timeout) and
//! [`select`](crate::sync::select) do. Of what was to be read nothing is lost by that, but for what a `read_exact` has
//! put into the caller's memory by then. A `write_all` given up in its middle breaks its half. The first write after a
//! receive may let a few tasks that are ready go on first; those two ask it once more then, while other combinators may
//! give it up before it has begun.
//!
//! Sockets belong to the shard of the task that made them.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;

use mm_base::buffer::{Output, Pool};

use crate::driver::sockets::Sockets;
use crate::driver::{Address, Pieces, Received, Sent, SourceId};
use crate::executor::Executor;
use crate::limits::{OUTPUTS_KEPT_MAX, WRITE_QUEUE_BYTES};
use crate::shard::{Io, Shared};
use crate::sys::socket::ListenAddress;
use crate::task::raw;

mod buffered;
mod buffers;
mod datagrams;
mod handle;
mod linger;
mod listener;
mod served;
pub(crate) mod share;
#[cfg(test)]
mod size_tests;
mod stream;
mod write;
mod writer;

pub use crate::driver::sockets::Endpoint;
pub use buffered::BufferedReader;
pub use datagrams::{Datagrams, UnixDatagrams};
pub use linger::{linger, lingering};
pub use listener::Listener;
pub use served::{Ledger, Served, Watch};
pub use stream::{Incomplete, ReadHalf, Stream, WriteHalf};
pub use write::is_write_timeout;
pub use writer::BufferedWriter;

use buffers::{Buffers, Fill};
use handle::{Handle, Tried};
use served::Note;

/// The length of a datagram, and the path of its sender unless that is nameless.
type UnixReceived = (usize, Option<PathBuf>);

/// What the sockets of a shard's tasks have in common.
///
/// What every request needs comes first, to lie in few cache lines.
#[repr(C)]
pub(crate) struct Net {
    driver: Rc<dyn Calls>,
    /// See [`Driver::sends_at_once`].
    sends_at_once: bool,
    buffers: Buffers,
    /// What served streams note for their server.
    note: Note,
    #[expect(clippy::vec_box, reason = "a stream has room for a pointer only")]
    outputs: RefCell<Vec<Box<Output>>>,
}

impl Net {
    /// An empty output; streams have one only while they write.
    fn take_output(&self) -> Box<Output> {
        let kept = self.outputs.borrow_mut().pop();
        kept.unwrap_or_else(|| Box::new(Output::new(&self.buffers.pool, WRITE_QUEUE_BYTES)))
    }

    fn put_output(&self, mut output: Box<Output>) {
        output.clear();
        let mut outputs = self.outputs.borrow_mut();
        if outputs.len() < OUTPUTS_KEPT_MAX {
            outputs.push(output);
        }
    }
}

/// The calls of a shard's driver that tasks make, whatever the driver's type. Those of every request come first, for
/// their addresses to lie together.
trait Calls {
    fn fill(&self, stream: SourceId, fill: Fill<'_>) -> io::Result<Tried<usize>>;
    fn send_bytes(&self, stream: SourceId, bytes: &mut &[u8]) -> io::Result<Sent>;
    fn wait(&self, source: SourceId, direction: Direction, waker: &Waker);
    fn receive(&self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>>;
    fn send(&self, stream: SourceId, output: &mut Output) -> io::Result<Sent>;
    fn listen(&self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)>;
    fn accept(&self, listener: SourceId) -> io::Result<Option<(SourceId, Address)>>;
    fn connect(&self, endpoint: &Endpoint) -> io::Result<SourceId>;
    fn connected(&self, stream: SourceId) -> io::Result<bool>;
    fn local_address(&self, stream: SourceId) -> Option<Address>;
    /// True, too, where the driver cannot be asked.
    fn may_have_input(&self, stream: SourceId) -> bool;
    fn send_pieces(&self, stream: SourceId, pieces: &mut Pieces<'_>) -> io::Result<Sent>;
    fn shutdown_output(&self, stream: SourceId) -> io::Result<()>;
    fn close(&self, source: SourceId);
    fn reset(&self, stream: SourceId);
    fn bind_datagram(&self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)>;
    fn receive_from(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>>;
    fn send_to(&self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool>;
    fn bind_unix_datagram(&self, name: Option<(&Path, u32)>) -> io::Result<SourceId>;
    fn receive_from_unix(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<UnixReceived>>;
    fn send_to_unix(&self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool>;
    /// Wakes whoever waits for the source.
    fn wake(&self, source: SourceId);
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Input,
    Output,
}

impl<D: Sockets> Calls for Shared<D> {
    fn fill(&self, stream: SourceId, fill: Fill<'_>) -> io::Result<Tried<usize>> {
        let mut driver = self.driver();
        if driver.may_have_input(stream) {
            return fill.receive(&mut *driver, stream);
        }
        // A waker that this replaces may close a source.
        drop(driver);
        Self::wait(self, stream, Direction::Input, fill.waker);
        fill.settle();
        Ok(Tried::Waits)
    }

    fn listen(&self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)> {
        self.driver().listen(address, backlog)
    }

    fn accept(&self, listener: SourceId) -> io::Result<Option<(SourceId, Address)>> {
        let mut driver = self.driver();
        let Some((socket, peer)) = driver.accept(listener)? else { return Ok(None) };
        Ok(Some((driver.add_stream(socket, crate::driver::Owner::Task)?, peer)))
    }

    fn connect(&self, endpoint: &Endpoint) -> io::Result<SourceId> {
        self.driver().connect(endpoint)
    }

    fn connected(&self, stream: SourceId) -> io::Result<bool> {
        self.driver().connected(stream)
    }

    fn local_address(&self, stream: SourceId) -> Option<Address> {
        self.driver().local_address(stream)
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.free_driver().is_none_or(|driver| driver.may_have_input(stream))
    }

    fn receive(&self, stream: SourceId, space: &mut [u8]) -> io::Result<Received<usize>> {
        self.driver().receive_into(stream, space)
    }

    fn send(&self, stream: SourceId, output: &mut Output) -> io::Result<Sent> {
        self.driver().send(stream, output)
    }

    fn send_bytes(&self, stream: SourceId, bytes: &mut &[u8]) -> io::Result<Sent> {
        self.driver().send(stream, bytes)
    }

    fn send_pieces(&self, stream: SourceId, pieces: &mut Pieces<'_>) -> io::Result<Sent> {
        self.driver().send(stream, pieces)
    }

    fn shutdown_output(&self, stream: SourceId) -> io::Result<()> {
        self.driver().shutdown_output(stream)
    }

    fn close(&self, source: SourceId) {
        Self::close(self, source);
    }

    fn reset(&self, stream: SourceId) {
        self.end(stream, true);
    }

    fn bind_datagram(&self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)> {
        self.driver().bind_datagram(address)
    }

    fn receive_from(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        self.driver().receive_from(socket, space)
    }

    fn send_to(&self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        self.driver().send_to(socket, bytes, to)
    }

    fn bind_unix_datagram(&self, name: Option<(&Path, u32)>) -> io::Result<SourceId> {
        self.driver().bind_unix_datagram(name)
    }

    fn receive_from_unix(&self, socket: SourceId, space: &mut [u8]) -> io::Result<Option<UnixReceived>> {
        self.driver().receive_from_unix(socket, space)
    }

    fn send_to_unix(&self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool> {
        self.driver().send_to_unix(socket, bytes, to)
    }

    fn wait(&self, source: SourceId, direction: Direction, waker: &Waker) {
        Self::wait(self, source, direction, waker);
    }

    fn wake(&self, source: SourceId) {
        self.wake_all(source);
    }
}

/// Lets the tasks of `executor` use the sockets of the driver behind `io`, with buffers of `pool`.
pub fn attach<D: Sockets + 'static>(executor: &Executor, io: Io<D>, pool: Pool) {
    let sends_at_once = io.driver().sends_at_once();
    let net = Net {
        sends_at_once,
        driver: io.into_shared(),
        buffers: Buffers::new(pool),
        note: Note::default(),
        outputs: RefCell::default(),
    };
    executor.set_net(Rc::new(net));
}

/// The present shard's sockets.
fn current() -> io::Result<Rc<Net>> {
    raw::with_current(|local| local.and_then(|local| local.net.borrow().clone()))
        .ok_or_else(|| io::Error::other("there are no sockets outside a shard's tasks"))
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
