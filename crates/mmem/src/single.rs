//! What stands for stores of several shards in a program that was built for one thread: there are none.

use std::io;

use mainmemory::store::{Config, Kept, KeptError, Store};

/// A store that nobody has.
pub(crate) enum StoreHandles {}

impl StoreHandles {
    pub(crate) fn open(_config: &Config, _shards: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn open_kept(_config: &Config, _shards: usize, _kept: &Kept) -> Result<Self, KeptError> {
        Err(KeptError::System(io::ErrorKind::Unsupported.into()))
    }

    pub(crate) fn take(&self) -> Option<Store> {
        match *self {}
    }
}
