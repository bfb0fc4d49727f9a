//! The common requests in their common forms, read in one go.
//!
//! Whatever is unusual in any way is left to the parser for whole lines, so this one never refuses: it finds
//! exactly what that one would find, or nothing. (The fuzz tests compare the two.)

use mm_base::scan::{find, find_blank};

use super::keys::{Keys, without_return};
use super::limits::{KEY_MAX_BYTES, LINE_MAX_BYTES, VALUE_MAX_BYTES};
use super::meta::all_words_are_flags;
use super::parser::Next;
use super::request::{Fetch, Get, Meta, MetaVerb, Request, Store, StoreVerb};

const GET: u32 = u32::from_le_bytes(*b"get ");
const GETS: u32 = u32::from_le_bytes(*b"gets");
const SET: u32 = u32::from_le_bytes(*b"set ");
const ADD: u32 = u32::from_le_bytes(*b"add ");
const META: u32 = u32::from_le_bytes(*b"m\0 \0");
const META_MASK: u32 = u32::from_le_bytes(*b"\xff\0\xff\0");

/// A request of a common kind, and how many bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quick<'a> {
    /// The only key of get or gets, or one of a line of keys that is under way.
    Get(Get<'a>, usize),
    /// The line of set or add.
    Store(Store<'a>, usize),
    /// mg, md, ma, or the line of ms.
    Meta(Meta<'a>, usize),
}

impl<'a> Quick<'a> {
    const fn from_store((store, consumed): (Store<'a>, usize)) -> Self {
        Self::Store(store, consumed)
    }

    /// The same, as it is found among all others.
    #[inline]
    #[must_use]
    pub fn next(self) -> Next<'a> {
        match self {
            Self::Get(get, consumed) => Next::request(Request::Get(get), consumed),
            Self::Store(store, consumed) => Next::request(Request::Store(store), consumed),
            Self::Meta(meta, consumed) => Next::request(Request::Meta(meta), consumed),
        }
    }
}

/// The request at the start of `input`.
#[inline(always)]
pub(super) fn parse(input: &[u8]) -> Option<Quick<'_>> {
    let word = u32::from_le_bytes(*input.first_chunk()?);
    match word {
        GET => parse_get(input, 4, Fetch::Get),
        SET => parse_store(input, StoreVerb::Set).map(Quick::from_store),
        _ if word & META_MASK == META => parse_meta(input),
        GETS if input.get(4) == Some(&b' ') => parse_get(input, 5, Fetch::Gets),
        ADD => parse_store(input, StoreVerb::Add).map(Quick::from_store),
        _ => None,
    }
}

/// The line of set at the start of `input`, and how many bytes it takes.
#[inline(always)]
pub(super) fn parse_set(input: &[u8]) -> Option<(Store<'_>, usize)> {
    if u32::from_le_bytes(*input.first_chunk()?) != SET {
        return None;
    }
    parse_store(input, StoreVerb::Set)
}

/// get of one key at the start of `input`, and how many bytes it takes.
#[inline(always)]
pub(super) fn parse_plain_get(input: &[u8]) -> Option<(Get<'_>, usize)> {
    let (word, rest) = input.split_first_chunk()?;
    if u32::from_le_bytes(*word) != GET {
        return None;
    }
    let (get, consumed) = parse_key(rest, Keys { fetch: Fetch::Get, exptime: Some(0), any: false })?;
    get.last.then_some((get, word.len() + consumed))
}

/// get and gets of one key, which begins at byte `start`.
#[inline]
fn parse_get(input: &[u8], start: usize, fetch: Fetch) -> Option<Quick<'_>> {
    let (get, consumed) = parse_key(input.get(start..)?, Keys { fetch, exptime: Some(0), any: false })?;
    get.last.then_some(Quick::Get(get, start + consumed))
}

/// A key of a line of keys, which `input` begins with, and where the next byte after it is.
#[inline(always)]
pub(super) fn parse_key(input: &[u8], keys: Keys) -> Option<(Get<'_>, usize)> {
    let end = find_blank(input, 0)?;
    let key = input.get(..end)?;
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    let rest = input.get(end..)?;
    let (last, next) = match rest.first()? {
        _ if rest.starts_with(b"\r\n") => (true, end + 2),
        b' ' => (false, end + 1),
        b'\n' => (true, end + 1),
        _ => return None,
    };
    Some((Get { key, fetch: keys.fetch, last, exptime: keys.exptime? }, next))
}

