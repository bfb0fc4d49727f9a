//! io_uring behind a safe face: multishot accept and receive, sends from buffers the ring owns.
//!
//! What the kernel may touch is owned here and never freed: receive buffers are in a mapping that lives as long as
//! the process, output buffers and the answer they refer to are in lists that are never dropped. The caller holds
//! tokens ([`Received`], [`Output`]) that cannot be copied: giving one back to the ring ends the caller's use of the
//! memory.

#![expect(unsafe_code, reason = "the kernel reads and writes the memory that these queues name")]

mod buffers;
mod message;

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use io_uring::cqueue::{buffer_select, more};
use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;

use super::answers::Answers;
use crate::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};
use buffers::ReceiveBuffers;
use message::Outgoing;

/// `MSG_WAITALL`: the kernel goes on sending until all is sent, so a short send means a dead connection.
const SEND_ALL: i32 = 0x100;

/// When the kernel runs the completion work of this ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TaskWork {
    /// In our wait only (single issuer, deferred task work).
    Deferred,
    /// At our next system call of any kind, without an interrupt.
    Cooperative,
    /// Whenever the kernel likes.
    Interrupting,
}

/// How a ring is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingOptions {
    /// When completion work runs.
    pub(crate) task_work: TaskWork,
    /// Whether the ring's own descriptor is registered, which spares a look-up per system call.
    pub(crate) registered_ring: bool,
    /// Whether connections are registered files, which spares a look-up and a reference per operation.
    pub(crate) registered_files: bool,
    /// Least completions to wait for, as long as `patience_us` allows; 1 returns at the first.
    pub(crate) batch: usize,
    /// How long to wait for `batch` completions before fewer will do, in microseconds.
    pub(crate) patience_us: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            task_work: TaskWork::Deferred,
            registered_ring: false,
            registered_files: false,
            batch: 1,
            patience_us: 0,
        }
    }
}

/// Bytes the kernel put into a buffer of the ring.
#[derive(Debug)]
pub(crate) struct Received {
    buffer: u16,
    length: usize,
}

/// An output buffer that is the caller's until it is sent.
#[derive(Debug)]
pub(crate) struct Output(u32);

/// Something the kernel finished. `index` is the connection's descriptor.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A new connection.
    Accepted(OwnedFd),
    /// The multishot accept has ended and must be asked for again.
    AcceptEnded,
    /// Bytes came in; unless `more`, the receive must be asked for again.
    Received {
        /// The connection.
        index: usize,
        /// What came.
        bytes: Received,
        /// Whether the multishot receive goes on.
        more: bool,
    },
    /// There was no buffer to receive into: ask again.
    NoBuffer(usize),
    /// The connection is over.
    Ended(usize),
    /// A send is done.
    Sent {
        /// The connection.
        index: usize,
        /// False if not all could be sent: the connection is dead.
        whole: bool,
    },
}

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// One io_uring instance with its buffers.
pub(crate) struct Ring {
    ring: IoUring,
    options: RingOptions,
    buffers: ReceiveBuffers,
    outputs: ManuallyDrop<Vec<Outgoing>>,
    free: Vec<u32>,
    /// What outputs refer to.
    shared: ManuallyDrop<Vec<u8>>,
}

