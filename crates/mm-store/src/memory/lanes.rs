//! Eight numbers of 16 bits compared together.

/// Numbers compared together.
pub(super) const LANES: usize = 8;

#[cfg(target_arch = "x86_64")]
mod vector {
    use core::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x, _mm_set1_epi16,
        _mm_setzero_si128,
    };

    /// Bit `i` is set where number `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to([low, high]: [u64; 2], wanted: u16) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let numbers = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
            let equal = _mm_cmpeq_epi16(numbers, _mm_set1_epi16(wanted.cast_signed()));
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())).cast_unsigned()
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod vector {
    use core::arch::aarch64::{
        uint16x8_t, vaddvq_u16, vandq_u16, vceqq_u16, vcombine_u64, vcreate_u64, vdupq_n_u16,
        vreinterpretq_u16_u64,
    };

    /// Bit `i` is set where number `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to([low, high]: [u64; 2], wanted: u16) -> u32 {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let bits = vector(0x0008_0004_0002_0001, 0x0080_0040_0020_0010);
            let equal = vceqq_u16(vector(low, high), vdupq_n_u16(wanted));
            u32::from(vaddvq_u16(vandq_u16(equal, bits)))
        }
    }

    #[inline(always)]
    fn vector(low: u64, high: u64) -> uint16x8_t {
        // SAFETY: as above.
        unsafe { vreinterpretq_u16_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high))) }
    }
}

/// The same for every architecture.
#[cfg(any(test, not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))))]
mod portable {
    const ONES: u64 = 0x0001_0001_0001_0001;
    const LOW_BITS: u64 = 0x7fff * ONES;

    /// Bit `i` is set where number `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to([low, high]: [u64; 2], wanted: u16) -> u32 {
        let pattern = u64::from(wanted) * ONES;
        zeros_in(low ^ pattern) | zeros_in(high ^ pattern) << 4
    }

    /// Bit `i` is set where number `i` of four is 0.
    #[inline(always)]
    const fn zeros_in(numbers: u64) -> u32 {
        // The upper bit of a number is set where any bit of it is; no sum reaches the next number.
        let upper_bits = !(((numbers & LOW_BITS) + LOW_BITS) | numbers) & !LOW_BITS;
        ((upper_bits >> 15).wrapping_mul(0x0001_0002_0004_0008) >> 48 & 0xf) as u32
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
pub(super) use portable::equal_to;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
pub(super) use vector::equal_to;

#[cfg(test)]
mod tests {
    use super::*;
    use mm_base::choice::Choices;

    #[test]
    fn vectors_and_words_find_what_single_comparisons_find() {
        let mut choices = Choices::new(1);
        let edges = [0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
        for round in 0..20_000 {
            let mut numbers = [0_u16; LANES];
            for number in &mut numbers {
                *number = edges[choices.index(edges.len())] ^ u16::from(round % 3 == 0);
            }
            let wanted = edges[choices.index(edges.len())];
            let expected =
                (0..LANES).filter(|&lane| numbers[lane] == wanted).fold(0, |bits, lane| bits | 1 << lane);
            let word =
                |at: usize| (0..4).fold(0, |word, lane| word | u64::from(numbers[at + lane]) << (16 * lane));
            let words = [word(0), word(4)];
            assert_eq!(equal_to(words, wanted), expected, "{numbers:x?} {wanted:x}");
            assert_eq!(portable::equal_to(words, wanted), expected, "{numbers:x?} {wanted:x}");
        }
    }
}
