//! Connected streams, whole and in halves.

use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;

use mm_base::buffer::Output;

use super::{BufferedReader, Direction, Endpoint, Handle, Net, Patience, Tried, current};
use crate::driver::{Address, Received, Sent, SourceId};
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
    peer: Address,
}

/// The half of a stream that writes. The stream is closed when both halves are dropped.
pub struct WriteHalf {
    handle: Rc<Handle>,
    patience: Patience,
    output: Output,
    /// A write was given up in its middle.
    broken: bool,
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(handle: Handle, peer: Address) -> Self {
        let handle = Rc::new(handle);
        let output = Output::new(handle.net.pool(), WRITE_QUEUE_BYTES);
        let read = ReadHalf { handle: Rc::clone(&handle), patience: Patience::new(), peer };
        Self { read, write: WriteHalf { handle, patience: Patience::new(), output, broken: false } }
    }

    /// Connects. Put a [`timeout`](crate::timers::timeout) around it to bound the wait.
    ///
    /// # Errors
    /// Nobody listens there, the way there is blocked, or the task was interrupted.
    pub async fn connect(endpoint: impl Into<Endpoint>) -> io::Result<Self> {
        let endpoint = endpoint.into();
        let net = current()?;
        let source = net.connect(&endpoint)?;
        let handle = Handle { net, source };
        let connected =
            |net: &dyn Net, source| Ok(if net.connected(source)? { Tried::Done(()) } else { Tried::Blocked });
        Patience::new().retry(&handle, Direction::Output, connected).await?;
        let peer = match endpoint {
            Endpoint::Ip(address) => Address::Ip(address),
            Endpoint::Unix(_) => Address::Unix,
        };
        Ok(Self::new(handle, peer))
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.read.peer
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
        self.peer
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
        self.retry(|net, source| receive(net, source, space)).await
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
        attempt: impl FnMut(&dyn Net, SourceId) -> io::Result<Tried<T>>,
    ) -> io::Result<T> {
        self.patience.retry(&self.handle, Direction::Input, attempt).await
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

pub(super) fn receive(net: &dyn Net, source: SourceId, space: &mut [u8]) -> io::Result<Tried<usize>> {
    Ok(match net.receive(source, space)? {
        Received::Bytes(bytes) => Tried::Done(bytes),
        Received::End => Tried::Done(0),
        Received::Blocked => Tried::Blocked,
    })
}

/// A write under way: when it is dropped before its end, what it had queued must not be sent as part of another.
struct Writing<'a> {
    half: &'a mut WriteHalf,
    /// Bytes of this write that have not been queued.
    unqueued: usize,
    total: usize,
}

impl Writing<'_> {
    fn left(&self) -> usize {
        self.unqueued + self.half.output.len()
    }

    async fn send(&mut self) -> Result<(), Incomplete> {
        let WriteHalf { handle, patience, output, .. } = &mut *self.half;
        let send = |net: &dyn Net, source| {
            let before = output.len();
            Ok(match net.send(source, output)? {
                Sent::All => Tried::Done(()),
                Sent::Blocked if output.len() < before => Tried::Progress,
                Sent::Blocked => Tried::Blocked,
            })
        };
        match patience.retry(handle, Direction::Output, send).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let left = self.left();
                // Told how much is left, the caller may go on from there: this is no break.
                self.half.output.clear();
                self.unqueued = 0;
                Err(Incomplete { error, done: self.total - left, left })
            }
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let left = self.left();
        if left > 0 {
            self.half.broken = left < self.total;
            self.half.output.clear();
        }
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
        let mut writing = Writing { half: self, unqueued: total, total };
        for slice in slices {
            let mut rest = &**slice;
            while !rest.is_empty() {
                let room = WRITE_QUEUE_BYTES - writing.half.output.len();
                let (now, later) = rest.split_at(rest.len().min(room));
                writing.half.output.write(now);
                writing.unqueued -= now.len();
                rest = later;
                if writing.half.output.len() >= WRITE_QUEUE_BYTES {
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
