//! Which key comes next.

use super::random::Random;

/// Chooses keys, numbered from 0.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// All equally often.
    Uniform(u64),
    /// A few very often.
    Zipf(Zipf),
}

impl Keys {
    /// `count` keys; `exponent` 0 is uniform.
    pub(crate) fn new(count: u64, exponent: f64) -> Self {
        if exponent > 0.0 { Self::Zipf(Zipf::new(count, exponent)) } else { Self::Uniform(count) }
    }

    /// The next key.
    pub(crate) fn next(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform(count) => random.below(*count),
            Self::Zipf(zipf) => zipf.next(random),
        }
    }
}

/// A Zipf distribution drawn by rejection-inversion (W. Hoermann and G. Derflinger, 1996): exact, without a table.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    count: u64,
    exponent: f64,
    first: f64,
    last: f64,
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count, exponent, first: 0.0, last: 0.0, shortcut: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(count as f64 + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - 2_f64.powf(-exponent));
        zipf
    }

    fn integral(&self, x: f64) -> f64 {
        if self.exponent == 1.0 { x.ln() } else { x.powf(1.0 - self.exponent) / (1.0 - self.exponent) }
    }

    fn inverse(&self, y: f64) -> f64 {
        if self.exponent == 1.0 {
            y.exp()
        } else {
            ((1.0 - self.exponent) * y).powf(1.0 / (1.0 - self.exponent))
        }
    }

    /// The next rank, spread over the key space so that frequent keys are not neighbours.
    fn next(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.last + random.unit() * (self.first - self.last);
            let x = self.inverse(area);
            let rank = (x + 0.5).floor().clamp(1.0, self.count as f64);
            if rank - x <= self.shortcut || area >= self.integral(rank + 0.5) - rank.powf(-self.exponent) {
                return whole(rank).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.count;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is whole and at least 1")]
fn whole(rank: f64) -> u64 {
    rank as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::Keys;
    use crate::load::random::Random;

    fn counts(exponent: f64) -> Vec<u32> {
        let (keys, mut random) = (Keys::new(1_000, exponent), Random::new(7));
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for _ in 0..100_000 {
            let key = keys.next(&mut random);
            assert!(key < 1_000);
            *counts.entry(key).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn uniform_keys_come_equally_often() {
        let counts = counts(0.0);
        assert_eq!(counts.len(), 1_000);
        assert!(counts[0] < 200, "the most frequent came {} times of 100 expected", counts[0]);
    }

    #[test]
    fn the_most_frequent_zipf_key_comes_as_often_as_the_law_says() {
        // With 1,000 keys and exponent 1 the harmonic number is 7.485: the first key has 13.36 % of the draws.
        let counts = counts(1.0);
        assert!((13_000..13_800).contains(&counts[0]), "the most frequent came {} times", counts[0]);
        assert!((6_300..7_100).contains(&counts[1]), "the second came {} times", counts[1]);
    }
}
