//! Short pieces of text compared and copied in place, without the call that costs more than the work.
//!
//! A piece of between one and two blocks is done by two blocks, which overlap; what is shorter or longer than any
//! of them is left to the library.
//!
//! ```
//! use mm_base::short::{copy, equal};
//!
//! let mut copied = [0; 11];
//! copy(&mut copied, b"a short key");
//! assert!(equal(&copied, b"a short key"));
//! ```

/// Whether two pieces are the same.
#[inline(always)]
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        16..=32 => ends_equal::<16>(one, other),
        8..16 => ends_equal::<8>(one, other),
        4..8 => ends_equal::<4>(one, other),
        _ => one == other,
    }
}

/// Copies `from` to `to`.
///
/// # Panics
/// Where they are not of one length.
#[inline(always)]
pub fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=32 => copy_ends::<16>(to, from),
        8..16 => copy_ends::<8>(to, from),
        33..=64 => copy_ends::<32>(to, from),
        65..=128 => copy_ends::<64>(to, from),
        4..8 => copy_ends::<4>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// The same for pieces of one length, of one block to two.
#[inline(always)]
fn ends_equal<const BLOCK: usize>(one: &[u8], other: &[u8]) -> bool {
    let same_start = one.first_chunk::<BLOCK>() == other.first_chunk::<BLOCK>();
    same_start && one.last_chunk::<BLOCK>() == other.last_chunk::<BLOCK>()
}

/// The same for pieces of one block to two.
#[inline(always)]
fn copy_ends<const BLOCK: usize>(to: &mut [u8], from: &[u8]) {
    assert!(to.len() == from.len(), "a copy is as long as what is copied");
    if let (Some(room), Some(first)) = (to.first_chunk_mut::<BLOCK>(), from.first_chunk()) {
        *room = *first;
    }
    if let (Some(room), Some(last)) = (to.last_chunk_mut::<BLOCK>(), from.last_chunk()) {
        *room = *last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_compared_and_copied_whole() {
        let text: Vec<u8> = (0..=255).collect();
        for len in 0..=text.len() {
            let piece = &text[..len];
            let mut copied = vec![0xaa; len];
            copy(&mut copied, piece);
            assert_eq!(copied, piece);
            assert!(equal(&copied, piece));
            for changed in 0..len {
                copied[changed] ^= 1;
                assert!(!equal(&copied, piece), "byte {changed} of {len}");
                copied[changed] ^= 1;
            }
            assert!(len == 0 || !equal(&text[..len - 1], piece));
        }
    }
}
