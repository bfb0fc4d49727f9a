//! Looking for bytes in short pieces of text, 16 at a time.
//!
//! A parser looks for the end of a word that is some tens of bytes long. There the cost is in the call and in
//! the last few bytes, so these functions are inlined, need nothing beyond what every processor of an
//! architecture has, and look at the end of the text by one more block that overlaps the last.
//!
//! ```
//! use mm_base::scan::{find, find_blank};
//!
//! let line = b"get key\r\n";
//! assert_eq!(find_blank(line, 4), Some(7));
//! assert_eq!(find(line, 4, b'\n'), Some(8));
//! ```

mod block;

use block::{BLOCK_BYTES, at_most, equal_to};

/// The most blocks that one call looks at: what comes after the first 4,096 bytes is not found.
const BLOCKS_MAX: usize = 256;

/// Where the first byte at or after `start` stands that is a space or a control character. Looks at no more
/// than 4,096 bytes.
#[inline]
#[must_use]
pub fn find_blank(text: &[u8], start: usize) -> Option<usize> {
    find_where(text, start, |block| at_most(block, b' '), |byte| byte <= b' ')
}

/// Where the first `wanted` at or after `start` stands. Looks at no more than 4,096 bytes.
#[inline]
#[must_use]
pub fn find(text: &[u8], start: usize, wanted: u8) -> Option<usize> {
    find_where(text, start, |block| equal_to(block, wanted), |byte| byte == wanted)
}

/// Where the first byte at or after `start` stands that `is_hit` holds for; `hits` tells it for all bytes of a
/// block, the first one by the lowest bit.
#[inline(always)]
fn find_where(
    text: &[u8],
    start: usize,
    hits: impl Fn(&[u8; BLOCK_BYTES]) -> u32,
    is_hit: impl Fn(u8) -> bool,
) -> Option<usize> {
    let mut rest = text.get(start..)?;
    // Most words end within two blocks, which cost less together than one after the other.
    if let Some((two, after)) = rest.split_first_chunk::<{ 2 * BLOCK_BYTES }>()
        && let ([first, second], []) = two.as_chunks()
    {
        let hits = hits(first) | hits(second) << BLOCK_BYTES;
        if hits != 0 {
            return Some(start + hits.trailing_zeros() as usize);
        }
        rest = after;
    }
    for _ in 2..BLOCKS_MAX {
        let Some((block, after)) = rest.split_first_chunk() else {
            return find_in_end(text, rest.len(), hits, is_hit);
        };
        let hits = hits(block);
        if hits != 0 {
            return Some(text.len() - rest.len() + hits.trailing_zeros() as usize);
        }
        rest = after;
    }
    None
}

/// The same for the last `len` bytes of `text`, which are less than a block.
#[inline(always)]
fn find_in_end(
    text: &[u8],
    len: usize,
    hits: impl Fn(&[u8; BLOCK_BYTES]) -> u32,
    is_hit: impl Fn(u8) -> bool,
) -> Option<usize> {
    let rest_at = text.len() - len;
    match text.last_chunk() {
        // The bytes before the rest are in the block too: those that were looked at before.
        Some(block) => {
            let hits = hits(block) >> (BLOCK_BYTES - len);
            (hits != 0).then(|| rest_at + hits.trailing_zeros() as usize)
        }
        None => text[rest_at..].iter().position(|&byte| is_hit(byte)).map(|at| rest_at + at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choices;

    #[test]
    fn the_first_blank_in_texts_of_every_length_and_at_every_place() {
        for len in 0..80 {
            for blank in 0..=len {
                for (start, byte) in [(0, b' '), (1, b'\n'), (len / 2, b'\r'), (len, 0), (len + 1, b' ')] {
                    let mut text = vec![b'!'; len];
                    if let Some(place) = text.get_mut(blank) {
                        *place = byte;
                    }
                    let expected = (start..len).find(|&at| text[at] <= b' ');
                    assert_eq!(find_blank(&text, start), expected, "{len} {blank} {start} {byte}");
                    let expected = (start..len).find(|&at| text[at] == byte);
                    assert_eq!(find(&text, start, byte), expected, "{len} {blank} {start} {byte}");
                }
            }
        }
    }

    #[test]
    fn bytes_of_every_value() {
        let mut choices = Choices::new(7);
        for round in 0..20_000 {
            let len = choices.index(70);
            let text: Vec<u8> = (0..len).map(|_| choices.next_u64().to_le_bytes()[3]).collect();
            let start = choices.index(20);
            let wanted = choices.next_u64().to_le_bytes()[3];
            let blank = (start..len).find(|&at| text[at] <= b' ');
            assert_eq!(find_blank(&text, start), blank, "round {round}: {text:?}");
            let found = (start..len).find(|&at| text[at] == wanted);
            assert_eq!(find(&text, start, wanted), found, "round {round}: {text:?}");
        }
    }

    #[test]
    fn the_search_is_bounded() {
        let mut text = vec![b'a'; 4096];
        text.push(b' ');
        assert_eq!(find_blank(&text, 0), None);
        assert_eq!(find_blank(&text, 1), Some(4096));
    }
}
