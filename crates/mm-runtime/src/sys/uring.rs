//! `io_uring` behind a safe face.
//!
//! What the kernel may touch is owned by the [`Ring`]: the buffers it receives into and the bytes it sends. A buffer
//! is either the kernel's or held by the ring's user, and the ring knows which. When the ring is dropped, everything
//! is cancelled and waited for before memory goes; where that fails the memory is never freed.
//!
//! One thread makes a ring and uses it, which the kernel checks (single issuer). The kernel runs the work of
//! completions only while this thread is in a call of its own (deferred task work): [`enter`](Ring::enter), and the
//! submission that makes room where an entry meets a full queue.

#![expect(unsafe_code, reason = "the kernel reads and writes the memory that its queues name")]

mod accepted;
mod buffers;
mod mapping;
mod operations;
mod tag;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use mm_base::slab::Key;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use buffers::Buffers;
use mapping::Mapping;

pub(crate) use tag::{INDEX_MAX, Operation, Tag};

/// `MSG_NOSIGNAL`, `MSG_DONTWAIT` and `MSG_WAITALL`: all of it at once, or an error that says how much.
const SEND_FLAGS: i32 = 0x4000 | 0x40 | 0x100;

/// How often the end of what is in flight is waited for in vain, each time for at most [`DRAIN`].
const DRAIN_ROUNDS: u32 = 100;
const DRAIN: Duration = Duration::from_millis(50);

/// How large a ring's parts are. Small ones make rare things common, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// Buffers to receive into, a power of two.
    pub buffers: u16,
    /// Bytes that can be on their way between two waits.
    pub send_bytes: usize,
}

/// How an [`enter`](Ring::enter) waits for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until there is one.
    Endless,
    /// Until there is one, or so much time has passed.
    For(Duration),
}

/// Something the kernel has finished, or a part of what it does until it is cancelled.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What has been finished.
    pub(crate) tag: Tag,
    /// How it went: a number of bytes, or ready events.
    pub(crate) result: Result<u32, Errno>,
    /// The operation goes on.
    pub(crate) more: bool,
    /// The buffer that bytes are in, from now on held by the user.
    pub(crate) buffer: Option<u16>,
    /// What has been accepted.
    pub(crate) socket: Option<OwnedFd>,
}

impl Completion {
    /// Whether this end of a poll for room says only that the peer has finished sending, which it says as long as the
    /// socket lasts.
    pub(crate) fn lacks_room(&self) -> bool {
        let known = PollFlags::OUT | PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        self.result.is_ok_and(|events| events & u32::from(known.bits()) == 0)
    }
}

/// What the kernel has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// Bytes have been received for the source of this key, into this buffer, which is now held, and the receiving goes
    /// on.
    Input(Key, u16),
    /// Anything else.
    Other(Completion),
}

/// Bytes taken to be sent with the next enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    start: u32,
    len: u32,
}

/// One `io_uring` instance and the memory that it works on.
pub(crate) struct Ring {
    queues: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    sends: ManuallyDrop<Mapping>,
    /// How much of `sends` is taken.
    taken: usize,
    /// Every send has reached the kernel.
    caught_up: bool,
    /// Operations whose last completion has not been seen.
    in_flight: usize,
    /// What had no room in the submission queue.
    late: VecDeque<squeue::Entry>,
    /// Descriptors that entries not yet submitted may name.
    retired: Vec<OwnedFd>,
    /// What an accept ends with may be no descriptor.
    accepts_events: bool,
    /// The kernel lets no other thread use it.
    thread: PhantomData<*mut ()>,
}