impl Ring {
    /// Sets a ring up whose outputs refer to this answer, if to any.
    ///
    /// # Errors
    /// The kernel has no io_uring, forbids it, or lacks what `options` ask for.
    pub(crate) fn new(options: RingOptions, shared: &[u8]) -> Result<Self, String> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(RING_COMPLETIONS).setup_single_issuer();
        match options.task_work {
            TaskWork::Deferred => builder.setup_defer_taskrun(),
            TaskWork::Cooperative => builder.setup_coop_taskrun(),
            TaskWork::Interrupting => &mut builder,
        };
        let ring: IoUring = builder.build(RING_SUBMISSIONS).map_err(|error| {
            format!("io_uring is missing or forbidden here ({error}); use an epoll server instead")
        })?;
        if options.registered_ring {
            ring.submitter().register_ring_fd().map_err(|error| format!("register_ring_fd: {error}"))?;
        }
        if options.registered_files {
            ring.submitter()
                .register_files_sparse(RING_COMPLETIONS)
                .map_err(|error| format!("register_files: {error}"))?;
        }
        let buffers = ReceiveBuffers::new(&ring)?;
        let (outputs, shared) = (ManuallyDrop::new(Vec::new()), ManuallyDrop::new(shared.to_vec()));
        Ok(Self { ring, options, buffers, outputs, free: Vec::new(), shared })
    }

    /// Accepts connections until told otherwise.
    ///
    /// # Errors
    /// The queue cannot be submitted.
    pub(crate) fn accept(&mut self, listener: &OwnedFd) -> Result<(), String> {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        self.push(&entry.user_data(ACCEPT))
    }

    /// Receives from a connection until told otherwise; the first call for a connection registers it where asked.
    ///
    /// # Errors
    /// The queue cannot be submitted.
    pub(crate) fn receive(&mut self, stream: &OwnedFd, first: bool) -> Result<(), String> {
        let descriptor = stream.as_raw_fd();
        let entry = if self.options.registered_files {
            let slot = descriptor.unsigned_abs();
            if first {
                self.ring
                    .submitter()
                    .register_files_update(slot, &[descriptor])
                    .map_err(|error| format!("register_files_update: {error}"))?;
            }
            opcode::RecvMulti::new(Fixed(slot), 0).build()
        } else {
            opcode::RecvMulti::new(Fd(descriptor), 0).build()
        };
        self.push(&entry.user_data(user_data(RECEIVE, 0, descriptor)))
    }

    /// Forgets a connection that is about to be closed.
    pub(crate) fn forget(&self, stream: &OwnedFd) {
        if self.options.registered_files {
            // It was registered, so the slot exists; were it not emptied, the peer would only learn later.
            drop(self.ring.submitter().register_files_update(stream.as_raw_fd().unsigned_abs(), &[-1]));
        }
    }

    /// An empty output buffer.
    pub(crate) fn output(&mut self) -> Output {
        Output(self.free.pop().unwrap_or_else(|| {
            self.outputs.push(Outgoing::new());
            u32::try_from(self.outputs.len() - 1).unwrap_or(u32::MAX)
        }))
    }

    /// The received bytes, and where to write the answer.
    pub(crate) fn input_and_output(&mut self, bytes: &Received, output: &Output) -> (&[u8], &mut Answers) {
        (self.buffers.bytes(bytes), &mut self.outputs[output.0 as usize].answers)
    }

    /// The received bytes.
    pub(crate) fn bytes(&self, bytes: &Received) -> &[u8] {
        self.buffers.bytes(bytes)
    }

    /// Whether nothing was written to an output.
    pub(crate) fn is_empty(&self, output: &Output) -> bool {
        self.outputs[output.0 as usize].answers.is_empty()
    }

    /// Takes back an output that will not be sent.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token ends the caller's use of the buffer")]
    pub(crate) fn discard(&mut self, output: Output) {
        self.outputs[output.0 as usize].answers.clear();
        self.free.push(output.0);
    }

    /// Hands a receive buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token ends the caller's use of the buffer")]
    pub(crate) fn recycle(&mut self, bytes: Received) {
        self.buffers.recycle(bytes.buffer);
    }

    /// Sends a whole output with the next wait. One send at a time per connection keeps the order.
    ///
    /// # Errors
    /// The queue cannot be submitted, or the output is larger than 4 GiB.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token ends the caller's use of the buffer")]
    pub(crate) fn send(&mut self, stream: &OwnedFd, output: Output) -> Result<(), String> {
        let outgoing = &mut self.outputs[output.0 as usize];
        let bytes = outgoing.answers.len(self.shared.len());
        let length = u32::try_from(bytes).map_err(|_too_long| "an answer above 4 GiB".to_owned())?;
        let descriptor = stream.as_raw_fd();
        let file = Fixed(descriptor.unsigned_abs());
        let is_fixed = self.options.registered_files;
        let entry = if outgoing.answers.has_shared() {
            let message = outgoing.message(&self.shared);
            if is_fixed {
                opcode::SendMsg::new(file, message).flags(SEND_ALL.unsigned_abs()).build()
            } else {
                opcode::SendMsg::new(Fd(descriptor), message).flags(SEND_ALL.unsigned_abs()).build()
            }
        } else {
            let start = outgoing.answers.bytes.as_ptr();
            if is_fixed {
                opcode::Send::new(file, start, length).flags(SEND_ALL).build()
            } else {
                opcode::Send::new(Fd(descriptor), start, length).flags(SEND_ALL).build()
            }
        };
        self.push(&entry.user_data(user_data(SEND, output.0, descriptor)))
    }

    /// Submits what was asked for, waits, and gives everything that is done.
    ///
    /// # Errors
    /// The ring itself failed.
    pub(crate) fn wait(&mut self, completions: &mut Vec<Completion>) -> Result<(), String> {
        let waited = if self.options.batch > 1 {
            let long = Timespec::new().sec(1);
            let arguments = SubmitArgs::new().timespec(&long).min_wait_usec(self.options.patience_us);
            self.ring.submitter().submit_with_args(self.options.batch, &arguments)
        } else {
            self.ring.submit_and_wait(1)
        };
        match waited {
            Ok(_) => {}
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INTR | Errno::TIME | Errno::BUSY) => {}
                _ => return Err(format!("io_uring_enter: {error}")),
            },
        }
        completions.clear();
        for entry in self.ring.completion() {
            completions.push(decode(&entry, &mut self.outputs, &mut self.free, self.shared.len()));
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) -> Result<(), String> {
        loop {
            // SAFETY: whatever an entry names outlives it: receive buffers are never unmapped; an output buffer
            // and the message that names it are neither moved nor changed between `send` and its completion, because
            // its token was taken, and the list is never dropped, nor is what messages refer to besides; descriptors
            // are resolved by the kernel when the entry is submitted.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit().map_err(|error| format!("io_uring_enter: {error}"))?;
        }
    }
}

