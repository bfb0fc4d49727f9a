//! A thread that watches the shards for what keeps them too long, and says so in the log.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mm_runtime::stall::{Stalled, Watcher};

use crate::Log;
use crate::limits::STALL_LOOKS;
use crate::process;

/// The shards' watchers, and whether they are needed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<Watched>,
    ended: bool,
}

#[derive(Debug)]
struct Watched {
    shard: usize,
    watcher: Watcher,
    /// How long the present stall must last to be told of; 0: as long as the limit.
    next_ms: u32,
}

impl Watched {
    /// A stall that is to be told of: when it is found, and each time it has lasted twice as long.
    fn look(&mut self, now_ms: u64) -> Option<Stalled> {
        let Some(stalled) = self.watcher.look(now_ms) else {
            self.next_ms = 0;
            return None;
        };
        if stalled.for_ms < self.next_ms {
            return None;
        }
        self.next_ms = stalled.for_ms.saturating_mul(2);
        Some(stalled)
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a shard, too.
    pub(crate) fn add(&self, shard: usize, watcher: Watcher) {
        self.lock().watched.push(Watched { shard, watcher, next_ms: 0 });
    }

    /// Looks at the shards until that is over: several times per `limit_ms`.
    pub(crate) fn run(&self, limit_ms: u32, log: &Log) {
        // A process in the background may do so only when it serves.
        let mut shares = log.needs_no_file();
        let began = Instant::now();
        let pause = Duration::from_millis(u64::from((limit_ms / STALL_LOOKS).max(1)));
        let mut state = self.lock();
        while !state.ended {
            shares = shares && process::stop_sharing_descriptors().is_err();
            let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let found: Vec<_> = state
                .watched
                .iter_mut()
                .filter_map(|watched| Some((watched.shard, watched.look(now_ms)?)))
                .collect();
            if !found.is_empty() {
                // A log that blocks must not hold up a shard that starts.
                drop(state);
                for (shard, stalled) in found {
                    log.write(&format!("shard {shard}: {stalled}"));
                }
                state = self.lock();
                continue;
            }
            let waited = self.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Ends the watch when the server does, however it does.
pub(crate) struct Ends<'a>(pub(crate) &'a Watch);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}
