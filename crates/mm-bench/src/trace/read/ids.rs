//! Traces that are nothing but ids: big-endian words of 4 or 8 bytes, or one decimal number per line.

use std::io;
use std::path::Path;

use super::{content, malformed};

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Big-endian, four bytes each.
    Words4,
    /// Big-endian, eight bytes each.
    Words8,
    /// Decimal, one per line; lines that are not numbers separate parts and are skipped.
    Lines,
}

/// The ids accessed, in order.
pub(crate) fn read(path: &Path, form: Form) -> io::Result<Vec<u64>> {
    parse(&content(path)?, form).ok_or_else(|| malformed(path, "ends in the middle of an id or is not text"))
}

fn parse(bytes: &[u8], form: Form) -> Option<Vec<u64>> {
    match form {
        Form::Words4 => words::<4>(bytes),
        Form::Words8 => words::<8>(bytes),
        Form::Lines => {
            let text = std::str::from_utf8(bytes).ok()?;
            Some(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
        }
    }
}

fn words<const WIDTH: usize>(bytes: &[u8]) -> Option<Vec<u64>> {
    let (words, rest) = bytes.as_chunks::<WIDTH>();
    let value = |word: &[u8; WIDTH]| word.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    rest.is_empty().then(|| words.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::{Form, parse};

    #[test]
    fn words_are_big_endian() {
        assert_eq!(parse(&[0, 0, 1, 2, 0, 0, 0, 3], Form::Words4), Some(vec![258, 3]));
        assert_eq!(parse(&[0, 0, 1, 2, 0, 0, 0, 3], Form::Words8), Some(vec![(258 << 32) + 3]));
    }

    #[test]
    fn a_cut_word_is_an_error() {
        assert_eq!(parse(&[0, 0, 1], Form::Words4), None);
    }

    #[test]
    fn separators_between_lines_are_skipped() {
        assert_eq!(parse(b"7\n*\n8\n", Form::Lines), Some(vec![7, 8]));
    }
}
