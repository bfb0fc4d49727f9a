//! Seeded random numbers and the distributions the generators draw from.

use super::number::{real, whole};

/// SplitMix64: one word of state, every seed good, plenty for generating work.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        real(self.next() >> 11) / real(1 << 53)
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Log-normal with the given median and spread (the standard deviation of the logarithm).
    pub(crate) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.unit();
        median * (spread * radius * angle.cos()).exp()
    }
}

/// Scrambles 64 bits (the finalizer of SplitMix64): a hash for numbers.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Ranks `0..count` with probability proportional to `(rank + 1) ^ -alpha`.
///
/// Rejection-inversion (Hoermann and Derflinger 1996): no table, any `alpha >= 0`.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    alpha: f64,
    first: f64,
    last: f64,
    slack: f64,
    count: u64,
}

impl Zipf {
    pub(crate) fn new(count: u64, alpha: f64) -> Self {
        let first = integral(1.5, alpha) - 1.0;
        let last = integral(real(count) + 0.5, alpha);
        let slack = 2.0 - inverse(integral(2.5, alpha) - 2f64.powf(-alpha), alpha);
        Self { alpha, first, last, slack, count }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.last + random.unit() * (self.first - self.last);
            let point = inverse(area, self.alpha);
            let rank = (point + 0.5).floor().clamp(1.0, real(self.count));
            let accept = rank - point <= self.slack
                || area >= integral(rank + 0.5, self.alpha) - rank.powf(-self.alpha);
            if accept {
                return whole(rank) - 1;
            }
        }
    }
}

/// The integral of `x ^ -alpha`.
fn integral(x: f64, alpha: f64) -> f64 {
    if (alpha - 1.0).abs() < 1e-9 { x.ln() } else { (x.powf(1.0 - alpha) - 1.0) / (1.0 - alpha) }
}

/// The inverse of [`integral`].
fn inverse(area: f64, alpha: f64) -> f64 {
    if (alpha - 1.0).abs() < 1e-9 {
        area.exp()
    } else {
        area.mul_add(1.0 - alpha, 1.0).max(0.0).powf(1.0 / (1.0 - alpha))
    }
}

/// Draws from a list of weights in constant memory per entry, by binary search.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    cumulative: Vec<f64>,
}

impl Weighted {
    /// Weights need not add up to one; negative ones count as none.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let cumulative = weights
            .into_iter()
            .map(|weight| {
                sum += weight.max(0.0);
                sum
            })
            .collect();
        Self { cumulative }
    }

    /// The index drawn; 0 for an empty list.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let point = random.unit() * total;
        self.cumulative.partition_point(|&edge| edge <= point).min(self.cumulative.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_frequencies_follow_the_law() {
        for alpha in [0.0, 0.6, 1.0, 1.4] {
            let zipf = Zipf::new(1000, alpha);
            let mut random = Random::new(7);
            let mut seen = vec![0_u64; 1000];
            for _ in 0..400_000 {
                seen[usize::try_from(zipf.draw(&mut random)).unwrap()] += 1;
            }
            let norm: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-alpha)).sum();
            for rank in [1_u32, 2, 10] {
                let want = 400_000.0 * f64::from(rank).powf(-alpha) / norm;
                let got = real(seen[rank as usize - 1]);
                assert!(
                    (got - want).abs() < 5.0 * want.sqrt() + 1.0,
                    "alpha {alpha} rank {rank}: {got} {want}"
                );
            }
        }
    }

    #[test]
    fn weighted_draws_only_what_has_weight() {
        let weighted = Weighted::new([0.0, 1.0, 0.0, 3.0]);
        let mut random = Random::new(1);
        let mut seen = [0; 4];
        for _ in 0..4000 {
            seen[weighted.draw(&mut random)] += 1;
        }
        assert_eq!((seen[0], seen[2]), (0, 0));
        assert!((2800..3200).contains(&seen[3]), "{seen:?}");
    }
}
