//! Seeded randomness: the same seed gives the same requests.

/// A xorshift128+ generator: fast, and good enough to pick keys with.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 2],
}

impl Random {
    /// A generator for `seed`; any seed will do.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: [mix(seed) | 1, mix(seed ^ 0xd1b5_4a32_d192_ed03)] }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [mut older, newer] = self.state;
        older ^= older << 23;
        self.state = [newer, older ^ newer ^ (older >> 17) ^ (newer >> 26)];
        self.state[1].wrapping_add(newer)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        scale(self.bits(), bound)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Spreads 64 random bits evenly over `0..bound`.
pub(crate) fn scale(bits: u64, bound: u64) -> u64 {
    let product = u128::from(bits) * u128::from(bound);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// A value that looks random but depends on `id` alone (the finalizer of splitmix64).
pub(crate) fn mix(id: u64) -> u64 {
    let mut bits = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
