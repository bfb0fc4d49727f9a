//! Telling which items were evicted, to those who watch.

use super::Store;
use crate::index::mark;
use crate::limits::EVICTED_MAX;
use crate::memory::Location;
use crate::sharing::Sharing;

/// An item that was evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// Its key.
    pub key: Box<[u8]>,
    /// Whether it was read since it was stored.
    pub was_fetched: bool,
    /// When it would have expired, in the store's seconds; 0 for never.
    pub expiry_s: u32,
    /// When it was last read or stored, in the store's seconds.
    pub last_access_s: u32,
    /// The client's flags.
    pub client_flags: u32,
    /// Length of its value in bytes.
    pub len: usize,
}

/// Evicted items, while somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) is_on: bool,
    evicted: Vec<Evicted>,
    missed: u64,
}

impl<S: Sharing> Store<S> {
    /// Whether this handle's evictions are kept for [`Store::take_evicted`]: off at the start.
    pub fn observe_evictions(&mut self, on: bool) {
        if self.observed.is_on != on {
            self.observed = Observed { is_on: on, ..Observed::default() };
        }
    }

    /// Gives each item evicted since the last call to `each`; returns how many more there were than are kept (1,024).
    pub fn take_evicted(&mut self, each: impl FnMut(Evicted)) -> u64 {
        self.observed.evicted.drain(..).for_each(each);
        std::mem::take(&mut self.observed.missed)
    }

    /// Keeps an item that is about to go.
    #[cold]
    pub(super) fn observe_evicted(&mut self, location: Location, mark: u8) {
        if self.observed.evicted.len() >= EVICTED_MAX {
            self.observed.missed += 1;
            return;
        }
        let record = self.core.arena.record(location);
        let evicted = Evicted {
            key: record.key().into(),
            was_fetched: mark & mark::FETCHED != 0,
            expiry_s: record.expiry(),
            last_access_s: self.last_access_s(location),
            client_flags: record.client_flags(),
            len: record.total_len(),
        };
        self.observed.evicted.push(evicted);
    }
}
