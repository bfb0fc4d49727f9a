//! Block traces of the ARC paper (Megiddo and Modha, FAST 2003): `start count ignored sequence` per line, which
//! stands for the accesses `start`, `start + 1`, ... `start + count - 1`.

use std::io;
use std::path::Path;

use super::{content, malformed};

/// The ids accessed, in order.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u64>> {
    parse(&content(path)?).ok_or_else(|| malformed(path, "not lines of `start count ignored sequence`"))
}

fn parse(bytes: &[u8]) -> Option<Vec<u64>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut ids = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(start) = fields.next() else { continue };
        let start: u64 = start.parse().ok()?;
        let count: u64 = fields.next()?.parse().ok()?;
        ids.extend(start..start.checked_add(count)?);
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_line_expands_to_its_range() {
        assert_eq!(parse(b"5 3 0 0\n9 1 0 1\n"), Some(vec![5, 6, 7, 9]));
    }

    #[test]
    fn a_line_without_count_is_an_error() {
        assert_eq!(parse(b"5\n"), None);
    }
}
