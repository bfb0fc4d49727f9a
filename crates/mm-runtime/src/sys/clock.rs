//! The clocks.

use mm_base::Now;
use rustix::time::{ClockId, clock_gettime};

/// Reads the clocks, the calendar's only every [`UNIX_REFRESH_MS`] milliseconds.
#[derive(Debug)]
pub struct Clock {
    now: Now,
    /// When the calendar is to be read again.
    refresh_ms: u64,
}

/// How old the reading of the calendar may be, in milliseconds.
pub const UNIX_REFRESH_MS: u64 = 20;

impl Clock {
    /// A clock that has not been read.
    #[must_use]
    pub fn new() -> Self {
        Self { now: Now::default(), refresh_ms: 0 }
    }

    /// The time.
    pub fn now(&mut self) -> Now {
        let time = clock_gettime(ClockId::Monotonic);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        let monotonic_ms = u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + nanoseconds / 1_000_000;
        self.now.monotonic_ms = monotonic_ms;
        if monotonic_ms >= self.refresh_ms {
            self.refresh_ms = monotonic_ms + UNIX_REFRESH_MS;
            self.now.unix_s = u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0);
        }
        self.now
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_systems() {
        let mut clock = Clock::new();
        let first = clock.now();
        let unix_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(first.unix_s.abs_diff(unix_s) <= 1);
        assert!(clock.now().monotonic_ms >= first.monotonic_ms);
    }
}
