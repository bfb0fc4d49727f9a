//! What every server of the experiment does with the bytes of a connection.

use memchr::memchr;

use super::table::{Hash, Table};

/// Hashes the key of the first request and asks for its bucket.
pub(super) fn prepare(table: &Table, input: &[u8]) -> Hash {
    let hash = first_line(input).map_or_else(Hash::default, |(line, _)| Hash::of(key(line)));
    table.prefetch_bucket(hash);
    hash
}

/// Answers the requests of `input`. With `first`, the hash of the first key is known already.
pub(super) fn run(table: &Table, first: Option<Hash>, input: &[u8], output: &mut Vec<u8>) {
    let (mut rest, mut known) = (input, first);
    while let Some((line, length)) = first_line(rest) {
        let key = key(line);
        let hash = known.take().unwrap_or_else(|| Hash::of(key));
        if let Some(value) = table.find(hash, key) {
            output.extend_from_slice(b"VALUE ");
            output.extend_from_slice(key);
            output.extend_from_slice(b" 0 100\r\n");
            output.extend_from_slice(value);
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b"END\r\n");
        rest = &rest[length..];
    }
}

/// A line without its end, and its length with it. These servers trust requests not to be cut.
fn first_line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr(b'\n', input)?;
    Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))
}

fn key(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"get ").unwrap_or(line)
}
