//! Handles of a store that several shards work on.

use std::io;
use std::sync::Arc;

use super::Store;
use super::core::Core;
use crate::config::Config;
use crate::kept::{Kept, KeptError};
use crate::sharing::{Exclusive, Shared};

/// A store for several shards. Each shard takes a handle, on its own thread. So does any other thread that works on the
/// store for a while, and gives it back by dropping it.
#[derive(Debug, Clone)]
pub struct StoreHandles {
    core: Arc<Core<Shared>>,
}

impl StoreHandles {
    /// Opens a store for at most `shards` handles at a time. Memory becomes resident as it is used.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had; one of [`io::ErrorKind::InvalidInput`] where there are
    /// more shards than [`Config::shards_max`].
    pub fn open(config: &Config, shards: usize) -> io::Result<Self> {
        Ok(Self { core: Arc::new(Core::open(config, shards)?) })
    }

    /// Opens the store that was left in kept memory, or an empty one where there was none.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn open_kept(config: &Config, shards: usize, kept: &Kept) -> Result<Self, KeptError> {
        let core = Arc::new(Core::open_kept(config, shards, kept)?);
        Ok(Self { core })
    }

    /// A handle for the calling thread; `None` while all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Store<Shared>> {
        let shard = Exclusive::lock(&self.core.idle).pop()?;
        Some(Store::of(Arc::clone(&self.core), shard))
    }
}
