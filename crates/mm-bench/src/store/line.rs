//! How long a cache line takes from one core to the other.
//!
//! Whatever two shards both write costs that much each time. Where the machine is a guest, its host may move it between
//! cores that share a cache and cores that do not, from one minute to the next, which changes it by a factor of five.

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Times that the line goes to and fro between two looks at the clock.
const ROUND_TRIPS: u32 = 50;

/// Looks at the clock.
const LOOKS: usize = 20;

/// A line that two threads write by turns, [`Line::exchange`] in one and [`Line::answer`] in the other.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Line(AtomicU64);

impl Line {
    /// Returns when the line went to and fro [`ROUND_TRIPS`] times, again and again.
    pub(super) fn exchange(&self) -> Vec<Range<Instant>> {
        let mut number = 0;
        let mut timed = || {
            let start = Instant::now();
            for _ in 0..ROUND_TRIPS {
                self.0.store(number + 1, Ordering::Release);
                number += 2;
                self.wait_for(number);
            }
            start..Instant::now()
        };
        (0..LOOKS).map(|_| timed()).collect()
    }

    /// The other side of it.
    pub(super) fn answer(&self) {
        for number in 0..u64::from(ROUND_TRIPS) * LOOKS as u64 {
            self.wait_for(2 * number + 1);
            self.0.store(2 * number + 2, Ordering::Release);
        }
    }

    fn wait_for(&self, number: u64) {
        while self.0.load(Ordering::Acquire) != number {
            spin_loop();
        }
    }
}

/// Nanoseconds of one way, of an exchange that took so long.
pub(super) fn one_way_ns(exchange: &Range<Instant>) -> f64 {
    let took = exchange.end.duration_since(exchange.start);
    took.as_secs_f64() * 1e9 / f64::from(2 * ROUND_TRIPS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_sides_come_to_an_end() {
        let line = Line::default();
        let times = std::thread::scope(|scope| {
            scope.spawn(|| line.answer());
            line.exchange()
        });
        assert_eq!(times.len(), LOOKS);
        let start = Instant::now();
        let ns = one_way_ns(&(start..start + Duration::from_micros(4)));
        assert!((ns - 40.0).abs() < 0.001, "{ns}");
    }
}
