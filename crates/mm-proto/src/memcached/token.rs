//! Words of a line.

/// The words of `line`: what stands between spaces, however many. No other byte separates.
#[must_use]
pub fn tokens(line: &[u8]) -> Tokens<'_> {
    Tokens { rest: line }
}

/// An iterator over the words of a line, made by [`tokens`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// What follows the words taken so far, without the spaces at its start.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        skip_spaces(self.rest)
    }

    /// How many bytes follow the words taken so far, spaces counted.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = skip_spaces(self.rest);
        if rest.is_empty() {
            self.rest = rest;
            return None;
        }
        // Most words are short.
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// `line` from its first byte that is no space.
pub(super) fn skip_spaces(line: &[u8]) -> &[u8] {
    let count = line.iter().take_while(|&&byte| byte == b' ').count();
    &line[count..]
}

/// `line` up to its last byte that is no space.
pub(super) fn trim_spaces_end(line: &[u8]) -> &[u8] {
    let count = line.iter().rev().take_while(|&&byte| byte == b' ').count();
    &line[..line.len() - count]
}

/// The last word of `line`, empty where there is none.
pub(super) fn last_token(line: &[u8]) -> &[u8] {
    let line = trim_spaces_end(line);
    let start = memchr::memrchr(b' ', line).map_or(0, |space| space + 1);
    &line[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spaces_separate() {
        let words: Vec<&[u8]> = tokens(b"  a  b\tc d  ").collect();
        assert_eq!(words, [b"a".as_slice(), b"b\tc", b"d"]);
        assert_eq!(tokens(b"   ").next(), None);
        assert_eq!(last_token(b"a b  "), b"b");
        assert_eq!(last_token(b"  "), b"");
        let mut words = tokens(b"a  b c");
        words.next();
        assert_eq!(words.rest(), b"b c");
    }
}