/// set and add.
#[inline(always)]
fn parse_store(input: &[u8], verb: StoreVerb) -> Option<(Store<'_>, usize)> {
    let len = find_blank(input.get(4..)?, 0)?;
    let end = 4 + len;
    let key = input.get(4..end)?;
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    let numbers = input.get(end..)?;
    // Most have neither flags nor an expiration time.
    let (flags, exptime, at) = if numbers.starts_with(b" 0 0 ") {
        (0, 0, 5)
    } else {
        let (flags, at) = parse_number(numbers, 0)?;
        let (exptime, at) = parse_number(numbers, at)?;
        (numbers.get(at) == Some(&b' ')).then_some((flags, exptime.cast_signed(), at + 1))?
    };
    let (bytes, at) = parse_digits(numbers, at)?;
    if numbers.get(at..at + 2) != Some(b"\r\n") {
        return None;
    }
    debug_assert!(bytes <= VALUE_MAX_BYTES);
    let store = Store { key, verb, noreply: false, flags, exptime, bytes, cas: 0 };
    Some((store, end + at + 2))
}

/// A space and [digits](parse_digits).
#[inline]
fn parse_number(line: &[u8], at: usize) -> Option<(u32, usize)> {
    if line.get(at) == Some(&b' ') { parse_digits(line, at + 1) } else { None }
}

/// The number of one to seven digits from byte `at`, and where the next byte is. Eight bytes have to be there.
///
/// They are looked at together: the digits are moved to the upper end of a word, noughts before them, and then
/// neighbours are put together three times.
#[inline(always)]
fn parse_digits(line: &[u8], at: usize) -> Option<(u32, usize)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*line.get(at..)?.first_chunk()?) ^ (ONES * 0x30);
    // Upper bits are set in bytes that are no digits. A carry can only come from such a byte.
    let others = (word.wrapping_add(ONES * 0x76) | word) & (ONES * 0x80);
    let len = others.trailing_zeros() / 8;
    if len == 0 || others == 0 {
        return None;
    }
    let digits = word << (64 - 8 * len);
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    Some((number as u32, at + len as usize))
}

/// mg, md, ma and ms, whose key begins at byte 3.
#[inline(always)]
fn parse_meta(input: &[u8]) -> Option<Quick<'_>> {
    let verb = match input[1] {
        b'g' => MetaVerb::Get,
        b'd' => MetaVerb::Delete,
        b'a' => MetaVerb::Arithmetic,
        b's' => return parse_meta_set(input),
        _ => return None,
    };
    let end = find_blank(input, 3)?;
    let key = &input[3..end];
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    let newline = match (input[end], input.get(end + 1)) {
        // What most ask for.
        (b' ', _) if input[end..].starts_with(b" v\r\n") => end + 3,
        (b' ', _) => find(input, end, b'\n')?,
        (b'\r', Some(b'\n')) => end + 1,
        (b'\n', _) => end,
        _ => return None,
    };
    if newline > LINE_MAX_BYTES {
        return None;
    }
    let flags = without_return(&input[end..newline]);
    Some(Quick::Meta(Meta { key, flags, verb, bytes: 0 }, newline + 1))
}

/// The line of ms, whose key begins at byte 3.
#[inline]
fn parse_meta_set(input: &[u8]) -> Option<Quick<'_>> {
    let end = find_blank(input, 3)?;
    let key = &input[3..end];
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    let (bytes, at) = parse_number(input, end)?;
    let newline = match (input.get(at)?, input.get(at + 1)) {
        (b'\r', Some(b'\n')) => at + 1,
        (b' ', _) => find(input, at, b'\n')?,
        _ => return None,
    };
    let flags = without_return(&input[at..newline]);
    if newline > LINE_MAX_BYTES || !all_words_are_flags(flags) {
        return None;
    }
    Some(Quick::Meta(Meta { key, flags, verb: MetaVerb::Set, bytes }, newline + 1))
}
