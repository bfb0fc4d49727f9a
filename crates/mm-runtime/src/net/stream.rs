//! Connected streams, whole and in halves.

use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;

use mm_base::buffer::Output;

use super::served::Track;
use super::{BufferedReader, Direction, Endpoint, Handle, Patience, Tried, current};
use crate::driver::{Address, Received, Sent};
use crate::limits::WRITE_QUEUE_BYTES;

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
#[derive(Debug)]
pub struct Stream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The half of a stream that reads. The stream is closed when both halves are dropped.
pub struct ReadHalf {
    handle: Rc<Handle>,
    patience: Patience,
}

/// The half of a stream that writes. The stream is closed when both halves are dropped.
pub struct WriteHalf {
    handle: Rc<Handle>,
    patience: Patience,
    /// A write was given up in its middle.
    broken: bool,
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("peer", &self.handle.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn of_handle(handle: Rc<Handle>) -> Self {
        let read = ReadHalf { handle: Rc::clone(&handle), patience: Patience::new() };
        Self { read, write: WriteHalf { handle, patience: Patience::new(), broken: false } }
    }

    /// Connects. Put a [`timeout`](crate::timers::timeout) around it to bound the wait.
    ///
    /// # Errors
    /// Nobody listens there, the way there is blocked, or the task was interrupted.
    pub async fn connect(endpoint: impl Into<Endpoint>) -> io::Result<Self> {
        let endpoint = endpoint.into();
        let net = current()?;
        let source = net.connect(&endpoint)?;
        let peer = match endpoint {
            Endpoint::Ip(address) => Address::Ip(address),
            Endpoint::Unix(_) => Address::Unix,
        };
        let handle = Handle::new(net, source).with_peer(peer);
        let connected = |handle: &Handle| {
            Ok(if handle.net.connected(handle.source)? { Tried::Done(()) } else { Tried::Blocked })
        };
        Patience::new().retry(&handle, Direction::Output, connected).await?;
        Ok(Self::of_handle(Rc::new(handle)))
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.read.peer()
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_read_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.read.set_timeout_ms(timeout_ms);
    }

    /// How long a write waits for the peer to take more, in milliseconds; for ever at first.
    pub fn set_write_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.write.set_timeout_ms(timeout_ms);
    }

    /// See [`ReadHalf::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.read.read(space).await
    }

    /// See [`ReadHalf::read_exact`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_exact(&mut self, space: &mut [u8]) -> Result<(), Incomplete> {
        self.read.read_exact(space).await
    }

    /// See [`WriteHalf::write_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Incomplete> {
        self.write.write_all(bytes).await
    }

    /// See [`WriteHalf::write_all_vectored`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<(), Incomplete> {
        self.write.write_all_vectored(slices).await
    }

    /// See [`WriteHalf::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.write.shutdown()
    }

    /// Closes the stream at once, with a reset: what has not been sent is dropped.
    pub fn reset(self) {
        self.read.handle.net.reset(self.read.handle.source);
    }

    /// The two halves, for two tasks or for use at once.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// The two halves, with a buffer for reading that is held only while bytes wait in it.
    #[must_use]
    pub fn buffered(self) -> (BufferedReader, WriteHalf) {
        (BufferedReader::new(self.read), self.write)
    }
}

impl ReadHalf {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.handle.peer
    }

    /// How long a read waits for the next bytes, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.patience.timeout_ms = timeout_ms;
    }

    /// Reads what has come, or waits for it; 0 when the peer has finished or `space` is empty. May be given up at any
    /// time without losing a byte.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early.
    pub async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if space.is_empty() {
            return Ok(0);
        }
        self.retry(|handle| receive(handle, space, true)).await
    }

    /// Reads until `space` is full.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the peer finished before;
    /// the bytes read by then are in `space`.
    pub async fn read_exact(&mut self, space: &mut [u8]) -> Result<(), Incomplete> {
        let mut done = 0;
        while done < space.len() {
            let error = match self.read(&mut space[done..]).await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(received) => {
                    done += received;
                    continue;
                }
                Err(error) => error,
            };
            return Err(Incomplete { error, done, left: space.len() - done });
        }
        Ok(())
    }

    pub(super) async fn retry<T>(
        &mut self,
        attempt: impl FnMut(&Handle) -> io::Result<Tried<T>>,
    ) -> io::Result<T> {
        self.patience.retry(&self.handle, Direction::Input, attempt).await
    }
}

