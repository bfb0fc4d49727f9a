//! Sizes of values.

use crate::trace::number::real;
use crate::trace::random::{Random, Weighted};

/// A distribution of value sizes, in bytes.
#[derive(Debug, Clone)]
pub(crate) enum Sizes {
    /// All the same.
    Fixed(usize),
    /// Log-normal, cut at the largest.
    LogNormal {
        /// Half of the values are smaller.
        median: f64,
        /// Standard deviation of the logarithm.
        spread: f64,
        /// No value is larger.
        max: f64,
    },
    /// Points of the cumulative distribution, straight lines between their logarithms.
    Quantiles(&'static [(f64, f64)]),
    /// Each size with its weight.
    Histogram {
        /// In bytes.
        sizes: Vec<u32>,
        /// One for each.
        weights: Weighted,
    },
}

impl Sizes {
    /// Log-normal with the given mean.
    pub(crate) fn with_mean(mean: f64, spread: f64) -> Self {
        Self::LogNormal { median: mean / (spread * spread / 2.0).exp(), spread, max: 1_048_000.0 - 512.0 }
    }

    /// One size.
    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Self::Fixed(size) => real(*size as u64),
            Self::LogNormal { median, spread, max } => random.log_normal(*median, *spread).clamp(1.0, *max),
            Self::Quantiles(points) => interpolate(points, random.unit()),
            Self::Histogram { sizes, weights } => {
                real(sizes.get(weights.draw(random)).copied().unwrap_or(1).into())
            }
        }
    }
}

fn interpolate(points: &[(f64, f64)], at: f64) -> f64 {
    let next = points.partition_point(|point| point.0 <= at);
    let (Some(&low), Some(&high)) = (points.get(next.wrapping_sub(1)), points.get(next)) else {
        return points.get(next.min(points.len().saturating_sub(1))).map_or(1.0, |point| point.1);
    };
    let share = (at - low.0) / (high.0 - low.0);
    (low.1.ln() + share * (high.1.ln() - low.1.ln())).exp()
}

#[cfg(test)]
mod tests {
    use super::interpolate;

    #[test]
    fn quantiles_are_met_and_joined_in_the_logarithm() {
        let points = [(0.0, 10.0), (0.5, 100.0), (1.0, 10_000.0)];
        assert!((interpolate(&points, 0.5) - 100.0).abs() < 1e-9);
        assert!((interpolate(&points, 0.75) - 1000.0).abs() < 1e-6);
        assert!((interpolate(&points, 1.0) - 10_000.0).abs() < 1e-6);
    }
}
