//! Latencies in a log-linear histogram: 64 steps per power of two, so a figure is at most 1.6 % off.

/// Steps per power of two, as a power of two.
const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;

/// Counts of durations in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Histogram {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; STEPS * (64 - STEP_BITS as usize + 1)], total: 0, longest_ns: 0 }
    }

    /// Counts one duration.
    pub(super) fn record(&mut self, duration_ns: u64) {
        self.counts[bucket(duration_ns)] += 1;
        self.total += 1;
        self.longest_ns = self.longest_ns.max(duration_ns);
    }

    /// The duration that `share` (0.0 to 1.0) of all did not exceed, in nanoseconds; 0 if nothing was counted.
    pub(crate) fn percentile_ns(&self, share: f64) -> u64 {
        let wanted = self.total as f64 * share;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= wanted {
                return upper_bound(index).min(self.longest_ns);
            }
        }
        self.longest_ns
    }

    /// The longest duration, in nanoseconds.
    pub(crate) fn longest_ns(&self) -> u64 {
        self.longest_ns
    }
}

fn bucket(duration_ns: u64) -> usize {
    let power = duration_ns.max(1).ilog2();
    if power < STEP_BITS {
        return usize::try_from(duration_ns).unwrap_or(0);
    }
    let shift = power - STEP_BITS;
    let step = usize::try_from(duration_ns >> shift).unwrap_or(0);
    shift as usize * STEPS + step
}

/// The largest duration that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (row, step) = (bucket / STEPS, bucket % STEPS);
    if row == 0 {
        return step as u64;
    }
    // Row 1 holds 64..128 in steps of one, row 2 holds 128..256 in steps of two, and so on.
    let step_ns = 1_u64 << (row - 1);
    (STEPS + step) as u64 * step_ns + (step_ns - 1)
}

#[cfg(test)]
mod tests {
    use super::{Histogram, bucket, upper_bound};

    #[test]
    fn every_duration_is_at_most_two_percent_below_its_bound() {
        for power in 0..63 {
            for offset in [0, 1, 3] {
                let duration = (1_u64 << power) + offset * (1_u64 << power) / 4;
                let bound = upper_bound(bucket(duration));
                assert!(bound >= duration && bound - duration <= duration / 50, "{duration}: {bound}");
            }
        }
    }

    #[test]
    fn percentiles_of_a_thousand_even_durations() {
        let mut histogram = Histogram::new();
        for step in 1..=1_000 {
            histogram.record(step * 1_000);
        }
        let median = histogram.percentile_ns(0.5);
        assert!((500_000..=508_000).contains(&median), "{median}");
        assert_eq!(histogram.percentile_ns(1.0), 1_000_000);
        assert_eq!(histogram.longest_ns(), 1_000_000);
    }
}
