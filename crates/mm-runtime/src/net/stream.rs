//! Connected streams, whole and in halves.
//!
//! What a call waits with is one small future, not one in another: it lies in the task of every connection, waiting or
//! not.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut};
use std::rc::Rc;
use std::task::Poll;

use super::handle::BROKEN;
use super::share::{is_spent, spend};
use super::write::Writing;
use super::{BufferedReader, BufferedWriter, Direction, Endpoint, Handle, Tried, current};
use crate::driver::{Address, Pieces, Received};

/// A whole read or write that ended before its end. The connection is as usable as `error` leaves it.
#[derive(Debug)]
pub struct Incomplete {
    /// Why.
    pub error: io::Error,
    /// Bytes read, or taken by the kernel to be sent.
    pub done: usize,
    /// Bytes not read, or not sent.
    pub left: usize,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes done, {} left)", self.error, self.done, self.left)
    }
}

impl std::error::Error for Incomplete {}

impl From<Incomplete> for io::Error {
    fn from(incomplete: Incomplete) -> Self {
        Self::new(incomplete.error.kind(), incomplete)
    }
}

/// A connected stream, TCP or Unix. Dropping it closes it.
pub struct Stream {
    handle: Rc<Handle>,
}

/// The half of a stream that reads. The stream is closed when both halves are dropped.
pub struct ReadHalf {
    pub(super) handle: Rc<Handle>,
}

/// The half of a stream that writes. The stream is closed when both halves are dropped.
pub struct WriteHalf {
    pub(super) handle: Rc<Handle>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").field("peer", &self.handle.peer()).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn of_handle(handle: Rc<Handle>) -> Self {
        Self { handle }
    }

    /// Connects. Put a [`timeout`](crate::timers::timeout) around it to bound the wait.
    ///
    /// # Errors
    /// Nobody listens there, the way there is blocked, or the task was interrupted; of a Unix socket also, that as
    /// many as may wait to be accepted ([`WouldBlock`](io::ErrorKind::WouldBlock)).
    pub async fn connect(endpoint: impl Into<Endpoint>) -> io::Result<Self> {
        let endpoint = endpoint.into();
        let net = current()?;
        let source = net.driver.connect(&endpoint)?;
        let peer = match endpoint {
            Endpoint::Ip(address) => Address::Ip(address),
            Endpoint::Unix(_) => Address::Unix,
        };
        let handle = Handle::new(net, source).with_peer(peer);
        let mut waiting = false;
        poll_fn(|context| {
            handle.poll_try(Direction::Output, &mut waiting, context, |handle| {
                Ok(if handle.net.driver.connected(handle.source)? { Tried::Done(()) } else { Tried::Blocked })
            })
        })
        .await?;
        Ok(Self::of_handle(Rc::new(handle)))
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.handle.peer()
    }

    /// Our own address: of an accepted stream it tells through which listener it has come.
    ///
    /// # Errors
    /// The connection is broken, or the driver does not know (a simulated one).
    pub fn local_address(&self) -> io::Result<Address> {
        self.handle
            .net
            .driver
            .local_address(self.handle.source)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_read_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Input, timeout_ms);
    }

    /// How long a write waits for the peer to take more, in milliseconds; for ever at first.
    pub fn set_write_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Output, timeout_ms);
    }

    /// See [`ReadHalf::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, space: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        read(&self.handle, space)
    }

    /// See [`ReadHalf::read_vectored`].
    ///
    /// # Errors
    /// As there.
    pub fn read_vectored(
        &mut self,
        spaces: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        read_vectored(&self.handle, spaces)
    }

    /// See [`ReadHalf::read_exact`].
    ///
    /// # Errors
    /// As there.
    pub fn read_exact(&mut self, space: &mut [u8]) -> impl Future<Output = Result<(), Incomplete>> {
        read_exact(&self.handle, space, |_| 0)
    }

    /// See [`WriteHalf::write_all`].
    ///
    /// # Errors
    /// As there.
    pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Incomplete>> {
        Writing::new(&self.handle, bytes)
    }

    /// See [`WriteHalf::write_all_vectored`].
    ///
    /// # Errors
    /// As there.
    pub fn write_all_vectored(
        &mut self,
        slices: &[IoSlice<'_>],
    ) -> impl Future<Output = Result<(), Incomplete>> {
        Writing::new(&self.handle, Pieces::new(slices))
    }

    /// See [`WriteHalf::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.handle.shutdown()
    }

    /// Closes the stream at once, with a reset: what has not been sent is dropped. So the peer does not take the end
    /// for that of an answer which is not whole. Dropped after a write that was given up, or failed, in its middle, a
    /// stream is closed like this, too.
    ///
    /// Unix sockets have no resets: there the peer sees an end, unless something it has sent was not read. A protocol
    /// that is to be safe on them says how long its answers are, or how they end.
    pub fn reset(self) {
        self.handle.set(BROKEN);
    }

    /// Tells the server that has accepted the stream whether a request is under way, for its graceful stop: that waits
    /// for those who are busy, and shows the end of their input to those who are not when they wait for some. A stream
    /// becomes busy by what is read and idle by each whole write, which is taken for the answer, so most handlers need
    /// not tell. Those do where a write answers nothing yet (`100 Continue`): busy, after the write; and where a
    /// request has no answer: idle, when it has been dealt with. One whose request waits for something else stays busy,
    /// and waits with [`finished`](BufferedReader::finished) beside it. While it is busy and does not read, the
    /// server's idle time-out does not end it. Without effect on other streams.
    pub fn set_busy(&self, busy: bool) {
        self.handle.set_busy(busy);
    }

    /// The two halves, for two tasks or for use at once. The stream is closed when both have been dropped: dropping the
    /// half that writes does not tell the peer of an end, [`shutdown`](WriteHalf::shutdown) does.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { handle: Rc::clone(&self.handle) }, WriteHalf { handle: self.handle })
    }

    /// The two halves, with a buffer for reading that is held only while bytes wait in it.
    #[must_use]
    pub fn buffered(self) -> (BufferedReader, WriteHalf) {
        let (read, write) = self.split();
        (read.buffered(), write)
    }
}

