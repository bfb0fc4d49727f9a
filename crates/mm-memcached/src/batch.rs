//! Requests taken together, so that their cache misses overlap.

use arrayvec::ArrayVec;
use mm_proto::memcached::{
    Admin, Get, Meta, MetaVerb, Next, Parsed, Parser, Quick, Request, Store as StoreLine, lines,
};
use mm_store::{Key, Sharing, Store};

use crate::limits::BATCH_MAX;

/// Parsed requests in their order.
pub(crate) type Batch<'a> = ArrayVec<Slot<'a>, BATCH_MAX>;

/// A request and what the connection has to know if it stops after it.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) work: Work<'a>,
    /// Bytes of the input that are done with after it.
    pub(crate) end: usize,
}

impl Slot<'_> {
    /// The parser after this request, where it is `parser` after the batch, which ends at byte `at`.
    #[cold]
    pub(crate) fn parser_after(&self, parser: Parser, at: usize) -> Parser {
        match &self.work {
            Work::Get { get, .. } => Parser::after_key(get),
            // What leaves the parser in any other state than at the beginning of a line ends its batch.
            _ if self.end == at => parser,
            _ => Parser::new(),
        }
    }
}

/// A request with its key hashed and its data at hand.
#[derive(Debug)]
pub(crate) enum Work<'a> {
    Get { key: Key<'a>, get: Get<'a> },
    Store { key: Key<'a>, line: StoreLine<'a>, data: &'a [u8] },
    Meta { key: Key<'a>, meta: Meta<'a>, data: &'a [u8] },
    Keyed { key: Key<'a>, request: Request<'a> },
    Answer { line: &'static [u8] },
    Nothing,
    Version,
    Admin(Admin<'a>),
}

/// Why a batch ends, and what comes after it.
#[derive(Debug)]
pub(crate) enum Ahead<'a> {
    /// It is full, or ends with a request that must be done before what follows is looked at.
    More,
    /// The input ends.
    Input,
    /// A storage command whose data has not arrived whole.
    Store(StoreLine<'a>),
    /// The same, of the meta kind.
    MetaSet(Meta<'a>),
    /// The connection is to be closed.
    Close,
}

impl Ahead<'_> {
    /// The length of the value that has not arrived whole.
    pub(crate) fn value_len(&self) -> Option<u32> {
        match self {
            Self::Store(StoreLine { bytes, .. }) | Self::MetaSet(Meta { bytes, .. }) => Some(*bytes),
            Self::More | Self::Input | Self::Close => None,
        }
    }
}

impl<'a> Work<'a> {
    /// Whether it is a request, or the last key of one.
    pub(crate) fn ends_request(&self) -> bool {
        !matches!(self, Self::Get { get: Get { last: false, .. }, .. })
    }

    /// Whether it may need memory.
    pub(crate) fn may_store(&self) -> bool {
        match self {
            Self::Store { .. } => true,
            Self::Get { get, .. } => get.fetch.touches(),
            Self::Meta { meta, .. } => meta.verb != MetaVerb::Get || !meta.flags.is_empty(),
            Self::Keyed { request, .. } => !matches!(request, Request::Delete(_)),
            _ => false,
        }
    }

    #[inline]
    fn key_mut(&mut self) -> Option<&mut Key<'a>> {
        match self {
            Self::Get { key, .. }
            | Self::Store { key, .. }
            | Self::Meta { key, .. }
            | Self::Keyed { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// Takes requests from `input`, beginning at `at`, and prefetches what they will need.
///
/// `at` and `parser` are left where the batch ends: for data that has not arrived whole, after its command line.
#[inline]
pub(crate) fn fill<'a, S: Sharing>(
    batch: &mut Batch<'a>,
    store: &Store<S>,
    parser: &mut Parser,
    input: &'a [u8],
    at: &mut usize,
) -> Ahead<'a> {
    while !batch.is_full() {
        // Each branch puts its slot into the batch itself, so that none is built in one place and copied to another.
        if let Some((get, consumed)) = parser.next_get(&input[*at..]) {
            *at += consumed;
            if let Some(key) = store.key_ahead(get.key) {
                batch.push(Slot { work: Work::Get { key, get }, end: *at });
            }
        } else if let Some((line, consumed)) = parser.next_set(&input[*at..]) {
            *at += consumed;
            let Some(data) = data_block(input, *at, line.bytes) else { return Ahead::Store(line) };
            *at += data.len();
            if let Some(key) = store.key_ahead_to_write(line.key) {
                batch.push(Slot { work: Work::Store { key, line, data }, end: *at });
            }
        } else if let Some(ahead) = take_other(batch, store, parser, input, at) {
            return ahead;
        }
    }
    Ahead::More
}

/// The key of the first request of `input`, if that has one.
#[inline(always)]
pub(crate) fn first_key<'a, S: Sharing>(
    store: &Store<S>,
    mut parser: Parser,
    input: &'a [u8],
) -> Option<Key<'a>> {
    if let Some((get, _)) = parser.next_get(input) {
        return store.key(get.key);
    }
    if let Some((line, _)) = parser.next_set(input) {
        return store.key(line.key);
    }
    match parser.next(input).parsed {
        Parsed::Request(Request::Get(get)) => store.key(get.key),
        Parsed::Request(Request::Store(line)) => store.key(line.key),
        Parsed::Request(Request::Meta(meta)) => store.key(meta.key),
        _ => None,
    }
}

/// Takes one request other than get and set. Returns what is ahead where the batch ends with it.
#[inline]
fn take_other<'a, S: Sharing>(
    batch: &mut Batch<'a>,
    store: &Store<S>,
    parser: &mut Parser,
    input: &'a [u8],
    at: &mut usize,
) -> Option<Ahead<'a>> {
    if *at == input.len() {
        return Some(Ahead::Input);
    }
    match parser.next_quickly(&input[*at..]) {
        Some(Quick::Get(get, consumed)) => {
            *at += consumed;
            if let Some(key) = store.key_ahead(get.key) {
                batch.push(Slot { work: Work::Get { key, get }, end: *at });
            }
        }
        Some(Quick::Store(line, consumed)) => {
            *at += consumed;
            let Some(data) = data_block(input, *at, line.bytes) else { return Some(Ahead::Store(line)) };
            *at += data.len();
            if let Some(key) = store.key_ahead_to_write(line.key) {
                batch.push(Slot { work: Work::Store { key, line, data }, end: *at });
            }
        }
        Some(Quick::Meta(meta, consumed)) => {
            *at += consumed;
            let mut data = &input[..0];
            if meta.verb == MetaVerb::Set {
                let Some(block) = data_block(input, *at, meta.bytes) else {
                    return Some(Ahead::MetaSet(meta));
                };
                *at += block.len();
                data = block;
            }
            if let Some(key) = store.key_ahead(meta.key) {
                batch.push(Slot { work: Work::Meta { key, meta, data }, end: *at });
            }
        }
        None => return take_slowly(batch, store, parser, input, at),
    }
    None
}

