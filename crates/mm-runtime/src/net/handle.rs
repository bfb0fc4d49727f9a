//! What the halves of a socket share: the source, who is at its other end, and how long calls may wait for it.
//!
//! A server may have ten thousands of these that say nothing, so what few sockets need is apart, and what is
//! asked rarely is put together when it is asked.

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::cold_path;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::share::{is_spent, spend};
use super::write::{NotTaken, broken, cut};
use super::{Direction, Net};
use crate::driver::{Address, SourceId};
use crate::task::raw::hold_here;
use crate::task::{Interrupted, take_interrupt};
use crate::timers::{Elapsed, Sleep, now};

/// A source and its net, closed when the last handle is dropped.
pub(super) struct Handle {
    pub(super) net: Rc<Net>,
    pub(super) source: SourceId,
    /// Who is at the other end: this, if it is an IPv4 address.
    ip: Ipv4Addr,
    port: u16,
    marks: Cell<u16>,
    /// The same, if it is an IPv6 address.
    long: Option<Box<SocketAddrV6>>,
    /// When bytes last went either way, where a server asks for it.
    pub(super) progress_ms: Cell<u64>,
    /// There once a time-out has been set, or a call has had to be tried again by the clock.
    waits: OnceCell<Box<Waits>>,
}

/// The peer has an IPv4 address.
const IPV4: u16 = 1;
/// A write was given up in its middle.
pub(super) const BROKEN: u16 = 2;
/// A server serves it, and is told what happens.
pub(super) const SERVED: u16 = 4;
/// Something has been received that no whole write has followed.
pub(super) const BUSY: u16 = 8;
/// A write waits for the peer.
pub(super) const BLOCKED: u16 = 16;
/// The server has ended it: its source is closed.
pub(super) const ENDED: u16 = 32;
/// The last write has failed in its middle, and has not been taken up again.
pub(super) const CUT: u16 = 64;
/// The last read of a served stream has had to wait for the peer.
pub(super) const READING: u16 = 128;
/// Something has been received since the last write began.
pub(super) const FRESH: u16 = 256;

impl Handle {
    /// The handle of a listener, of datagrams, or of a stream whose peer has no name.
    pub(super) fn new(net: Rc<Net>, source: SourceId) -> Self {
        Self {
            net,
            source,
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
            marks: Cell::new(0),
            long: None,
            progress_ms: Cell::new(0),
            waits: OnceCell::new(),
        }
    }

    pub(super) fn with_peer(mut self, peer: Address) -> Self {
        match peer {
            Address::Unix => {}
            Address::Ip(SocketAddr::V4(address)) => {
                (self.ip, self.port) = (*address.ip(), address.port());
                self.set(IPV4);
            }
            Address::Ip(SocketAddr::V6(address)) => self.long = Some(Box::new(address)),
        }
        self
    }

    /// Who is at the other end; of no meaning for listeners and datagrams.
    pub(super) fn peer(&self) -> Address {
        match &self.long {
            Some(address) => Address::Ip((**address).into()),
            None if self.has(IPV4) => Address::Ip((self.ip, self.port).into()),
            None => Address::Unix,
        }
    }

    /// Closes the source; by a reset, if the peer would take the end for that of an answer which is not whole.
    pub(super) fn close(&self) {
        if self.has(BROKEN | CUT) {
            self.net.driver.reset(self.source);
        } else {
            self.net.driver.close(self.source);
        }
    }