impl Ring {
    /// A ring that does nothing yet.
    ///
    /// # Errors
    /// The kernel has no `io_uring`, forbids it, lacks something of it, or has no memory for it. The message says which
    /// step failed.
    pub(crate) fn new(sizes: Sizes) -> io::Result<Self> {
        let queues: IoUring = IoUring::builder()
            .setup_cqsize(sizes.completions)
            .setup_clamp()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(sizes.submissions)
            .map_err(|error| step("io_uring_setup", &error))?;
        operations::check(&queues)?;
        let buffers = Buffers::new(&queues, sizes.buffers)?;
        let sends = Mapping::new(sizes.send_bytes)?;
        let accepts_events = accepted::may_be_events(queues.params());
        let mut ring = Self {
            queues: ManuallyDrop::new(queues),
            buffers: ManuallyDrop::new(buffers),
            sends: ManuallyDrop::new(sends),
            taken: 0,
            caught_up: true,
            in_flight: 0,
            late: VecDeque::new(),
            retired: Vec::new(),
            accepts_events,
            thread: PhantomData,
        };
        ring.try_out()?;
        Ok(ring)
    }

    /// Enters the kernel once: a filter may let a ring be made and not used.
    fn try_out(&mut self) -> io::Result<()> {
        self.push(&opcode::Nop::new().build().user_data(Tag::none(Operation::Cancel).to_u64()));
        while let Err(error) = self.queues.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(step("io_uring_enter", &error));
            }
        }
        while self.next().is_some() {}
        Ok(())
    }

    /// Accepts connections until cancelled. They do not block and are not inherited.
    pub(crate) fn accept(&mut self, listener: &OwnedFd, tag: Tag) {
        let flags = (SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).bits().cast_signed();
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(flags).build();
        self.begin(entry, tag);
    }

    /// Receives into the ring's buffers until cancelled.
    pub(crate) fn receive(&mut self, stream: &OwnedFd, tag: Tag) {
        self.begin(opcode::RecvMulti::new(Fd(stream.as_raw_fd()), 0).build(), tag);
    }

    /// Tells once that a socket is ready, also when it is ready already. The kernel adds the same events as to
    /// [`watch`](Self::watch).
    pub(crate) fn poll(&mut self, socket: &OwnedFd, events: PollFlags, tag: Tag) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), u32::from(events.bits())).build();
        self.begin(entry, tag);
    }

    /// Tells at once if a descriptor is ready, and then of each change, until cancelled. The kernel adds to `events`
    /// errors, the end of both directions, and the end of input.
    pub(crate) fn watch(&mut self, descriptor: &OwnedFd, events: PollFlags, tag: Tag) {
        let events = u32::from(events.bits());
        let entry = opcode::PollAdd::new(Fd(descriptor.as_raw_fd()), events).multi(true).build();
        self.begin(entry, tag);
    }

    /// Ends an operation. Its last completion comes nevertheless, whether it is the cancelled one's or an earlier one.
    pub(crate) fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.to_u64()).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&entry.user_data(Tag::none(Operation::Cancel).to_u64()));
    }

    /// Sends the `len` bytes that `fill` writes with the next enter, as far as the socket has room. Only one that has
    /// not sent all of it has a completion, which comes with that enter. `None`: there is no room for it here.
    #[inline]
    pub(crate) fn send(
        &mut self,
        stream: &OwnedFd,
        len: usize,
        tag: Tag,
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<Taken> {
        if len > self.sends.len() - self.taken || !self.late.is_empty() || !self.has_room() {
            return None;
        }
        let start = self.taken;
        // SAFETY: the range is within the mapping, and no entry names bytes from `taken` on.
        fill(unsafe { self.sends.slice_mut(start, len) });
        self.taken = start + len;
        self.caught_up = false;
        let taken = Taken { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? };
        let entry = opcode::Send::new(Fd(stream.as_raw_fd()), self.sends.at(start), taken.len)
            .flags(SEND_FLAGS)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push_now(&entry.user_data(tag.to_u64()));
        Some(taken)
    }

    /// Does nothing, and is completed behind every send before it that comes out short.
    pub(crate) fn fence(&mut self, tag: Tag) {
        self.begin(opcode::Nop::new().build(), tag);
    }

    /// The bytes of a send, until [`settle`](Self::settle).
    pub(crate) fn sent_bytes(&self, taken: Taken) -> &[u8] {
        let (start, len) = (taken.start as usize, taken.len as usize);
        assert!(start + len <= self.taken, "a send of an earlier round");
        // SAFETY: the range has been written by `send`, and is written again only after `settle`, which needs the ring
        // for itself.
        unsafe { self.sends.slice(start, len) }
    }

    /// Whether every send has reached the kernel and every completion has been seen, or a fence behind the last send
    /// `is_passed`, so that each send without one has sent everything. Then their bytes are forgotten.
    pub(crate) fn settle(&mut self, is_passed: bool) -> bool {
        let settled = is_passed || self.caught_up && self.is_drained();
        if settled {
            self.taken = 0;
        }
        settled
    }

    /// Whether no completion waits to be taken.
    pub(crate) fn is_drained(&mut self) -> bool {
        !self.queues.submission().cq_overflow() && self.queues.completion().is_empty()
    }

    /// Whether a completion waits to be taken, or to be made in the next enter. Needs no system call.
    pub(crate) fn has_news(&mut self) -> bool {
        let submissions = self.queues.submission();
        let has_work = submissions.taskrun() || submissions.cq_overflow();
        drop(submissions);
        has_work || !self.queues.completion().is_empty()
    }

    /// Closes a descriptor as soon as no entry names it that the kernel has not seen.
    pub(crate) fn retire(&mut self, descriptor: OwnedFd) {
        if !self.has_submitted() {
            self.retired.push(descriptor);
        }
    }

    /// Whether the kernel has seen every entry.
    fn has_submitted(&mut self) -> bool {
        self.late.is_empty() && self.queues.submission().is_empty()
    }

    /// Whether descriptors wait to be closed.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Hands the kernel what has been asked for, and waits.
    ///
    /// # Errors
    /// Only such as no later call will be free of either.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.buffers.publish();
        self.push_late();
        // What is left of them, the next enter has to take.
        let wait = if self.late.is_empty() { wait } else { Wait::No };
        let entered = match wait {
            Wait::No => {
                let submissions = self.queues.submission();
                let idle = submissions.is_empty() && !submissions.taskrun() && !submissions.cq_overflow();
                drop(submissions);
                if idle { Ok(0) } else { self.queues.submit() }
            }
            Wait::Endless => self.queues.submit_and_wait(1),
            Wait::For(timeout) => {
                let time = Timespec::from(timeout);
                self.queues.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        if self.has_submitted() {
            self.retired.clear();
            self.caught_up = true;
        }
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                // Nothing came in time; or completions must be taken, or memory given back, before it goes on.
                Some(Errno::INTR | Errno::TIME | Errno::BUSY | Errno::AGAIN) => Ok(()),
                _ => Err(step("io_uring_enter", &error)),
            },
        }
    }

    /// The next completion.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let entry = self.queues.completion().next()?;
        Some(self.understand(&entry))
    }

    /// The next completion. The most frequent one is told in few words.
    #[inline(always)]
    pub(crate) fn next_news(&mut self) -> Option<News> {
        let entry = self.queues.completion().next()?;
        let plain = i32::from(Tag::is_of(entry.user_data(), Operation::Receive))
            & i32::from(cqueue::more(entry.flags()));
        if plain != 0
            && let Ok(len @ 1..) = u32::try_from(entry.result())
            && let Some(buffer) = cqueue::buffer_select(entry.flags())
            && self.buffers.hold(buffer, len)
        {
            return Some(News::Input(Tag::from_u64(entry.user_data()).key, buffer));
        }
        Some(News::Other(self.understand(&entry)))
    }

    #[cold]
    fn understand(&mut self, entry: &cqueue::Entry) -> Completion {
        let tag = Tag::from_u64(entry.user_data());
        let (number, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        if !more && tag.operation.is_counted() {
            self.in_flight -= 1;
        }
        let result = u32::try_from(number).map_err(|_negative| Errno::from_raw_os_error(-number));
        let buffer = cqueue::buffer_select(flags).filter(|buffer| {
            let held = self.buffers.hold(*buffer, result.unwrap_or(0));
            debug_assert!(held, "the kernel named a buffer that it did not have");
            held
        });
        let accepted = tag.operation == Operation::Accept
            && accepted::is_descriptor(number, more || !self.accepts_events);
        // SAFETY: the kernel has just made this descriptor for this completion; nobody else has it. What some kernels
        // give instead of one is not taken for one.
        let socket = accepted.then(|| unsafe { OwnedFd::from_raw_fd(number) });
        Completion { tag, result, more, buffer, socket }
    }

    /// The bytes in a buffer that is held.
    #[inline]
    pub(crate) fn bytes(&self, buffer: u16) -> &[u8] {
        self.buffers.bytes(buffer)
    }

    /// Gives a buffer that is held back to the kernel.
    #[inline]
    pub(crate) fn release(&mut self, buffer: u16) {
        self.buffers.release(buffer);
    }

    /// Whether the kernel will have a buffer to receive into after the next enter. Asked after it had none, which makes
    /// more of them go its way.
    pub(crate) fn widen(&mut self) -> bool {
        self.buffers.widen()
    }

    /// Whether the kernel will have a buffer to receive into after the next enter.
    pub(crate) fn has_buffers(&self) -> bool {
        self.buffers.has_some()
    }

    /// Buffers there are, held or not.
    pub(crate) fn buffers(&self) -> u16 {
        self.buffers.count()
    }

    fn begin(&mut self, entry: squeue::Entry, tag: Tag) {
        debug_assert!(tag.operation.is_counted(), "its end is waited for");
        self.in_flight += 1;
        self.push(&entry.user_data(tag.to_u64()));
    }

    /// Makes room in the submission queue if there is none.
    #[inline]
    fn has_room(&mut self) -> bool {
        if !self.queues.submission().is_full() {
            return true;
        }
        // A receive that finds no buffer fails at once, and is asked for again as long as some are here.
        self.buffers.publish();
        // A failure leaves it full.
        self.queues.submit().ok();
        !self.queues.submission().is_full()
    }

    fn push(&mut self, entry: &squeue::Entry) {
        if !self.late.is_empty() || !self.has_room() {
            self.late.push_back(entry.clone());
            return;
        }
        self.push_now(entry);
    }

    /// Puts an entry into the queue, which has room.
    #[inline]
    fn push_now(&mut self, entry: &squeue::Entry) {
        // SAFETY: an accept, a poll, a cancel and a fence name no memory. A receive takes its memory from the buffers,
        // which are not freed before it has ended. A send does not wait, so the kernel is done with its bytes when it
        // has taken the entry; they are not written again before that (`settle`) and not freed before either.
        let pushed = unsafe { self.queues.submission().push(entry) };
        debug_assert!(pushed.is_ok(), "there was room");
    }

    fn push_late(&mut self) {
        while !self.late.is_empty() && self.has_room() {
            if let Some(entry) = self.late.pop_front() {
                self.push_now(&entry);
            }
        }
    }

    /// Cancels everything and waits for its end. `false`: something did not end.
    fn drain(&mut self) -> bool {
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        self.push(&all.user_data(Tag::none(Operation::Cancel).to_u64()));
        let mut vain = 0;
        while vain < DRAIN_ROUNDS {
            let before = self.in_flight;
            let wait = if self.in_flight == 0 { Wait::No } else { Wait::For(DRAIN) };
            let entered = self.enter(wait).is_ok();
            // What has been accepted meanwhile is closed here.
            while self.next().is_some() {}
            if self.in_flight == 0 && self.settle(false) {
                return true;
            }
            if !entered {
                return false;
            }
            vain = if self.in_flight < before { 0 } else { vain + 1 };
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let drained = self.drain();
        debug_assert!(drained || std::thread::panicking(), "memory is left to the kernel: {self:?}");
        // SAFETY: each is dropped once, here, and not used any more. The kernel uses the memory no more: nothing is in
        // flight.
        unsafe {
            ManuallyDrop::drop(&mut self.queues);
            if drained {
                ManuallyDrop::drop(&mut self.buffers);
                ManuallyDrop::drop(&mut self.sends);
            }
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// An error with the step in it that failed.
fn step(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