/// Tries to receive. `between`: nothing of a request has been kept, so that the stream may end here.
pub(super) fn receive(handle: &Handle, space: &mut [u8], between: bool) -> io::Result<Tried<usize>> {
    Ok(match handle.net.receive(handle.source, space)? {
        Received::Bytes(bytes) => {
            handle.track.iter().for_each(|track| track.received(bytes));
            Tried::Done(bytes)
        }
        Received::End => Tried::Done(0),
        Received::Blocked => without_input(handle, between),
    })
}

/// What a stream comes to that has nothing to receive: see [`receive`].
pub(super) fn without_input(handle: &Handle, between: bool) -> Tried<usize> {
    let ends = between && handle.track.as_ref().is_some_and(Track::ends);
    if ends { Tried::Done(0) } else { Tried::Blocked }
}

/// A write under way: when it is dropped before its end, what it had queued must not be sent as part of another.
struct Writing<'a> {
    half: &'a mut WriteHalf,
    /// Taken back when the write is over.
    output: Option<Box<Output>>,
    /// Bytes of this write that have not been queued.
    unqueued: usize,
    total: usize,
}

impl Writing<'_> {
    fn left(&self) -> usize {
        self.unqueued + self.output.as_ref().map_or(0, |output| output.len())
    }

    async fn send(&mut self) -> Result<(), Incomplete> {
        let WriteHalf { handle, patience, .. } = &mut *self.half;
        let Some(output) = &mut self.output else { return Ok(()) };
        match patience.retry(handle, Direction::Output, |handle| send(handle, output)).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let left = self.left();
                // Told how much is left, the caller may go on from there: this is no break.
                self.half.handle.track.iter().for_each(|track| track.sent(0, false));
                self.unqueued = self.total;
                self.give_back();
                Err(Incomplete { error, done: self.total - left, left })
            }
        }
    }

    fn give_back(&mut self) {
        if let Some(output) = self.output.take() {
            self.half.handle.net.put_output(output);
        }
    }
}

fn send(handle: &Handle, output: &mut Output) -> io::Result<Tried<()>> {
    let before = output.len();
    let sent = handle.net.send(handle.source, output)?;
    let bytes = before - output.len();
    handle.track.iter().for_each(|track| track.sent(bytes, sent == Sent::Blocked));
    Ok(match sent {
        Sent::All => Tried::Done(()),
        Sent::Blocked if bytes > 0 => Tried::Progress,
        Sent::Blocked => Tried::Blocked,
    })
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let left = self.left();
        self.half.broken = left > 0 && left < self.total;
        self.give_back();
    }
}

impl WriteHalf {
    /// How long a write waits for the peer to take more, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.patience.timeout_ms = timeout_ms;
    }

    /// Writes all bytes. A write that is given up (its future dropped) after some bytes went out breaks the half: the
    /// peer would take what follows for the rest of them. Use the half's own timeout instead.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early; then the write may be taken up again from where it
    /// stopped.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Incomplete> {
        self.write_all_vectored(&[IoSlice::new(bytes)]).await
    }

    /// Writes all bytes of all slices, in order: see [`write_all`](Self::write_all).
    ///
    /// # Errors
    /// As there.
    pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<(), Incomplete> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        if self.broken {
            let error =
                io::Error::new(io::ErrorKind::BrokenPipe, "an earlier write was given up in its middle");
            return Err(Incomplete { error, done: 0, left: total });
        }
        let output = Some(self.handle.net.take_output());
        let mut writing = Writing { half: self, output, unqueued: total, total };
        for slice in slices {
            let mut rest = &**slice;
            while let (false, Some(output)) = (rest.is_empty(), &mut writing.output) {
                let room = WRITE_QUEUE_BYTES - output.len();
                let (now, later) = rest.split_at(rest.len().min(room));
                output.write(now);
                writing.unqueued -= now.len();
                rest = later;
                if writing.output.as_ref().is_some_and(|output| output.is_full()) {
                    writing.send().await?;
                }
            }
        }
        writing.send().await
    }

    /// Tells the peer that nothing more will be written; reading goes on.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.handle.net.shutdown_output(self.handle.source)
    }
}
