//! The common requests in their common forms, read in one go.
//!
//! Whatever is unusual in any way is left to the parser for whole lines, so this one never refuses: it finds
//! exactly what that one would find, or nothing. (The fuzz tests compare the two.)

use super::keys::{Keys, WINDOW_BYTES, without_return};
use super::limits::{KEY_MAX_BYTES, LINE_MAX_BYTES, VALUE_MAX_BYTES};
use super::parser::{Next, State};
use super::request::{Fetch, Get, Meta, MetaVerb, Request, Store, StoreVerb};

const GET: u32 = u32::from_le_bytes(*b"get ");
const GETS: u32 = u32::from_le_bytes(*b"gets");
const SET: u32 = u32::from_le_bytes(*b"set ");
const ADD: u32 = u32::from_le_bytes(*b"add ");
const META: u32 = u32::from_le_bytes(*b"m\0 \0");
const META_MASK: u32 = u32::from_le_bytes(*b"\xff\0\xff\0");

/// The request at the start of `input`, and the state after it.
#[inline]
pub(super) fn parse(input: &[u8]) -> Option<(Next<'_>, State)> {
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

/// get and gets, whose first key begins at byte `start`.
#[inline]
fn parse_get(input: &[u8], start: usize, fetch: Fetch) -> Option<(Next<'_>, State)> {
    let rest = &input[start..];
    let window = &rest[..rest.len().min(WINDOW_BYTES)];
    let end = memchr::memchr2(b' ', b'\n', window)?;
    let last = window[end] == b'\n';
    let key = if last { without_return(&window[..end]) } else { &window[..end] };
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        return None;
    }
    let state = if last { State::Line } else { State::Keys(Keys { fetch, exptime: Some(0), any: true }) };
    Some((Next::request(Request::Get(Get { key, fetch, last, exptime: 0 }), start + end + 1), state))
}

/// set and add.
#[inline]
fn parse_store(input: &[u8], verb: StoreVerb) -> Option<(Next<'_>, State)> {
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
    Some((Next::request(Request::Store(store), 4 + at + 1), State::Line))
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
fn parse_meta(input: &[u8]) -> Option<(Next<'_>, State)> {
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
    Some((Next::request(Request::Meta(Meta { key, flags, verb, bytes: 0 }), 3 + newline + 1), State::Line))
}
