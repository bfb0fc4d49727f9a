//! Handles of a store that several shards work on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Store;
use super::core::Core;
use crate::config::Config;
use crate::kept::{Kept, KeptError};
use crate::sharing::Shared;

/// A store for several shards. Each shard takes a handle, on its own thread.
#[derive(Debug, Clone)]
pub struct StoreHandles {
    core: Arc<Core<Shared>>,
    taken: Arc<AtomicUsize>,
}

impl StoreHandles {
    /// Opens a store for at most `shards` handles. Memory becomes resident as it is used.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub fn open(config: &Config, shards: usize) -> io::Result<Self> {
        Ok(Self { core: Arc::new(Core::open(config, shards)?), taken: Arc::default() })
    }

    /// Opens the store that was left in kept memory, or an empty one where there was none.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn open_kept(config: &Config, shards: usize, kept: &Kept) -> Result<Self, KeptError> {
        let core = Arc::new(Core::open_kept(config, shards, kept)?);
        Ok(Self { core, taken: Arc::default() })
    }

    /// A handle for the calling thread; `None` when all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Store<Shared>> {
        let shards = self.core.counters.len();
        let next = |taken| (taken < shards).then_some(taken + 1);
        let shard = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Store::of(Arc::clone(&self.core), shard))
    }
}
