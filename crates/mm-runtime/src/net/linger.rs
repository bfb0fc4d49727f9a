//! Closing a stream whose peer may still send: see [`linger`].

use std::cell::Cell;
use std::rc::Rc;

use super::handle::Handle;
use super::{Stream, current};
use crate::driver::SourceId;
use crate::limits::{DISCARD_BYTES_MAX, DISCARDING_MAX};
use crate::task::{Name, Options, has_room, spawn_with};
use crate::timers::timeout;

thread_local! {
    static LINGERING: Cell<usize> = const { Cell::new(0) };
}

struct Counted;

impl Counted {
    fn new() -> Self {
        LINGERING.set(LINGERING.get() + 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LINGERING.set(LINGERING.get() - 1);
    }
}

/// How many streams of this thread's shard [linger]: a shard that ends with some of them resets their peers.
#[must_use]
pub fn lingering() -> usize {
    LINGERING.get()
}

/// Ends the output of a task's source and drops what its peer still sends, until the peer has finished or `linger_ms`
/// milliseconds have passed; only then it is closed. Closed at once, with input unread, it would be reset, and the
/// reset would overtake what was sent last. False: not here, or too many linger already; the source is as before.
pub fn linger(source: SourceId, linger_ms: u64) -> bool {
    if linger_ms == 0 || LINGERING.get() >= DISCARDING_MAX || !has_room() {
        return false;
    }
    let Ok(net) = current() else { return false };
    let mut stream = Stream::of_handle(Rc::new(Handle::new(net, source)));
    let counted = Counted::new();
    let task = async move {
        let _counted = counted;
        if stream.shutdown().is_ok() {
            // Whether it has finished, failed or been too slow: it is closed.
            timeout(linger_ms, discard(&mut stream)).await.ok();
        }
    };
    spawn_with(Options::new().name(Name::new("linger")), task).detach();
    true
}

async fn discard(stream: &mut Stream) {
    let mut space = [0; 1024];
    let mut left = DISCARD_BYTES_MAX;
    while let Ok(received @ 1..) = stream.read(&mut space).await {
        left = left.saturating_sub(received);
        if left == 0 {
            return;
        }
    }
}
