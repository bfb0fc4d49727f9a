//! Work that blocks, done on threads kept for it: files, names, and whatever has no asynchronous form.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crate::limits::{OFFLOAD_QUEUE_MAX, OFFLOAD_THREADS_MAX};
use crate::sync::Closed;
use crate::sync::cross::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static STATE: Mutex<State> = Mutex::new(State { jobs: VecDeque::new(), threads: 0, idle: 0 });
static WORK: Condvar = Condvar::new();

/// Why offloaded work gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffloadError {
    /// As much work waits as may: do less at once, or later.
    Full,
    /// The work panicked, or no thread could be started for it.
    Failed,
    /// The waiting task was interrupted. The work goes on.
    Interrupted,
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the offload pool is full",
            Self::Failed => "the offloaded work failed",
            Self::Interrupted => "interrupted while waiting for offloaded work",
        })
    }
}

impl std::error::Error for OffloadError {}

impl From<OffloadError> for io::Error {
    fn from(error: OffloadError) -> Self {
        let kind = match error {
            OffloadError::Full => io::ErrorKind::ResourceBusy,
            OffloadError::Failed => io::ErrorKind::Other,
            OffloadError::Interrupted => io::ErrorKind::Interrupted,
        };
        Self::new(kind, error)
    }
}

/// Runs `work` on a thread of the pool and gives its result to the waiting task. Work that has not begun when the
/// task gives up is not done.
///
/// # Errors
/// See [`OffloadError`].
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, OffloadError> {
    let (sender, receiver) = oneshot();
    push(Box::new(move || {
        if !sender.is_closed() {
            // The receiver may be gone by now; then nobody wants the result.
            drop(sender.send(work()));
        }
    }))?;
    receiver.await.map_err(|closed| match closed {
        Closed::Gone => OffloadError::Failed,
        Closed::Interrupted => OffloadError::Interrupted,
    })
}

fn push(job: Job) -> Result<(), OffloadError> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.jobs.len() >= OFFLOAD_QUEUE_MAX {
        return Err(OffloadError::Full);
    }
    if state.idle <= state.jobs.len() && state.threads < OFFLOAD_THREADS_MAX {
        let thread = thread::Builder::new().name("mm-offload".into());
        match thread.spawn(serve) {
            Ok(_) => state.threads += 1,
            Err(_) if state.threads == 0 => return Err(OffloadError::Failed),
            Err(_) => {}
        }
    }
    state.jobs.push_back(job);
    drop(state);
    WORK.notify_one();
    Ok(())
}

/// A thread of the pool, which lives as long as the process.
fn serve() {
    // Work of all shards is done here, not only of the one that has started this thread.
    crate::sys::affinity::free();
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            // A panic drops the job's sender, which tells the waiting task.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
            state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        } else {
            state.idle += 1;
            state = WORK.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}