impl ReadHalf {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.handle.peer()
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Input, timeout_ms);
    }

    /// Reads what has come, or waits for it; 0 when the peer has finished or `space` is empty. May be given up at any
    /// time without losing a byte.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early.
    pub fn read(&mut self, space: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        read(&self.handle, space)
    }

    /// Reads what has come into one space after the other, or waits for it: see [`read`](Self::read).
    ///
    /// # Errors
    /// As there.
    pub fn read_vectored(
        &mut self,
        spaces: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        read_vectored(&self.handle, spaces)
    }

    /// Reads until `space` is full. Given up, it leaves the bytes read by then in `space`, and does not tell how many
    /// they are: bound the wait by [`set_timeout_ms`](Self::set_timeout_ms) where reading is to go on after it.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the peer finished before;
    /// the bytes read by then are in `space`.
    pub fn read_exact(&mut self, space: &mut [u8]) -> impl Future<Output = Result<(), Incomplete>> {
        read_exact(&self.handle, space, |_| 0)
    }

    /// See [`Stream::set_busy`].
    pub fn set_busy(&self, busy: bool) {
        self.handle.set_busy(busy);
    }

    /// The half with a buffer, for reading by lines and pieces.
    #[must_use]
    pub fn buffered(self) -> BufferedReader {
        BufferedReader::new(self)
    }
}

fn read(handle: &Handle, space: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
    let mut waiting = false;
    poll_fn(move |context| {
        if space.is_empty() {
            return Poll::Ready(Ok(0));
        }
        handle.poll_try(Direction::Input, &mut waiting, context, |handle| receive(handle, space, true))
    })
}

