//! Seeded choices: everything random in simulation and tests comes from one number.
//!
//! xoshiro256++ (Blackman and Vigna), its state filled by SplitMix64 as its authors advise. It is fast and passes the
//! usual statistical tests; it is no source of secrets.

/// A stream of choices that one seed decides wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    seed: u64,
    state: [u64; 4],
}

impl Choices {
    /// The stream of `seed`; every number is a good seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut split = seed;
        Self { seed, state: std::array::from_fn(|_| split_mix(&mut split)) }
    }

    /// The seed this stream came from, to be printed when a test fails.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A stream of its own for the part called `label`: what one part draws does not change what another sees.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        let mut split = label ^ 0x6d6d_6261_7365_0001;
        Self::new(self.seed ^ split_mix(&mut split))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each equally likely (within 2^-64 of it); 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        high_half(u128::from(self.next_u64()) * u128::from(bound))
    }

    /// An index into something of `len` elements; 0 when there are none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included; `low` when `high` is not above it.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        match (high - low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True once in `n` times on the average; never when `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }

    /// A number from 0 up to but without 1, in steps of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// One of the elements; None when there are none.
    pub fn pick<'a, T>(&mut self, elements: &'a [T]) -> Option<&'a T> {
        elements.get(self.index(elements.len()))
    }

    /// Puts the elements into a random order.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for end in (1..elements.len()).rev() {
            elements.swap(end, self.index(end + 1));
        }
    }
}

const fn high_half(product: u128) -> u64 {
    (product >> 64) as u64
}

/// One step of SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first outputs of the published SplitMix64 for the seed 1234567.
    #[test]
    fn split_mix_is_the_published_one() {
        let mut state = 1_234_567;
        let drawn: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    /// The published xoshiro256++ gives these from the state 1, 2, 3, 4.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut choices = Choices { seed: 0, state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| choices.next_u64()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn a_fork_is_not_moved_by_its_siblings() {
        let choices = Choices::new(9);
        let alone = choices.fork(2).next_u64();
        let mut sibling = choices.fork(1);
        assert_ne!(sibling.next_u64(), alone);
        assert_eq!(choices.fork(2).next_u64(), alone);
    }

    #[test]
    fn small_bounds_are_drawn_evenly() {
        let mut choices = Choices::new(1);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[choices.index(6)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn choices_stay_within_their_bounds(seed: u64, low: u64, high: u64, mut elements: Vec<u8>) {
            let mut choices = Choices::new(seed);
            prop_assert!(choices.below(high) < high.max(1));
            let between = choices.between(low, high);
            prop_assert!(between == low || (low..=high).contains(&between));
            prop_assert!((0.0..1.0).contains(&choices.unit()));
            prop_assert_eq!(choices.pick(&elements).is_some(), !elements.is_empty());
            let mut sorted = elements.clone();
            choices.shuffle(&mut elements);
            sorted.sort_unstable();
            elements.sort_unstable();
            prop_assert_eq!(sorted, elements);
        }
    }
}
