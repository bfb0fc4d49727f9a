//! Looking for events for a while before sleeping.
//!
//! A wait that sleeps costs two changes of threads and a wake-up, some microseconds of latency; one that looks costs
//! processor time. How long to look adapts: half as long after looking in vain, down to a sixteenth, and twice as long
//! after it paid.

use std::time::{Duration, Instant};

/// How long to look, between waits.
#[derive(Debug, Default)]
pub(super) struct Spin {
    longest_us: u32,
    present_us: u32,
}

/// One wait's looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looking {
    until: Instant,
}

impl Spin {
    /// Looks at most so long, in microseconds; 0: not at all.
    pub(super) fn set_us(&mut self, longest_us: u32) {
        (self.longest_us, self.present_us) = (longest_us, longest_us);
    }

    /// Begins to look, if it is to be done.
    #[inline]
    pub(super) fn begin(&self) -> Option<Looking> {
        if self.longest_us == 0 {
            return None;
        }
        Some(Looking { until: Instant::now() + Duration::from_micros(self.present_us.into()) })
    }

    /// Whether something was found.
    pub(super) fn end(&mut self, found: bool) {
        let shortest_us = (self.longest_us / 16).max(1);
        self.present_us = if found {
            self.present_us.saturating_mul(2).min(self.longest_us)
        } else {
            (self.present_us / 2).max(shortest_us)
        };
    }
}

impl Looking {
    /// Whether the time is over.
    #[inline]
    pub(super) fn is_over(self) -> bool {
        Instant::now() >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_in_vain_makes_it_shorter_and_success_longer() {
        let mut spin = Spin::default();
        assert!(spin.begin().is_none());
        spin.set_us(160);
        for expected in [80, 40, 20, 10, 10] {
            spin.end(false);
            assert_eq!(spin.present_us, expected);
        }
        for expected in [20, 40, 80, 160, 160] {
            spin.end(true);
            assert_eq!(spin.present_us, expected);
        }
        assert!(spin.begin().is_some());
    }
}
