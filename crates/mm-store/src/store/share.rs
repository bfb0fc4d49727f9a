//! How much of emptying segments falls to one call.

use crate::limits::{WORK_MAX_BYTES, WORK_PER_OWN_BYTE};

/// The share of one call. Whatever it is, a few records are decided upon.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    /// Bytes of segments to look at.
    bytes: usize,
    /// Unless it costs more than this, in bytes that can be copied in the time.
    work_bytes: usize,
    /// Bytes to look at even then.
    least_bytes: usize,
}

impl Share {
    /// Those few records.
    pub(super) const LEAST: Self = Self { bytes: 0, work_bytes: 0, least_bytes: 0 };

    /// Whatever it costs.
    pub(super) const ALL: Self = Self { bytes: usize::MAX, work_bytes: usize::MAX, least_bytes: usize::MAX };

    /// What falls to a write of `own_bytes`: to look at `bytes` of segments, as far as its work is bounded, and at
    /// `least_bytes` whatever that costs.
    pub(super) fn of_write(own_bytes: usize, bytes: usize, least_bytes: usize) -> Self {
        Self { bytes, work_bytes: WORK_MAX_BYTES.max(WORK_PER_OWN_BYTE * own_bytes), least_bytes }
    }

    /// Whether there is more to do where `examined` bytes were looked at, which cost `work`.
    pub(super) const fn goes_on(self, examined: usize, work: usize) -> bool {
        examined < self.least_bytes || examined < self.bytes && work < self.work_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_bounds_what_bytes_ask_for_but_not_the_least() {
        let share = Share::of_write(100, 1_600, 200);
        assert!(share.goes_on(1_599, WORK_MAX_BYTES - 1) && !share.goes_on(1_600, 0));
        assert!(!share.goes_on(200, WORK_MAX_BYTES) && share.goes_on(199, usize::MAX));
        let large = Share::of_write(WORK_MAX_BYTES, usize::MAX, 0);
        assert!(large.goes_on(1, WORK_PER_OWN_BYTE * WORK_MAX_BYTES - 1), "in proportion to its own");
        assert!(!Share::LEAST.goes_on(0, 0) && Share::ALL.goes_on(1 << 31, 1 << 31));
    }
}
