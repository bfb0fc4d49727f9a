//! Requests that are a line, whatever their form.

use super::keys::{self, without_return};
use super::limits::{KEY_MAX_BYTES, LINE_MAX_BYTES, LINE_MIN_BYTES, VALUE_MAX_BYTES};
use super::number::{parse_client_flags, parse_exptime, parse_i32, parse_u64};
use super::parser::{Next, Parsed, State};
use super::request::{
    Admin, AdminVerb, Arithmetic, Delete, Meta, MetaVerb, Request, Store, StoreVerb, Touch,
};
use super::token::{last_token, skip_spaces, trim_spaces_end};
use super::{lines, meta, tokens};

/// What a line is, besides the state after it.
type Found<'a> = (Parsed<'a>, State);

/// The request at the start of `input`, which is at the beginning of a line.
pub(super) fn parse(input: &[u8]) -> (Next<'_>, State) {
    if let Some(found) = keys::parse_start(input) {
        return found;
    }
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE_MAX_BYTES + 1)]) else {
        if input.len() > LINE_MAX_BYTES {
            return (Next { parsed: Parsed::TooLarge, consumed: input.len() }, State::Line);
        }
        return (Next::incomplete(0), State::Line);
    };
    let consumed = end + 1;
    if consumed < LINE_MIN_BYTES {
        return (Next::malformed(lines::BAD_FORMAT, false, consumed), State::Line);
    }
    let (parsed, state) = parse_line(without_return(&input[..end]));
    (Next { parsed, consumed }, state)
}

fn parse_line(line: &[u8]) -> Found<'_> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (command, rest) = line.split_at(end);
    match command {
        b"set" => parse_store(rest, StoreVerb::Set),
        b"add" => parse_store(rest, StoreVerb::Add),
        b"replace" => parse_store(rest, StoreVerb::Replace),
        b"append" => parse_store(rest, StoreVerb::Append),
        b"prepend" => parse_store(rest, StoreVerb::Prepend),
        b"cas" => parse_store(rest, StoreVerb::Cas),
        b"delete" => parse_delete(rest),
        b"incr" => parse_arithmetic(rest, false),
        b"decr" => parse_arithmetic(rest, true),
        b"touch" => parse_touch(rest),
        b"mg" => parse_meta(rest, MetaVerb::Get),
        b"ms" => parse_meta_set(rest),
        b"md" => parse_meta(rest, MetaVerb::Delete),
        b"ma" => parse_meta(rest, MetaVerb::Arithmetic),
        b"me" => parse_meta(rest, MetaVerb::Debug),
        b"mn" => request(Request::MetaNoop),
        b"version" => request(Request::Version),
        b"quit" => request(Request::Quit),
        b"stats" => admin(AdminVerb::Stats, rest, false),
        b"watch" => admin(AdminVerb::Watch, rest, false),
        b"get" | b"gets" | b"gat" | b"gats" => malformed(lines::BAD_FORMAT, false),
        _ => parse_admin(line),
    }
}

/// The commands that, unlike the others, may have spaces before them.
fn parse_admin(line: &[u8]) -> Found<'_> {
    let mut words = tokens(line);
    let command = words.next().unwrap_or_default();
    let verb = match command {
        b"cache_memlimit" => AdminVerb::CacheMemlimit,
        b"debugtime" => AdminVerb::DebugTime,
        b"extstore" => AdminVerb::Extstore,
        b"flush_all" => AdminVerb::FlushAll,
        b"lru" => AdminVerb::Lru,
        b"lru_crawler" => AdminVerb::LruCrawler,
        b"refresh_certs" => AdminVerb::RefreshCerts,
        b"shutdown" => AdminVerb::Shutdown,
        b"slabs" => AdminVerb::Slabs,
        b"verbosity" => AdminVerb::Verbosity,
        _ if last_token(words.rest()).starts_with(b"HTTP/") => return (Parsed::Foreign, State::Line),
        _ => return (Parsed::Unsupported, State::Line),
    };
    admin(verb, words.rest(), true)
}

fn admin(verb: AdminVerb, rest: &[u8], heeds_noreply: bool) -> Found<'_> {
    let arguments = trim_spaces_end(skip_spaces(rest));
    let noreply = heeds_noreply && is_noreply(arguments);
    request(Request::Admin(Admin { verb, arguments, noreply }))
}