    /// Tells the peer that nothing more will be written, unless it would take that for the end of an answer which is
    /// not whole: no reset takes it back.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        if self.has(ENDED) {
            return Err(ended());
        }
        if self.has(BROKEN) {
            return Err(broken());
        }
        if self.has(CUT) {
            return Err(cut());
        }
        self.net.driver.shutdown_output(self.source)
    }

    pub(super) fn has(&self, marks: u16) -> bool {
        self.marks.get() & marks != 0
    }

    pub(super) fn set(&self, marks: u16) {
        self.marks.set(self.marks.get() | marks);
    }

    pub(super) fn unset(&self, marks: u16) {
        self.marks.set(self.marks.get() & !marks);
    }

    /// How long a call of this direction may wait; None: for ever.
    pub(super) fn set_timeout_ms(&self, direction: Direction, timeout_ms: Option<u64>) {
        if timeout_ms.is_some() || self.waits.get().is_some() {
            self.waits.get_or_init(Box::default).of(direction).borrow_mut().timeout_ms = timeout_ms;
        }
    }

    /// Tries once, in a future's poll. What is not done will be tried again: the task is woken for `direction`.
    /// `waiting` is the future's, false at first.
    #[inline]
    pub(super) fn poll_try<T>(
        &self,
        direction: Direction,
        waiting: &mut bool,
        context: &mut Context<'_>,
        attempt: impl FnOnce(&Self) -> io::Result<Tried<T>>,
    ) -> Poll<io::Result<T>> {
        if self.has(ENDED) {
            cold_path();
            return Poll::Ready(Err(ended()));
        }
        if is_spent() {
            cold_path();
            return give_way(context);
        }
        let mut is_set = false;
        match attempt(self) {
            Ok(Tried::Done(value)) => {
                spend();
                return Poll::Ready(Ok(value));
            }
            Ok(Tried::Blocked) => {}
            Ok(Tried::Waits) => is_set = true,
            rare => {
                cold_path();
                if let Some(polled) = self.without_success(rare, direction, waiting, context) {
                    return polled;
                }
            }
        }
        if let Some(error) = self.end_of_wait(direction, waiting, context) {
            cold_path();
            return Poll::Ready(Err(error));
        }
        if direction == Direction::Input {
            self.awaits_input();
        }
        if !is_set {
            self.net.driver.wait(self.source, direction, context.waker());
        }
        Poll::Pending
    }

    /// Whether a write that follows a receive is to wait until others that are ready have received, too: then the task
    /// is polled again without being woken. It is asked once for each receive.
    #[inline]
    pub(super) fn holds_write(&self, context: &Context<'_>) -> bool {
        if !self.has(FRESH) {
            return false;
        }
        self.unset(FRESH);
        self.net.sends_at_once && hold_here(context.waker())
    }

    /// What a future's poll comes to when its try has not done everything, and was not simply told to wait. None: it
    /// is to wait.
    #[cold]
    #[inline(never)]
    fn without_success<T>(
        &self,
        tried: io::Result<Tried<T>>,
        direction: Direction,
        waiting: &mut bool,
        context: &mut Context<'_>,
    ) -> Option<Poll<io::Result<T>>> {
        match tried {
            Ok(Tried::Done(value)) => return Some(Poll::Ready(Ok(value))),
            Ok(Tried::Progress) => {
                *waiting = false;
                if is_spent() {
                    return Some(give_way(context));
                }
            }
            Ok(Tried::Blocked | Tried::Waits) => {}
            Ok(Tried::Untold(after_ms)) => self.try_again_after(after_ms, direction, context),
            Err(error) => return Some(Poll::Ready(Err(error))),
        }
        None
    }

    /// Wakes the task after so many milliseconds. However often it is polled until then, that is one timer.
    pub(super) fn try_again_after(&self, after_ms: u64, direction: Direction, context: &mut Context<'_>) {
        let mut patience = self.waits.get_or_init(Box::default).of(direction).borrow_mut();
        let retry = patience.retry.get_or_insert_with(|| Box::new(Sleep::until(0)));
        retry.reset(now().monotonic_ms.saturating_add(after_ms));
        if retry.poll_elapsed(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    /// Why a wait is at its end, if it is.
    #[inline]
    fn end_of_wait(
        &self,
        direction: Direction,
        waiting: &mut bool,
        context: &mut Context<'_>,
    ) -> Option<io::Error> {
        if take_interrupt() {
            cold_path();
            return Some(interrupted());
        }
        if let Some(waits) = self.waits.get()
            && waits.are_over(direction, waiting, context)
        {
            return Some(elapsed(direction));
        }
        None
    }
}

#[cold]
pub(super) fn interrupted() -> io::Error {
    Interrupted.into()
}

#[cold]
fn elapsed(direction: Direction) -> io::Error {
    match direction {
        Direction::Input => Elapsed.into(),
        Direction::Output => io::Error::new(io::ErrorKind::TimedOut, NotTaken),
    }
}

/// Has the task polled again behind those that are ready.
#[cold]
fn give_way<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

#[cold]
pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server has ended this connection")
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.has(ENDED) {
            return;
        }
        let mut lingers = false;
        if self.has(SERVED) {
            self.net.note.closed(self.source);
            // A panic after a write may have come in the middle of an answer.
            if std::thread::panicking() && !self.has(BUSY) {
                self.set(CUT);
            }
            lingers =
                !self.has(BROKEN | CUT) && self.may_still_get_input() && self.net.note.linger(self.source);
        }
        if !lingers {
            self.close();
        }
    }
}

/// What a try came to.
pub(super) enum Tried<T> {
    Done(T),
    /// It must wait, but has got somewhere since the last try.
    Progress,
    /// It must wait.
    Blocked,
    /// It must wait, and the task is going to be woken.
    Waits,
    /// It must wait, and nothing will tell when that was long enough: it is tried again after so many milliseconds.
    Untold(u64),
}

impl<T> Tried<T> {
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Tried<U> {
        match self {
            Self::Done(value) => Tried::Done(make(value)),
            Self::Progress => Tried::Progress,
            Self::Blocked => Tried::Blocked,
            Self::Waits => Tried::Waits,
            Self::Untold(after_ms) => Tried::Untold(after_ms),
        }
    }
}

/// How long each direction of a socket may wait.
#[derive(Default)]
struct Waits {
    input: RefCell<Patience>,
    output: RefCell<Patience>,
}

impl Waits {
    /// Goes on with a wait for `direction`, or begins one. True: it has lasted as long as it may.
    #[inline(never)]
    fn are_over(&self, direction: Direction, waiting: &mut bool, context: &mut Context<'_>) -> bool {
        let mut patience = self.of(direction).borrow_mut();
        let Some(timeout_ms) = patience.timeout_ms else { return false };
        if !*waiting {
            patience.sleep.reset(now().monotonic_ms.saturating_add(timeout_ms));
            *waiting = true;
        }
        patience.sleep.poll_elapsed(context).is_ready()
    }

    fn of(&self, direction: Direction) -> &RefCell<Patience> {
        match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        }
    }
}

/// How long one direction may wait.
struct Patience {
    timeout_ms: Option<u64>,
    /// Stays armed between calls: moving it later is cheaper than setting it anew.
    sleep: Sleep,
    /// When a call is tried again of which nothing tells when; there once that has been needed.
    retry: Option<Box<Sleep>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { timeout_ms: None, sleep: Sleep::until(0), retry: None }
    }
}
