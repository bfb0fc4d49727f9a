//! What the driver knows of a socket.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::driver::Owner;

/// A socket, and what the kernel is doing for it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) socket: OwnedFd,
    pub(super) owner: Owner,
    pub(super) marks: Marks,
    /// Why it is broken.
    pub(super) failure: Option<Errno>,
    /// Received and not yet handed out.
    pub(super) input: Input,
    /// The round of its last copied send, and that send's place in the round.
    pub(super) sent_in: u32,
    pub(super) send: u32,
    /// What few sources have.
    pub(super) extra: Option<Box<Extra>>,
}

/// What a listener has, and a stream whose peer does not read.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Connections that have been accepted and not yet taken.
    pub(super) accepted: VecDeque<OwnedFd>,
    /// Why no more can be accepted.
    pub(super) error: Option<Errno>,
    /// What the kernel had no room for of a send that had been taken.
    pub(super) rest: Vec<u8>,
}

impl Source {
    pub(super) fn new(socket: OwnedFd, owner: Owner, marks: u16) -> Self {
        Self {
            socket,
            owner,
            marks: Marks(marks),
            failure: None,
            input: Input::default(),
            sent_in: 0,
            send: 0,
            extra: None,
        }
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(super) fn has_rest(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.rest.is_empty())
    }

    /// Whether it is a stream of which nothing is on its way in either direction but what it may receive. Its owner may
    /// wait for room. That the peer has finished sending, the socket tells whoever asks next.
    pub(super) fn is_at_rest(&self) -> bool {
        let busy =
            Marks::LISTENER | Marks::DATAGRAMS | Marks::FINISHING | Marks::AWAITS_ROUND | Marks::CONNECTING;
        !self.marks.has(busy) && self.input.is_empty() && self.failure.is_none() && !self.has_rest()
    }

    /// Whether asking for input might find something.
    #[inline]
    pub(super) fn may_have_input(&self) -> bool {
        !self.input.is_empty()
            || self.marks.has(Marks::READABLE)
            || self.marks.has(Marks::ENDED)
            || self.failure.is_some()
    }
}

/// A few truths about a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks(u16);

impl Marks {
    /// It is a listener.
    pub(super) const LISTENER: u16 = 1;
    /// It is a socket for datagrams.
    pub(super) const DATAGRAMS: u16 = 1 << 1;
    /// The kernel receives for it.
    pub(super) const RECEIVING: u16 = 1 << 2;
    /// The kernel accepts for it.
    pub(super) const ACCEPTING: u16 = 1 << 3;
    /// The kernel watches for input.
    pub(super) const POLLING_INPUT: u16 = 1 << 4;
    /// The kernel watches for room for output.
    pub(super) const POLLING_OUTPUT: u16 = 1 << 5;
    /// The receiving or accepting has been cancelled, and is about to end.
    pub(super) const PAUSING: u16 = 1 << 6;
    /// A call for input might find some.
    pub(super) const READABLE: u16 = 1 << 7;
    /// A send might succeed.
    pub(super) const WRITABLE: u16 = 1 << 8;
    /// The peer has finished sending.
    pub(super) const ENDED: u16 = 1 << 9;
    /// Output is to be finished when all of it has been sent.
    pub(super) const FINISHING: u16 = 1 << 10;
    /// Its input goes to memory of its own.
    pub(super) const BULK: u16 = 1 << 11;
    /// Its owner has been told to wait for the end of the round.
    pub(super) const AWAITS_ROUND: u16 = 1 << 12;
    /// The connection has not come about yet.
    pub(super) const CONNECTING: u16 = 1 << 13;
    /// Its receiving or accepting is being stopped so that another driver can take it over.
    pub(super) const LEAVING: u16 = 1 << 14;

    #[inline]
    pub(super) fn has(self, marks: u16) -> bool {
        self.0 & marks != 0
    }

    #[inline]
    pub(super) fn set(&mut self, marks: u16) {
        self.0 |= marks;
    }

    #[inline]
    pub(super) fn clear(&mut self, marks: u16) {
        self.0 &= !marks;
    }
}

/// A queue of buffers, linked to each other in a table of the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input {
    first: u16,
    last: u16,
    count: u16,
    /// How much of the first has been consumed.
    consumed: u16,
}

impl Input {
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    /// How many buffers.
    #[inline]
    pub(super) fn count(self) -> u16 {
        self.count
    }

    #[inline]
    pub(super) fn push(&mut self, buffer: u16, links: &mut [u16]) {
        if self.count == 0 {
            (self.first, self.consumed) = (buffer, 0);
        } else {
            links[usize::from(self.last)] = buffer;
        }
        self.last = buffer;
        self.count += 1;
    }

    /// The first buffer and how much of it has been consumed.
    #[inline]
    pub(super) fn first(self) -> Option<(u16, usize)> {
        (self.count > 0).then(|| (self.first, usize::from(self.consumed)))
    }

    /// Takes the first buffer out; with how much of it has been consumed.
    #[inline]
    pub(super) fn pop_from(&mut self, links: &[u16]) -> Option<(u16, usize)> {
        let first = self.first()?;
        self.count -= 1;
        self.consumed = 0;
        if self.count > 0 {
            self.first = links[usize::from(self.first)];
        }
        Some(first)
    }

    /// Takes the first buffer out.
    pub(super) fn pop(&mut self, links: &[u16]) -> Option<u16> {
        self.pop_from(links).map(|(buffer, _)| buffer)
    }

    /// So much more of the first buffer, which has more than that, has been consumed.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += u16::try_from(bytes).unwrap_or(0);
    }
}
