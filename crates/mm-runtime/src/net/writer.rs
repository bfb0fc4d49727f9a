//! Writing in pieces that are sent together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Poll, ready};

use mm_base::buffer::Output;

use super::handle::{BLOCKED, BROKEN, CUT};
use super::write::{broken, send};
use super::{Direction, Incomplete, WriteHalf};
use crate::limits::WRITE_QUEUE_BYTES;

/// Writes through a queue in buffers of the shard's pool, which it holds only while bytes wait to be sent. What has not
/// been [flushed](Self::flush) when it is dropped is lost.
pub struct BufferedWriter {
    half: WriteHalf,
    /// None while nothing is queued.
    output: Option<Box<Output>>,
}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("queued", &self.queued()).finish_non_exhaustive()
    }
}

impl BufferedWriter {
    pub(super) fn new(half: WriteHalf) -> Self {
        Self { half, output: None }
    }

    /// How long a call waits for the peer to take more, in milliseconds; for ever at first.
    pub fn set_timeout_ms(&mut self, timeout_ms: Option<u64>) {
        self.half.set_timeout_ms(timeout_ms);
    }

    /// See [`Stream::set_busy`](super::Stream::set_busy): it becomes idle by each flush.
    pub fn set_busy(&self, busy: bool) {
        self.half.set_busy(busy);
    }

    /// Bytes that have been written and not been sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.len())
    }

    /// Queues bytes, to be sent with the next flush; where they do not fit ([`WRITE_QUEUE_BYTES`]), what is queued is
    /// sent first. May be given up at any time if the bytes fit into an empty queue: they are queued all or not at all.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early; what was queued before is queued still, but for what has
    /// been sent of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Incomplete> {
        if self.queued() > 0 && self.queued() + bytes.len() > WRITE_QUEUE_BYTES {
            let none = |error| Incomplete { error, done: 0, left: bytes.len() };
            self.flush().await.map_err(none)?;
        }
        if bytes.len() > WRITE_QUEUE_BYTES {
            return self.half.write_all(bytes).await;
        }
        if !bytes.is_empty() {
            let net = &self.half.handle.net;
            self.output.get_or_insert_with(|| net.take_output()).write(bytes);
        }
        Ok(())
    }

    /// Sends what is queued; after a receive a few others may go on first, as with [`WriteHalf::write_all`]. A flush
    /// that has failed or been given up may be made again: it goes on from there.
    ///
    /// # Errors
    /// The connection is broken, or the wait was ended early.
    pub fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        let Self { half, output } = self;
        let mut waiting = false;
        poll_fn(move |context| {
            let Some(queued) = output else { return Poll::Ready(Ok(())) };
            let handle = &*half.handle;
            if handle.has(BROKEN) {
                return Poll::Ready(Err(broken()));
            }
            if handle.holds_write(context) {
                return Poll::Pending;
            }
            ready!(
                handle
                    .poll_try(Direction::Output, &mut waiting, context, |handle| send(handle, &mut **queued))
            )?;
            output.take().into_iter().for_each(|output| handle.net.put_output(output));
            Poll::Ready(Ok(()))
        })
    }

    /// Sends what is queued and tells the peer that nothing more will be written.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.half.shutdown()
    }
}

impl Drop for BufferedWriter {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            if self.half.handle.has(BLOCKED) {
                self.half.handle.unset(BLOCKED);
                self.half.handle.set(CUT);
            }
            self.half.handle.net.put_output(output);
        }
    }
}
