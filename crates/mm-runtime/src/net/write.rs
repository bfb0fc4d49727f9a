//! Whole writes.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mm_base::buffer::Output;

use super::handle::BROKEN;
use super::{Direction, Handle, Incomplete, Tried};
use crate::driver::Sent;
use crate::limits::WRITE_QUEUE_BYTES;

/// The bytes of one write.
pub(super) trait Bytes: Unpin {
    /// How many there are.
    fn total(&self) -> usize;

    /// Bytes that have not been queued.
    fn unqueued(&self) -> usize;

    /// Queues the next of them, at most `room`.
    fn queue(&mut self, output: &mut Output, room: usize);
}

/// One slice.
pub(super) struct Single<'a> {
    bytes: &'a [u8],
    queued: usize,
}

impl<'a> Single<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, queued: 0 }
    }
}

impl Bytes for Single<'_> {
    fn total(&self) -> usize {
        self.bytes.len()
    }

    fn unqueued(&self) -> usize {
        self.bytes.len() - self.queued
    }

    fn queue(&mut self, output: &mut Output, room: usize) {
        let rest = &self.bytes[self.queued..];
        let next = &rest[..rest.len().min(room)];
        output.write(next);
        self.queued += next.len();
    }
}

/// Several, in order.
pub(super) struct Several<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first that have been queued.
    begun: usize,
    unqueued: usize,
    total: usize,
}

impl<'a> Several<'a> {
    pub(super) fn new(slices: &'a [IoSlice<'a>]) -> Self {
        let total = slices.iter().map(|slice| slice.len()).sum();
        Self { slices, begun: 0, unqueued: total, total }
    }
}

impl Bytes for Several<'_> {
    fn total(&self) -> usize {
        self.total
    }

    fn unqueued(&self) -> usize {
        self.unqueued
    }

    fn queue(&mut self, output: &mut Output, mut room: usize) {
        while let [first, others @ ..] = self.slices {
            let rest = &first[self.begun..];
            let next = &rest[..rest.len().min(room)];
            output.write(next);
            room -= next.len();
            self.unqueued -= next.len();
            self.begun += next.len();
            if self.begun < first.len() {
                return;
            }
            (self.slices, self.begun) = (others, 0);
        }
    }
}

/// A write under way: when it is dropped before its end, what it had queued must not be sent as part of another.
pub(super) struct Writing<'a, B: Bytes> {
    handle: &'a Handle,
    bytes: B,
    /// From the first poll to the end.
    output: Option<Box<Output>>,
    waiting: bool,
}

impl<'a, B: Bytes> Writing<'a, B> {
    pub(super) fn new(handle: &'a Handle, bytes: B) -> Self {
        Self { handle, bytes, output: None, waiting: false }
    }

    fn left(&self) -> usize {
        self.bytes.unqueued() + self.output.as_ref().map_or(0, |output| output.len())
    }

    fn give_back(&mut self) {
        if let Some(output) = self.output.take() {
            self.handle.net.put_output(output);
        }
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Incomplete {
        let left = self.left();
        // Told how much is left, the caller may go on from there: this is no break.
        self.handle.sent(0, false);
        self.give_back();
        Incomplete { error, done: self.bytes.total() - left, left }
    }
}

impl<B: Bytes> Future for Writing<'_, B> {
    type Output = Result<(), Incomplete>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.handle.has(BROKEN) {
            return Poll::Ready(Err(Incomplete { error: broken(), done: 0, left: this.bytes.total() }));
        }
        let output = this.output.get_or_insert_with(|| this.handle.net.take_output());
        loop {
            if output.is_empty() {
                this.bytes.queue(output, WRITE_QUEUE_BYTES);
            }
            let (handle, waiting) = (this.handle, &mut this.waiting);
            let sent = handle.poll_try(Direction::Output, waiting, context, |handle| send(handle, output));
            if let Err(error) = ready!(sent) {
                return Poll::Ready(Err(this.fail(error)));
            }
            *waiting = false;
            if this.bytes.unqueued() == 0 {
                this.give_back();
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<B: Bytes> Drop for Writing<'_, B> {
    fn drop(&mut self) {
        if self.output.is_some() {
            let left = self.left();
            if left > 0 && left < self.bytes.total() {
                self.handle.set(BROKEN);
            }
            self.give_back();
        }
    }
}

/// Why nothing can be written any more.
#[cold]
pub(super) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "an earlier write was given up in its middle")
}

pub(super) fn send(handle: &Handle, output: &mut Output) -> io::Result<Tried<()>> {
    let before = output.len();
    let sent = handle.net.send(handle.source, output)?;
    let bytes = before - output.len();
    handle.sent(bytes, sent == Sent::Blocked);
    Ok(match sent {
        Sent::All => Tried::Done(()),
        Sent::Blocked if bytes > 0 => Tried::Progress,
        Sent::Blocked => Tried::Blocked,
    })
}
