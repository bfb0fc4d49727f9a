//! Numbers as memcached reads them, which is in two ways.
//!
//! Most are strict: digits, for signed ones after an optional `-`, and nothing else. The flags and the
//! expiration time of storage commands are read the way of C's `strtol`: blanks and a sign may come first,
//! anything may follow after a blank, and what exceeds 32 bits loses its upper part. Clients exist that
//! depend on either.

use super::limits::{NUMBER_32_MAX_BYTES, NUMBER_64_MAX_BYTES};

/// A strict unsigned number of 64 bits.
#[must_use]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > NUMBER_64_MAX_BYTES {
        return None;
    }
    let mut number: u64 = 0;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// A strict unsigned number of 32 bits.
#[must_use]
pub fn parse_u32(word: &[u8]) -> Option<u32> {
    if word.len() > NUMBER_32_MAX_BYTES {
        return None;
    }
    parse_u64(word).and_then(|number| u32::try_from(number).ok())
}

/// A strict signed number of 64 bits.
#[must_use]
pub fn parse_i64(word: &[u8]) -> Option<i64> {
    if word.len() > NUMBER_64_MAX_BYTES {
        return None;
    }
    match word.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        None => i64::try_from(parse_u64(word)?).ok(),
    }
}

/// A strict signed number of 32 bits.
#[must_use]
pub fn parse_i32(word: &[u8]) -> Option<i32> {
    if word.len() > NUMBER_32_MAX_BYTES {
        return None;
    }
    parse_i64(word).and_then(|number| i32::try_from(number).ok())
}

/// Client flags as storage commands give them.
///
/// Read as C's `strtoul` reads, then cut to 32 bits. Negative numbers are refused, though one so far below
/// nought that it wraps around is not.
#[must_use]
pub fn parse_client_flags(word: &[u8]) -> Option<u32> {
    let Long { negative, magnitude } = parse_long(word)?;
    let value = if negative { magnitude.wrapping_neg() } else { magnitude };
    let refused = word.contains(&b'-') && value > i64::MAX.cast_unsigned();
    if refused { None } else { Some(low_half(value)) }
}

/// An expiration time as storage commands give it: read as C's `strtol` reads, then cut to 32 bits.
#[must_use]
pub fn parse_exptime(word: &[u8]) -> Option<i32> {
    let Long { negative, magnitude } = parse_long(word)?;
    let value =
        if negative { 0i64.checked_sub_unsigned(magnitude)? } else { i64::try_from(magnitude).ok()? };
    Some(low_half(value.cast_unsigned()).cast_signed())
}

struct Long {
    negative: bool,
    magnitude: u64,
}

/// What `strtol` and `strtoul` have in common. A word that begins with a blank and has no digits counts as
/// nought, because the test for what follows the number finds that blank.
fn parse_long(word: &[u8]) -> Option<Long> {
    let blanks = word.iter().take_while(|&&byte| is_blank(byte)).count();
    let (negative, digits) = match word[blanks..].split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, &word[blanks..]),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return (blanks > 0).then_some(Long { negative: false, magnitude: 0 });
    }
    if digits.get(count).is_some_and(|&byte| !is_blank(byte)) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for &digit in &digits[..count] {
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(Long { negative, magnitude })
}

/// What C's `isspace` takes for a blank.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

const fn low_half(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_numbers_are_digits_and_nothing_else() {
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"0000000000000000000012"), Some(12));
        for bad in ["", "+1", "-1", " 1", "1 ", "1a", "18446744073709551616", "00000000000000000000012"] {
            assert_eq!(parse_u64(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_u32(b"4294967296"), None);
        assert_eq!(parse_u32(b"000000000001"), None);
        assert_eq!(parse_i32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(parse_i32(b"2147483647"), Some(i32::MAX));
        for bad in ["2147483648", "-2147483649", "--1", "-", "+1", "000000000001"] {
            assert_eq!(parse_i32(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775808"), None);
    }

    #[test]
    fn client_flags_are_read_as_strtoul_does() {
        let good: [(&str, u32); 9] = [
            ("0", 0),
            ("+7", 7),
            ("\t7", 7),
            ("1\t2", 1),
            ("4294967295", u32::MAX),
            ("4294967296", 0),
            ("4294967301", 5),
            ("-18446744073709551615", 1),
            ("\t", 0),
        ];
        for (word, value) in good {
            assert_eq!(parse_client_flags(word.as_bytes()), Some(value), "{word:?}");
        }
        for bad in ["", "-1", "a", "1a", "18446744073709551616", "-", "+"] {
            assert_eq!(parse_client_flags(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn expiration_times_are_read_as_strtol_does() {
        let good: [(&str, i32); 6] =
            [("0", 0), ("-1", -1), ("+60", 60), ("4294967296", 0), ("2147483648", i32::MIN), ("1\r9", 1)];
        for (word, value) in good {
            assert_eq!(parse_exptime(word.as_bytes()), Some(value), "{word:?}");
        }
        for bad in ["", "x", "1.5", "9223372036854775808", "0x10"] {
            assert_eq!(parse_exptime(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