/// What a completion entry says. The buffer of a finished send becomes free.
fn decode(
    entry: &cqueue::Entry,
    outputs: &mut [Outgoing],
    free: &mut Vec<u32>,
    shared_bytes: usize,
) -> Completion {
    let (data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
    let index = usize::try_from(data >> 32).unwrap_or(usize::MAX);
    let length = usize::try_from(result).unwrap_or(0);
    match data & 0xff {
        ACCEPT if result >= 0 => {
            // SAFETY: the kernel has just made this descriptor for us; no one else owns it.
            Completion::Accepted(unsafe { OwnedFd::from_raw_fd(result) })
        }
        ACCEPT => Completion::AcceptEnded,
        RECEIVE => match buffer_select(flags) {
            Some(buffer) if length > 0 => {
                Completion::Received { index, bytes: Received { buffer, length }, more: more(flags) }
            }
            _ if result == -Errno::NOBUFS.raw_os_error() => Completion::NoBuffer(index),
            _ => Completion::Ended(index),
        },
        _ => {
            let slot = u32::try_from((data >> 8) & 0x00ff_ffff).unwrap_or(0);
            let answers = &mut outputs[slot as usize].answers;
            let whole = length == answers.len(shared_bytes);
            answers.clear();
            free.push(slot);
            Completion::Sent { index, whole }
        }
    }
}

fn user_data(kind: u64, slot: u32, descriptor: i32) -> u64 {
    kind | u64::from(slot) << 8 | u64::from(descriptor.unsigned_abs()) << 32
}
