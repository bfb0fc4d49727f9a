//! Whole writes.

use std::fmt;
use std::future::Future;
use std::hint::cold_path;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mm_base::buffer::Output;

use super::handle::{BLOCKED, BROKEN, CUT};
use super::{Direction, Handle, Incomplete, Net, Tried};
use crate::driver::{Pieces, Sent, SourceId, Unsent};

/// What is written.
pub(super) trait Bytes: Unsent + Unpin {
    /// Sends what the kernel takes of it.
    fn send(&mut self, net: &Net, stream: SourceId) -> io::Result<Sent>;
}

impl Bytes for Output {
    #[inline]
    fn send(&mut self, net: &Net, stream: SourceId) -> io::Result<Sent> {
        net.driver.send(stream, self)
    }
}

impl Bytes for &[u8] {
    #[inline]
    fn send(&mut self, net: &Net, stream: SourceId) -> io::Result<Sent> {
        net.driver.send_bytes(stream, self)
    }
}

impl Bytes for Pieces<'_> {
    fn send(&mut self, net: &Net, stream: SourceId) -> io::Result<Sent> {
        net.driver.send_pieces(stream, self)
    }
}

/// A write under way, of bytes that are sent from where they lie. When it is dropped in its middle, nobody knows what
/// the peer has got.
pub(super) struct Writing<'a, B: Bytes> {
    handle: &'a Handle,
    bytes: B,
    total: usize,
    waiting: bool,
    /// It has failed, and has told how much is left.
    failed: bool,
}

impl<'a, B: Bytes> Writing<'a, B> {
    pub(super) fn new(handle: &'a Handle, bytes: B) -> Self {
        let total = bytes.left();
        Self { handle, bytes, total, waiting: false, failed: false }
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Incomplete {
        let left = self.bytes.left();
        // Told how much is left, the caller may go on from there: this is no break.
        self.failed = true;
        self.handle.sent(0, false);
        if left < self.total {
            self.handle.set(CUT);
        }
        Incomplete { error, done: self.total - left, left }
    }
}

impl<B: Bytes> Future for Writing<'_, B> {
    type Output = Result<(), Incomplete>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { handle, bytes, waiting, .. } = &mut *self;
        if handle.has(BROKEN) {
            cold_path();
            return Poll::Ready(Err(Incomplete { error: broken(), done: 0, left: bytes.left() }));
        }
        if handle.holds_write(context) {
            return Poll::Pending;
        }
        let sent = handle.poll_try(Direction::Output, waiting, context, |handle| send(handle, bytes));
        Poll::Ready(ready!(sent).map_err(|error| self.fail(error)))
    }
}

impl<B: Bytes> Drop for Writing<'_, B> {
    #[inline]
    fn drop(&mut self) {
        let left = self.bytes.left();
        if left > 0 && !self.failed {
            cold_path();
            self.handle.unset(BLOCKED);
            if left < self.total {
                self.handle.set(BROKEN);
            }
        }
    }
}

/// Why a write was ended that had waited for as long as it may.
#[derive(Debug)]
pub(super) struct NotTaken;

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer has taken nothing for too long")
    }
}

impl std::error::Error for NotTaken {}

/// Whether this is the error of a write that waited for longer than its half may, or such a one of a whole write.
#[must_use]
pub fn is_write_timeout(error: &io::Error) -> bool {
    let Some(reason) = error.get_ref() else { return false };
    match reason.downcast_ref::<Incomplete>() {
        Some(incomplete) => is_write_timeout(&incomplete.error),
        None => reason.is::<NotTaken>(),
    }
}

/// Why nothing can be written any more.
#[cold]
pub(super) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "an earlier write was given up in its middle")
}

/// Why the end of output cannot be told.
#[cold]
pub(super) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the last write has failed in its middle")
}

#[inline]
pub(super) fn send(handle: &Handle, bytes: &mut impl Bytes) -> io::Result<Tried<()>> {
    let before = bytes.left();
    let sent = bytes.send(&handle.net, handle.source)?;
    let gone = before - bytes.left();
    handle.sent(gone, sent == Sent::Blocked);
    if sent == Sent::All {
        return Ok(Tried::Done(()));
    }
    cold_path();
    Ok(if gone > 0 { Tried::Progress } else { Tried::Blocked })
}
