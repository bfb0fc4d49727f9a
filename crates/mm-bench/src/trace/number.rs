//! Conversions between counts, bytes and ratios that say what happens at the edges.

/// A count or an index as `u32`; saturates, which no trace that fits in memory reaches.
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A byte count as `u32`; saturates.
pub(crate) fn bytes_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A count as `usize`; saturates on 32-bit machines.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A count as `f64`, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn real(value: u64) -> f64 {
    value as f64
}

/// The whole part of a non-negative real; negative and not-a-number give 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, as documented")]
pub(crate) const fn whole(value: f64) -> u64 {
    value as u64
}

/// `part` over `whole`, 0 when there is nothing to divide by.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

/// `permille` thousandths of `value`.
pub(crate) const fn permille(value: u64, permille: u64) -> u64 {
    value / 1000 * permille + value % 1000 * permille / 1000
}
