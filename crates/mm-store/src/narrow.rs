//! Conversions to narrower integers whose range is known: checked in debug builds, free in release builds.

/// `value`, which is below 2^16.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
pub(crate) const fn to_u16(value: usize) -> u16 {
    debug_assert!(value <= u16::MAX as usize, "does not fit two bytes");
    value as u16
}

/// `value`, which is below 2^32: sizes and offsets within a segment, numbers of segments.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
pub(crate) const fn to_u32(value: usize) -> u32 {
    debug_assert!(value <= u32::MAX as usize, "does not fit four bytes");
    value as u32
}

/// `hash / 2^64 * len`, rounded down: spreads hashes evenly and in their order over `len` places.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below len")]
pub(crate) const fn scale(hash: u64, len: usize) -> usize {
    ((hash as u128 * len as u128) >> 64) as usize
}
