//! Sixteen bytes looked at together.

#![cfg_attr(
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")),
    expect(unsafe_code, reason = "vector instructions; see the SAFETY lines")
)]

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 16;

#[cfg(target_arch = "x86_64")]
mod vector {
    use core::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8};

    use core::mem::transmute;

    use super::BLOCK_BYTES;

    /// Bit `i` is set where byte `i` is at most `limit`.
    #[inline(always)]
    pub(crate) fn at_most(block: &[u8; BLOCK_BYTES], limit: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and any sixteen bytes are a vector.
        unsafe {
            let bytes = transmute::<[u8; BLOCK_BYTES], __m128i>(*block);
            let limits = _mm_set1_epi8(limit.cast_signed());
            _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, limits), bytes)).cast_unsigned()
        }
    }

    /// Bit `i` is set where byte `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to(block: &[u8; BLOCK_BYTES], wanted: u8) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bytes = transmute::<[u8; BLOCK_BYTES], __m128i>(*block);
            let all = _mm_set1_epi8(wanted.cast_signed());
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, all)).cast_unsigned()
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod vector {
    use core::arch::aarch64::{
        uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcleq_u8, vdupq_n_u8, vget_high_u8, vget_low_u8,
    };
    use core::mem::transmute;

    use super::BLOCK_BYTES;

    /// The bit of each byte in its half of a mask.
    const BITS: [u8; BLOCK_BYTES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

    /// Bit `i` is set where byte `i` is at most `limit`.
    #[inline(always)]
    pub(crate) fn at_most(block: &[u8; BLOCK_BYTES], limit: u8) -> u32 {
        // SAFETY: NEON is part of aarch64, and any sixteen bytes are a vector.
        unsafe { gather(vcleq_u8(transmute::<[u8; BLOCK_BYTES], uint8x16_t>(*block), vdupq_n_u8(limit))) }
    }

    /// Bit `i` is set where byte `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to(block: &[u8; BLOCK_BYTES], wanted: u8) -> u32 {
        // SAFETY: as above.
        unsafe { gather(vceqq_u8(transmute::<[u8; BLOCK_BYTES], uint8x16_t>(*block), vdupq_n_u8(wanted))) }
    }

    /// Bit `i` is set where byte `i` is, all of whose bits are set or none.
    #[inline(always)]
    fn gather(hits: uint8x16_t) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bits = vandq_u8(hits, transmute::<[u8; BLOCK_BYTES], uint8x16_t>(BITS));
            u32::from(vaddv_u8(vget_low_u8(bits))) | u32::from(vaddv_u8(vget_high_u8(bits))) << 8
        }
    }
}

/// The same for every architecture, which compilers make vectors of where there are some.
#[cfg(any(test, not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))))]
mod portable {
    use super::BLOCK_BYTES;

    /// Bit `i` is set where byte `i` is at most `limit`.
    #[inline(always)]
    pub(crate) fn at_most(block: &[u8; BLOCK_BYTES], limit: u8) -> u32 {
        gather(block, |byte| byte <= limit)
    }

    /// Bit `i` is set where byte `i` is `wanted`.
    #[inline(always)]
    pub(crate) fn equal_to(block: &[u8; BLOCK_BYTES], wanted: u8) -> u32 {
        gather(block, |byte| byte == wanted)
    }

    #[inline(always)]
    fn gather(block: &[u8; BLOCK_BYTES], is_hit: impl Fn(u8) -> bool) -> u32 {
        let mut bits = 0;
        for (number, &byte) in block.iter().enumerate() {
            bits |= u32::from(is_hit(byte)) << number;
        }
        bits
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
pub(super) use portable::{at_most, equal_to};
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
pub(super) use vector::{at_most, equal_to};

#[cfg(test)]
mod tests {
    use super::portable::{at_most as plainly_at_most, equal_to as plainly_equal_to};
    use super::{BLOCK_BYTES, at_most, equal_to};
    use crate::choice::Choices;

    #[test]
    fn vectors_find_what_single_bytes_find() {
        let mut choices = Choices::new(1);
        for _ in 0..10_000 {
            let block: [u8; BLOCK_BYTES] = std::array::from_fn(|_| choices.next_u64().to_le_bytes()[3]);
            let byte = choices.next_u64().to_le_bytes()[3];
            assert_eq!(at_most(&block, byte), plainly_at_most(&block, byte), "{block:?} {byte}");
            assert_eq!(equal_to(&block, byte), plainly_equal_to(&block, byte), "{block:?} {byte}");
        }
    }
}