fn read_vectored(handle: &Handle, spaces: &mut [IoSliceMut<'_>]) -> impl Future<Output = io::Result<usize>> {
    let mut waiting = false;
    poll_fn(move |context| {
        if spaces.iter().all(|space| space.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
            let mut done = 0;
            for space in spaces.iter_mut().filter(|space| !space.is_empty()) {
                match receive(handle, space, true) {
                    Ok(Tried::Done(received @ 1..)) => done += received,
                    // What has come first is told first; this comes to the same the next time.
                    _ if done > 0 => break,
                    other => return other,
                }
                if !handle.net.driver.may_have_input(handle.source) {
                    break;
                }
            }
            Ok(Tried::Done(done))
        })
    })
}

/// Reads until `space` is full, what `begin` puts at its front first.
pub(super) fn read_exact(
    handle: &Handle,
    space: &mut [u8],
    begin: impl FnOnce(&mut [u8]) -> usize,
) -> impl Future<Output = Result<(), Incomplete>> {
    let (mut begin, mut done, mut waiting) = (Some(begin), 0, false);
    poll_fn(move |context| {
        if let Some(begin) = begin.take() {
            done = begin(space);
        }
        let before = done;
        let polled = handle.poll_try(Direction::Input, &mut waiting, context, |handle| {
            while done < space.len() {
                if is_spent() {
                    return Ok(Tried::Progress);
                }
                spend();
                match receive(handle, &mut space[done..], done == 0)? {
                    Tried::Done(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Tried::Done(received) => done += received,
                    Tried::Blocked if done > before => return Ok(Tried::Progress),
                    other => return Ok(other.map(|_| ())),
                }
            }
            Ok(Tried::Done(()))
        });
        polled.map_err(|error| Incomplete { error, done, left: space.len() - done })
    })
}

/// Tries to receive. `between`: nothing of a request has been kept, so that the stream may end here.
pub(super) fn receive(handle: &Handle, space: &mut [u8], between: bool) -> io::Result<Tried<usize>> {
    Ok(match handle.net.driver.receive(handle.source, space)? {
        Received::Bytes(bytes) => {
            handle.received(bytes);
            Tried::Done(bytes)
        }
        Received::End => Tried::Done(0),
        Received::Blocked if between && handle.ends() => Tried::Done(0),
        Received::Blocked => Tried::Blocked,
    })
}

impl WriteHalf {
    /// How long a write waits for the peer to take more, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.handle.set_timeout_ms(Direction::Output, timeout_ms);
    }

    /// Writes all bytes. Where other tasks are ready, and this stream has received since its last write, a few of them
    /// go on first, so that receives follow each other, and writes. So it may be pending though there is room, which
    /// [`select`](crate::sync::select) and [`timeout`](crate::timers::timeout) know.
    ///
    /// A write that is given up (its future dropped) after some bytes went out breaks the half: the peer would take
    /// what follows for the rest of them. Use the half's own timeout instead.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early; then the write may be taken up again from where it
    /// stopped.
    pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Incomplete>> {
        Writing::new(&self.handle, bytes)
    }

    /// Writes all bytes of all slices, in order: see [`write_all`](Self::write_all).
    ///
    /// # Errors
    /// As there.
    pub fn write_all_vectored(
        &mut self,
        slices: &[IoSlice<'_>],
    ) -> impl Future<Output = Result<(), Incomplete>> {
        Writing::new(&self.handle, Pieces::new(slices))
    }

    /// See [`Stream::set_busy`].
    pub fn set_busy(&self, busy: bool) {
        self.handle.set_busy(busy);
    }

    /// The half with a queue, for writing in pieces that are sent together.
    #[must_use]
    pub fn buffered(self) -> BufferedWriter {
        BufferedWriter::new(self)
    }

    /// Tells the peer that nothing more will be written; reading goes on.
    ///
    /// # Errors
    /// The connection is broken, or the half is, by a write given up in its middle; or the last write has failed in its
    /// middle ([`BrokenPipe`](io::ErrorKind::BrokenPipe)): the peer would take the end for that of a whole answer. When
    /// another write has sent the rest, it can be told.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.handle.shutdown()
    }
}
