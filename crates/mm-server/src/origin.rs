//! How many connections each peer has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_runtime::driver::Address;

/// Who a connection comes from, as far as a limit is concerned: an IPv4 address, or the first half of an IPv6 one, all
/// of which one host may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(NonZeroU64);

impl Origin {
    /// Peers on a Unix socket have none: they are all of this machine.
    pub(crate) fn of(address: Address) -> Option<Self> {
        let Address::Ip(address) = address else { return None };
        let number = match address.ip().to_canonical() {
            // Beside the prefixes that IPv6 hosts can have.
            IpAddr::V4(ip) => 1 << 32 | u64::from(u32::from(ip)),
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
        };
        Some(Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN)))
    }
}

/// The connections of each origin, over all shards. As large as there are connections at most. Its lock is taken once
/// when a connection comes and once when it goes, and only where there is a limit.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    counts: Mutex<HashMap<Origin, usize>>,
}

impl Origins {
    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, unless there are `max`.
    pub(crate) fn enter(&self, origin: Origin, max: usize) -> bool {
        let mut counts = self.lock();
        let count = counts.entry(origin).or_default();
        let enters = *count < max;
        if enters {
            *count += 1;
        } else if *count == 0 {
            counts.remove(&origin);
        }
        enters
    }

    /// One less.
    pub(crate) fn leave(&self, origin: Origin) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&origin);
            }
        }
    }
}