/// `<key> <flags> <exptime> <bytes> [<cas>] [noreply]`.
fn parse_store(rest: &[u8], verb: StoreVerb) -> Found<'_> {
    let mut words = tokens(rest);
    let (Some(key), Some(flags), Some(exptime), Some(bytes)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return malformed(lines::BAD_FORMAT, false);
    };
    let Some(bytes) = parse_data_length(bytes) else { return malformed(lines::BAD_FORMAT, false) };
    let noreply = is_noreply(rest);
    let cas = match (verb, words.next()) {
        (StoreVerb::Cas, None) => return malformed(lines::BAD_FORMAT, false),
        (StoreVerb::Cas, Some(cas)) => parse_u64(cas),
        _ => Some(0),
    };
    match (parse_client_flags(flags), parse_exptime(exptime), cas) {
        (Some(flags), Some(exptime), Some(cas)) if key.len() <= KEY_MAX_BYTES => {
            request(Request::Store(Store { key, verb, noreply, flags, exptime, bytes, cas }))
        }
        _ => {
            let (parsed, _) = malformed(lines::BAD_FORMAT, noreply);
            (parsed, after_data_block(bytes))
        }
    }
}

fn parse_delete(rest: &[u8]) -> Found<'_> {
    let Some(key) = tokens(rest).next() else { return malformed(lines::BAD_FORMAT, false) };
    let noreply = is_noreply(rest);
    if key.len() > KEY_MAX_BYTES {
        return malformed(lines::BAD_FORMAT, noreply);
    }
    request(Request::Delete(Delete { key, noreply }))
}

fn parse_arithmetic(rest: &[u8], decrement: bool) -> Found<'_> {
    let Some((key, delta)) = parse_pair(rest) else { return malformed(lines::BAD_FORMAT, false) };
    let noreply = is_noreply(rest);
    match parse_u64(delta) {
        _ if key.len() > KEY_MAX_BYTES => malformed(lines::BAD_FORMAT, noreply),
        Some(delta) => request(Request::Arithmetic(Arithmetic { key, delta, decrement, noreply })),
        None => malformed(lines::BAD_DELTA, noreply),
    }
}

fn parse_touch(rest: &[u8]) -> Found<'_> {
    let Some((key, exptime)) = parse_pair(rest) else { return malformed(lines::BAD_FORMAT, false) };
    let noreply = is_noreply(rest);
    match parse_i32(exptime) {
        _ if key.len() > KEY_MAX_BYTES => malformed(lines::BAD_FORMAT, noreply),
        Some(exptime) => request(Request::Touch(Touch { key, exptime, noreply })),
        None => malformed(lines::BAD_EXPTIME, noreply),
    }
}

fn parse_meta(rest: &[u8], verb: MetaVerb) -> Found<'_> {
    let mut words = tokens(rest);
    match words.next() {
        None => malformed(lines::BAD_FORMAT, false),
        Some(key) if key.len() > KEY_MAX_BYTES => match verb {
            MetaVerb::Arithmetic => malformed(lines::META_INVALID_OR_DUPLICATE, false),
            _ => malformed(lines::BAD_FORMAT, false),
        },
        Some(key) => {
            let flags = &rest[rest.len() - words.remaining()..];
            request(Request::Meta(Meta { key, flags, verb, bytes: 0 }))
        }
    }
}

/// `<key> <bytes> <flags>*`.
fn parse_meta_set(rest: &[u8]) -> Found<'_> {
    let mut words = tokens(rest);
    let (Some(key), Some(bytes)) = (words.next(), words.next()) else {
        return malformed(lines::BAD_FORMAT, false);
    };
    let flags = &rest[rest.len() - words.remaining()..];
    let Some(bytes) = parse_data_length(bytes) else { return malformed(lines::BAD_FORMAT, false) };
    if !meta::all_words_are_flags(flags) {
        return malformed(lines::BAD_FORMAT, false);
    }
    if key.len() > KEY_MAX_BYTES {
        let (parsed, _) = malformed(lines::BAD_FORMAT, false);
        return (parsed, after_data_block(bytes));
    }
    request(Request::Meta(Meta { key, flags, verb: MetaVerb::Set, bytes }))
}

fn parse_pair(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = tokens(rest);
    Some((words.next()?, words.next()?))
}

fn parse_data_length(word: &[u8]) -> Option<u32> {
    let bytes = u32::try_from(parse_i32(word)?).ok()?;
    (bytes <= VALUE_MAX_BYTES).then_some(bytes)
}

/// The state in which a data block that will not be stored is ignored, and the two bytes at its end with it.
fn after_data_block(bytes: u32) -> State {
    State::Skip(u64::from(bytes) + 2)
}

fn is_noreply(rest: &[u8]) -> bool {
    last_token(rest) == b"noreply"
}

fn request(request: Request<'_>) -> Found<'_> {
    (Parsed::Request(request), State::Line)
}

fn malformed<'a>(line: &'static [u8], noreply: bool) -> Found<'a> {
    (Next::malformed(line, noreply, 0).parsed, State::Line)
}
