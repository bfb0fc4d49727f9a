//! The common requests in their common forms, read in one go.
//!
//! Whatever is unusual in any way is left to the parser for whole lines, so this one never refuses: it finds
//! exactly what that one would find, or nothing. (The fuzz tests compare the two.)

use super::keys::{Keys, WINDOW_BYTES, without_return};
use super::limits::{KEY_MAX_BYTES, LINE_MAX_BYTES, VALUE_MAX_BYTES};
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
    /// mg, md or ma.
    Meta(Meta<'a>, usize),
}

impl<'a> Quick<'a> {
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
        SET => parse_store(input, StoreVerb::Set),
        _ if word & META_MASK == META => parse_meta(input),
        GETS if input.get(4) == Some(&b' ') => parse_get(input, 5, Fetch::Gets),
        ADD => parse_store(input, StoreVerb::Add),
        _ => None,
    }
}

/// get and gets of one key, which begins at byte `start`.
#[inline]
fn parse_get(input: &[u8], start: usize, fetch: Fetch) -> Option<Quick<'_>> {
    let (get, consumed) = parse_key(&input[start..], Keys { fetch, exptime: Some(0), any: false })?;
    get.last.then_some(Quick::Get(get, start + consumed))
}

/// A key of a line of keys, and how many bytes it takes.
#[inline]
pub(super) fn parse_key(input: &[u8], keys: Keys) -> Option<(Get<'_>, usize)> {
    let window = &input[..input.len().min(WINDOW_BYTES)];
    let end = memchr::memchr2(b' ', b'\n', window)?;
    let last = window[end] == b'\n';
    let key = if last { without_return(&window[..end]) } else { &window[..end] };
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    Some((Get { key, fetch: keys.fetch, last, exptime: keys.exptime? }, end + 1))
}

/// set and add.
#[inline]
fn parse_store(input: &[u8], verb: StoreVerb) -> Option<Quick<'_>> {
    let rest = &input[4..];
    let end = memchr::memchr2(b' ', b'\n', &rest[..rest.len().min(KEY_MAX_BYTES + 1)])?;
    if end == 0 || rest[end] != b' ' {
        return None;
    }
    let key = &rest[..end];
    let (flags, at) = parse_digits(rest, end + 1, b' ')?;
    let (exptime, at) = parse_digits(rest, at, b' ')?;
    let (bytes, at) = parse_digits(rest, at, b'\r')?;
    if rest.get(at) != Some(&b'\n') {
        return None;
    }
    debug_assert!(bytes <= VALUE_MAX_BYTES);
    let store = Store { key, verb, noreply: false, flags, exptime: exptime.cast_signed(), bytes, cas: 0 };
    Some(Quick::Store(store, 4 + at + 1))
}

/// At most nine digits from byte `at`, then `end`: the number, and where the next byte is.
#[inline]
fn parse_digits(line: &[u8], at: usize, end: u8) -> Option<(u32, usize)> {
    let mut number = 0;
    for (count, &byte) in line.get(at..)?.iter().take(10).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (byte == end && count > 0).then_some((number, at + count + 1));
        }
        if count == 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

/// mg, md and ma, whose key begins at byte 3.
#[inline]
fn parse_meta(input: &[u8]) -> Option<Quick<'_>> {
    let verb = match input[1] {
        b'g' => MetaVerb::Get,
        b'd' => MetaVerb::Delete,
        b'a' => MetaVerb::Arithmetic,
        _ => return None,
    };
    let rest = &input[3..];
    let newline = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX_BYTES - 2)])?;
    let line = without_return(&rest[..newline]);
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let (key, flags) = line.split_at(end);
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    Some(Quick::Meta(Meta { key, flags, verb, bytes: 0 }, 3 + newline + 1))
}
