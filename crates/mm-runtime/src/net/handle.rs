//! What the halves of a socket share: the source, and how long a call may wait for it.

use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::linger::linger;
use super::served::Track;
use super::{Direction, Net};
use crate::driver::{Address, SourceId};
use crate::limits::{DISCARD_MS, STARVED_RETRY_MS};
use crate::task::{Interrupted, take_interrupt};
use crate::timers::{Elapsed, Sleep, now, wake_after};

/// A source and its net, closed when the last handle is dropped.
pub(super) struct Handle {
    pub(super) net: Rc<dyn Net>,
    pub(super) source: SourceId,
    /// Who is at the other end; of no meaning for listeners and datagrams.
    pub(super) peer: Address,
    /// For streams that a server serves: what it knows of them.
    pub(super) track: Option<Track>,
}

impl Handle {
    pub(super) fn new(net: Rc<dyn Net>, source: SourceId) -> Self {
        Self { net, source, peer: Address::Unix, track: None }
    }

    pub(super) fn with_peer(mut self, peer: Address) -> Self {
        self.peer = peer;
        self
    }

    /// Whether the server has given this stream up.
    fn check(&self) -> io::Result<()> {
        self.track.as_ref().map_or(Ok(()), Track::check)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let lingers = self.track.as_ref().is_some_and(|track| {
            track.closed();
            track.check().is_ok() && self.net.may_have_input(self.source) && linger(self.source, DISCARD_MS)
        });
        if !lingers {
            self.net.close(self.source);
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
    /// It must wait for memory.
    Starved,
}

/// How long one direction of a socket may wait.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) timeout_ms: Option<u64>,
    /// Stays armed between calls: moving it later is cheaper than setting it anew.
    sleep: Sleep,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { timeout_ms: None, sleep: Sleep::until(0) }
    }

    /// Tries until it is done, waiting for `direction` between tries.
    pub(super) async fn retry<T>(
        &mut self,
        handle: &Handle,
        direction: Direction,
        mut attempt: impl FnMut(&Handle) -> io::Result<Tried<T>>,
    ) -> io::Result<T> {
        let mut waiting = false;
        std::future::poll_fn(|context| {
            handle.check()?;
            match attempt(handle) {
                Ok(Tried::Done(value)) => return Poll::Ready(Ok(value)),
                Ok(Tried::Progress) => waiting = false,
                Ok(Tried::Blocked) => {}
                Ok(Tried::Starved) => wake_after(STARVED_RETRY_MS, context.waker()),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if take_interrupt() {
                return Poll::Ready(Err(Interrupted.into()));
            }
            if let Some(timeout_ms) = self.timeout_ms {
                if !waiting {
                    self.sleep.reset(now().monotonic_ms.saturating_add(timeout_ms));
                    waiting = true;
                }
                if self.sleep.poll_elapsed(context).is_ready() {
                    return Poll::Ready(Err(Elapsed.into()));
                }
            }
            handle.net.wait(handle.source, direction, context.waker());
            Poll::Pending
        })
        .await
    }
}