/// Takes one request of any kind. Returns what is ahead where the batch ends with it.
#[inline(never)]
fn take_slowly<'a, S: Sharing>(
    batch: &mut Batch<'a>,
    store: &Store<S>,
    parser: &mut Parser,
    input: &'a [u8],
    at: &mut usize,
) -> Option<Ahead<'a>> {
    let skipped = parser.skip_ahead(&input[*at..]);
    if skipped > 0 {
        mm_base::mark!("refused value skipped");
        *at += skipped;
        // It is done with, whatever is waited for behind it.
        batch.push(Slot { work: Work::Nothing, end: *at });
        return (!parser.is_between_requests()).then_some(Ahead::More);
    }
    let Next { parsed, consumed } = parser.next_slowly(&input[*at..]);
    *at += consumed;
    let work = match parsed {
        Parsed::Incomplete => return Some(Ahead::Input),
        Parsed::Request(Request::Get(get)) => {
            store.key_ahead(get.key).map_or(Work::Nothing, |key| Work::Get { key, get })
        }
        Parsed::Request(Request::Store(line)) => {
            let Some(data) = data_block(input, *at, line.bytes) else { return Some(Ahead::Store(line)) };
            *at += data.len();
            store.key_ahead_to_write(line.key).map_or(Work::Nothing, |key| Work::Store { key, line, data })
        }
        Parsed::Request(Request::Meta(meta)) => {
            let is_set = meta.verb == MetaVerb::Set;
            let data = if is_set { data_block(input, *at, meta.bytes) } else { Some(&input[..0]) };
            let Some(data) = data else { return Some(Ahead::MetaSet(meta)) };
            *at += data.len();
            store.key_ahead(meta.key).map_or(Work::Nothing, |key| Work::Meta { key, meta, data })
        }
        parsed => match other_work(store, parsed) {
            Some(work) => work,
            None => return Some(Ahead::Close),
        },
    };
    let is_key = matches!(work, Work::Get { .. });
    let ends_batch = matches!(work, Work::Admin(_)) || !(is_key || parser.is_between_requests());
    batch.push(Slot { work, end: *at });
    ends_batch.then_some(Ahead::More)
}

/// What has no fast path. `None` for what ends the connection.
fn other_work<'a, S: Sharing>(store: &Store<S>, parsed: Parsed<'a>) -> Option<Work<'a>> {
    let request = match parsed {
        Parsed::Request(request) => request,
        Parsed::Malformed(malformed) if malformed.noreply => return Some(Work::Nothing),
        Parsed::Malformed(malformed) => return Some(Work::Answer { line: malformed.line }),
        Parsed::Unsupported => return Some(Work::Answer { line: lines::ERROR }),
        Parsed::TooLarge | Parsed::Foreign | Parsed::Incomplete => return None,
    };
    let key = match request {
        Request::GetEnd => return Some(Work::Answer { line: lines::END }),
        Request::MetaNoop => return Some(Work::Answer { line: lines::META_NOOP }),
        Request::Version => return Some(Work::Version),
        Request::Admin(admin) => return Some(Work::Admin(admin)),
        Request::Quit => return None,
        Request::Delete(delete) => delete.key,
        Request::Arithmetic(arithmetic) => arithmetic.key,
        Request::Touch(touch) => touch.key,
        Request::Get(get) => get.key,
        Request::Store(line) => line.key,
        Request::Meta(meta) => meta.key,
    };
    Some(store.key_ahead(key).map_or(Work::Nothing, |key| Work::Keyed { key, request }))
}

/// The data block that begins at byte `start`, with the two bytes at its end, where it is there whole.
#[inline]
fn data_block(input: &[u8], start: usize, bytes: u32) -> Option<&[u8]> {
    let bytes = usize::try_from(bytes).ok()?;
    input.get(start..)?.get(..bytes + 2)
}

/// Looks ahead for the items of a batch, whose index buckets were prefetched before.
#[inline]
pub(crate) fn look_ahead<S: Sharing>(batch: &mut Batch<'_>, store: &Store<S>) {
    for slot in batch {
        let writes = matches!(slot.work, Work::Store { .. });
        if let Some(key) = slot.work.key_mut() {
            if writes {
                store.look_ahead_to_write(key);
            } else {
                store.look_ahead(key);
            }
        }
    }
}
