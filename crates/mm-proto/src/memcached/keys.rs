//! Lines of keys, key by key.

use super::limits::{KEY_MAX_BYTES, LINE_MAX_BYTES};
use super::lines;
use super::number::parse_i32;
use super::parser::{Next, Parsed, State};
use super::request::{Fetch, Get, Request};

/// Where in a line of keys a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) fetch: Fetch,
    /// The expiration time for gat and gats; `None` where it was no number, which is told when a key comes.
    pub(super) exptime: Option<i32>,
    /// Whether there was a key before.
    pub(super) any: bool,
}

/// So many bytes decide about a key: the longest one and a line end.
pub(super) const WINDOW_BYTES: usize = KEY_MAX_BYTES + 2;

/// The start of a line of keys, where `input` begins with one.
///
/// A line of up to [`LINE_MAX_BYTES`] is waited for and refused whole if one of its keys is too long, so that its error
/// is all that is answered. The keys of a longer one are found as they come, those before a bad one too.
pub(super) fn parse_start(input: &[u8]) -> Option<(Next<'_>, State)> {
    let (fetch, start) = match input {
        [b'g', b'e', b't', b' ', ..] => (Fetch::Get, 4),
        [b'g', b'e', b't', b's', b' ', ..] => (Fetch::Gets, 5),
        [b'g', b'a', b't', b' ', ..] => (Fetch::Gat, 4),
        [b'g', b'a', b't', b's', b' ', ..] => (Fetch::Gats, 5),
        _ => return None,
    };
    let line_end = memchr::memchr(b'\n', &input[..input.len().min(LINE_MAX_BYTES + 1)]);
    if line_end.is_none() && input.len() <= LINE_MAX_BYTES {
        return Some((Next::incomplete(0), State::Line));
    }
    let found = match fetch {
        Fetch::Get | Fetch::Gets => parse_from(input, start, Keys { fetch, exptime: Some(0), any: false }),
        Fetch::Gat | Fetch::Gats => parse_gat(input, start, fetch),
    };
    match (line_end, found.0.parsed) {
        (Some(end), Parsed::Request(_)) if has_long_key(without_return(&input[start..end])) => {
            Some((Next::malformed(lines::BAD_FORMAT, false, end + 1), State::Line))
        }
        _ => Some(found),
    }
}

/// Whether a word of `line` is too long for a key.
fn has_long_key(mut line: &[u8]) -> bool {
    while line.len() > KEY_MAX_BYTES {
        // The last space near the end of what a key may take: what comes before it needs no closer look.
        match memchr::memrchr(b' ', &line[..=KEY_MAX_BYTES]) {
            Some(space) => line = &line[space + 1..],
            None => return true,
        }
    }
    false
}

/// The same for the two commands that have an expiration time first, which begins after byte `start`.
fn parse_gat(input: &[u8], start: usize, fetch: Fetch) -> (Next<'_>, State) {
    let spaces = input[start..].iter().take_while(|&&byte| byte == b' ').count();
    let word = &input[start + spaces..input.len().min(LINE_MAX_BYTES + 1).max(start + spaces)];
    match memchr::memchr2(b' ', b'\n', word) {
        Some(end) if word[end] == b' ' => {
            let keys = Keys { fetch, exptime: parse_i32(&word[..end]), any: false };
            parse_from(input, start + spaces + end, keys)
        }
        Some(end) => (Next::malformed(lines::BAD_FORMAT, false, start + spaces + end + 1), State::Line),
        None => (Next { parsed: Parsed::TooLarge, consumed: input.len() }, State::Line),
    }
}

fn parse_from(input: &[u8], start: usize, keys: Keys) -> (Next<'_>, State) {
    let (mut next, state) = parse(&input[start..], keys);
    next.consumed += start;
    (next, state)
}

/// The next key of a line.
pub(super) fn parse(input: &[u8], keys: Keys) -> (Next<'_>, State) {
    let spaces = input.iter().take_while(|&&byte| byte == b' ').count();
    let rest = &input[spaces..];
    let window = &rest[..rest.len().min(WINDOW_BYTES)];
    let Some(end) = memchr::memchr2(b' ', b'\n', window) else {
        if window.len() < WINDOW_BYTES {
            return (Next::incomplete(spaces), State::Keys(keys));
        }
        return (Next::malformed(lines::BAD_FORMAT, false, spaces + window.len()), State::SkipLine);
    };
    let consumed = spaces + end + 1;
    let last = window[end] == b'\n';
    let key = if last { without_return(&window[..end]) } else { &window[..end] };
    if key.is_empty() {
        let next = match keys.any {
            true => Next::request(Request::GetEnd, consumed),
            false => Next::malformed(lines::BAD_FORMAT, false, consumed),
        };
        return (next, State::Line);
    }
    let refused = if last { State::Line } else { State::SkipLine };
    let Some(exptime) = keys.exptime else {
        return (Next::malformed(lines::BAD_EXPTIME, false, consumed), refused);
    };
    if key.len() > KEY_MAX_BYTES {
        return (Next::malformed(lines::BAD_FORMAT, false, consumed), refused);
    }
    let get = Get { key, fetch: keys.fetch, last, exptime };
    let state = if last { State::Line } else { State::Keys(Keys { any: true, ..keys }) };
    (Next::request(Request::Get(get), consumed), state)
}

/// `line` without the carriage return at its end.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
