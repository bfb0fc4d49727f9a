//! Whether what a connection sends into the service's memory comes fast enough to keep that memory from others.

use crate::limits::{PACE_BYTES_PER_MS, STALLED_MS};

/// How far a connection is behind the slowest pace. What comes buys time for as long as it should have taken, but none
/// in advance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// As it was when bytes came last.
    behind_ms: u32,
}

impl Pace {
    /// So many bytes have come after so many milliseconds in which none did.
    pub(super) fn received(&mut self, bytes: usize, silent_ms: u64) {
        let bought_ms = u64::try_from(bytes).unwrap_or(u64::MAX) / PACE_BYTES_PER_MS;
        let behind_ms = (u64::from(self.behind_ms) + silent_ms).saturating_sub(bought_ms);
        self.behind_ms = u32::try_from(behind_ms).unwrap_or(u32::MAX);
    }

    /// When it may be closed for it, where nothing has come since `progress_ms`.
    pub(super) fn due_ms(self, progress_ms: u64) -> u64 {
        (progress_ms + STALLED_MS).saturating_sub(u64::from(self.behind_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a connection is due from which so many bytes came every so many milliseconds, from the time 1,000 on.
    fn due_after(times: u64, bytes: usize, every_ms: u64) -> (u64, u64) {
        let mut pace = Pace::default();
        let mut now_ms = 1000;
        for _ in 0..times {
            now_ms += every_ms;
            pace.received(bytes, every_ms);
        }
        (now_ms, pace.due_ms(now_ms))
    }

    #[test]
    fn one_that_keeps_pace_is_not_due_before_it_has_been_silent() {
        for (bytes, every_ms) in [(16, 1), (1 << 20, 1), (17 * 900, 900), (100 << 20, 5000)] {
            let (now_ms, due_ms) = due_after(1000, bytes, every_ms);
            assert_eq!(due_ms, now_ms + STALLED_MS, "{bytes} bytes every {every_ms} ms");
        }
    }

    #[test]
    fn one_that_sends_too_little_is_due_however_often_it_sends() {
        for (bytes, every_ms) in [(1, 1000), (1, 1), (100, 100), (4000, 500)] {
            let (now_ms, due_ms) = due_after(10_000 / every_ms, bytes, every_ms);
            assert!(due_ms < now_ms, "{bytes} bytes every {every_ms} ms");
        }
    }

    #[test]
    fn what_has_come_buys_no_time_in_advance_and_a_late_burst_makes_up() {
        let mut pace = Pace::default();
        pace.received(1 << 30, 0);
        assert_eq!(pace.due_ms(1000), 1000 + STALLED_MS);
        pace.received(0, 5000);
        assert_eq!(pace.due_ms(6000), 1000 + STALLED_MS);
        pace.received(1 << 20, 0);
        assert_eq!(pace.due_ms(6000), 6000 + STALLED_MS);
    }
}
