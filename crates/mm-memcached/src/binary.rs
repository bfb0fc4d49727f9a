//! The binary protocol: which command does what to the store, and what it answers.
//!
//! Requests are taken in batches, as those of the text protocols are, so that their cache misses overlap.

mod change;
mod fetch;
mod stats;
mod store;

use arrayvec::ArrayVec;
use mm_base::buffer::Output;
use mm_proto::memcached::Writer;
use mm_proto::memcached::binary::{
    Head, Parsed, Parser, REQUEST_MAGIC, RESPONSE_HEAD_BYTES, Request, Response, Status, Verb, put_head,
};
use mm_server::Step;
use mm_store::{Key, KeyHash, Sharing, Store};

use crate::limits::BATCH_MAX;
use crate::service::{Call, Connection, Memcached, after};
use crate::settings::Protocol;
pub(crate) use stats::Packets;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Text, classic and meta.
    Text,
    /// Its first byte will tell.
    Undecided,
    /// Binary.
    Binary(Parser),
}

impl Wire {
    /// That of a connection that has said nothing yet.
    pub(crate) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Undecided,
            Protocol::Ascii => Self::Text,
            Protocol::Binary => Self::Binary(Parser::new()),
        }
    }

    /// It as a byte, for another process; `None` in the middle of a request.
    pub(crate) fn pack(self) -> Option<u8> {
        match self {
            Self::Text => Some(b't'),
            Self::Undecided => Some(b'u'),
            Self::Binary(parser) => (parser == Parser::new()).then_some(b'b'),
        }
    }

    /// What [`Wire::pack`] has packed.
    pub(crate) fn unpack(byte: u8) -> Option<Self> {
        match byte {
            b't' => Some(Self::Text),
            b'u' => Some(Self::Undecided),
            b'b' => Some(Self::Binary(Parser::new())),
            _ => None,
        }
    }

    /// What it is, given what has come.
    fn decided(self, input: &[u8]) -> Self {
        match (self, input.first()) {
            (Self::Undecided, Some(&REQUEST_MAGIC)) => Self::Binary(Parser::new()),
            (Self::Undecided, Some(_)) => Self::Text,
            _ => self,
        }
    }
}

/// A request, and what the connection has to know if it stops after it.
struct Slot<'a> {
    work: Work<'a>,
    /// Bytes of the input that are done with after it.
    end: usize,
    parser: Parser,
}

/// What is to be done.
enum Work<'a> {
    /// A request about a key; the value is that of a storage command.
    Keyed { key: Key<'a>, request: Request<'a>, value: &'a [u8] },
    /// A request about none.
    Bare(Request<'a>),
    /// A refusal, which may be the end of the connection.
    Refusal { head: Head, status: Status, closes: bool },
}

impl Work<'_> {
    /// Whether it may need memory.
    const fn may_store(&self) -> bool {
        match self {
            Self::Keyed { request, .. } => !matches!(request.verb, Verb::Get { .. } | Verb::Delete),
            Self::Bare(_) | Self::Refusal { .. } => false,
        }
    }
}

/// Why a batch ends, and what comes after it.
enum Ahead<'a> {
    /// It is full, or ends with a request that must be done before what follows.
    More,
    /// The input ends.
    Input,
    /// A storage command whose value has not arrived whole. It begins at this byte, with this parser.
    Value(Request<'a>, usize, Parser),
    /// The connection is to be closed.
    Close,
}

impl<S: Sharing> Memcached<S> {
    /// Serves what does not speak text for certain.
    #[inline(never)]
    pub(crate) fn serve_wire(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Step {
        connection.wire = connection.wire.decided(input);
        match connection.wire {
            Wire::Text => self.serve(connection, input, call),
            Wire::Undecided => Step::Read { consumed: 0 },
            Wire::Binary(_) if connection.incoming.is_some() => {
                self.resume_binary_upload(connection, input, call)
            }
            Wire::Binary(parser) => self.serve_binary(connection, parser, input, call),
        }
    }

    /// The hash of the first key of a connection's input that does not speak text for certain.
    #[inline(never)]
    pub(crate) fn first_hash(&self, connection: &Connection, input: &[u8]) -> Option<KeyHash> {
        match connection.wire.decided(input) {
            Wire::Binary(mut parser) => match parser.next(input).parsed {
                Parsed::Request(request) => self.store.key(request.key).map(|key| key.hash()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Serves requests until the input ends, the output is full, or the connection has to wait for something else.
    fn serve_binary(
        &mut self,
        connection: &mut Connection,
        mut parser: Parser,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Step {
        let mut at = 0;
        let mut left = self.share();
        loop {
            let mut batch = ArrayVec::<Slot<'_>, BATCH_MAX>::new();
            let (mut end, mut before) = (at, parser);
            let ahead = fill(&mut batch, &self.store, &mut parser, (input, &mut at));
            prefetch_items(&batch, &self.store);
            for slot in &batch {
                if slot.work.may_store() && self.store.must_wait() {
                    connection.wire = Wire::Binary(before);
                    connection.long = call.long.take();
                    return self.park(connection.token, end);
                }
                (end, before) = (slot.end, slot.parser);
                let closes = self.execute_binary(&slot.work, call);
                if closes {
                    return Step::Close { consumed: slot.end };
                }
                if call.output.is_full() {
                    connection.wire = Wire::Binary(slot.parser);
                    connection.long = call.long.take();
                    return Step::Read { consumed: slot.end };
                }
                left -= 1;
                if left == 0 && slot.end < input.len() {
                    connection.wire = Wire::Binary(slot.parser);
                    connection.long = call.long.take();
                    return Step::Yield { consumed: slot.end };
                }
                left = left.max(1);
            }
            connection.wire = Wire::Binary(parser);
            if call.long.is_some() {
                connection.long = call.long.take();
                if let Some(step) = self.resume_long(connection, &input[at..], call) {
                    return after(at, step);
                }
            }
            match ahead {
                Ahead::More => {}
                Ahead::Input => return Step::Read { consumed: at },
                Ahead::Close => return Step::Close { consumed: at },
                Ahead::Value(request, start, before) => {
                    let Verb::Store { bytes, .. } = request.verb else { return Step::Close { consumed: at } };
                    if let Some(step) = self.put_off(connection.token, (start, bytes), call) {
                        connection.wire = Wire::Binary(before);
                        return step;
                    }
                    if self.begin_binary_store(connection, &request, call) {
                        return Step::ReadInto { consumed: at };
                    }
                    parser.skip(bytes);
                }
            }
        }
    }

    /// Does what a request asks for, and says whether the connection is to be closed.
    fn execute_binary(&mut self, work: &Work<'_>, call: &mut Call<'_>) -> bool {
        match work {
            Work::Keyed { key, request, value } => self.execute_keyed(*key, request, value, call),
            Work::Bare(request) => return self.execute_bare(request, call),
            Work::Refusal { head, status, closes } => {
                refuse(call.output, *head, *status);
                return *closes;
            }
        }
        false
    }

    fn execute_keyed(&mut self, key: Key<'_>, request: &Request<'_>, value: &[u8], call: &mut Call<'_>) {
        match request.verb {
            Verb::Get { tells_key } => self.binary_get(key, request, tells_key, call),
            Verb::GetAndTouch { tells_key, exptime } => {
                self.binary_touch(key, request, (tells_key, true, exptime), call);
            }
            Verb::Touch { exptime } => self.binary_touch(key, request, (false, false, exptime), call),
            Verb::Store { .. } => self.binary_store(key, request, value, call),
            Verb::Delete => self.binary_delete(key, request, call),
            Verb::Arithmetic { .. } => self.binary_arithmetic(key, request, call),
            _ => {}
        }
    }

    fn execute_bare(&mut self, request: &Request<'_>, call: &mut Call<'_>) -> bool {
        match request.verb {
            Verb::Flush { exptime } => self.binary_flush(request, exptime, call),
            Verb::Version => {
                let version = self.shared.settings.version.as_bytes();
                respond(
                    call.output,
                    request.head,
                    &Response { value: length(version.len()), ..Response::OK },
                    &[version],
                );
            }
            Verb::Stat => self.binary_stats(request, call),
            Verb::Quit => {
                done(request, 0, call.output);
                return true;
            }
            _ => done(request, 0, call.output),
        }
        false
    }
}

/// Takes requests from `input`, beginning at `at`, and prefetches what they will need. `at` and `parser` are left where
/// the batch ends.
fn fill<'a, S: Sharing>(
    batch: &mut ArrayVec<Slot<'a>, BATCH_MAX>,
    store: &Store<S>,
    parser: &mut Parser,
    (input, at): (&'a [u8], &mut usize),
) -> Ahead<'a> {
    while !batch.is_full() {
        // What is ignored is done with, even where what follows it has to wait.
        *at += parser.ignore(&input[*at..]);
        let (start, before) = (*at, *parser);
        let next = parser.next(&input[start..]);
        *at += next.consumed;
        let work = match next.parsed {
            Parsed::Incomplete => return Ahead::Input,
            Parsed::Foreign => return Ahead::Close,
            Parsed::Malformed(head, status) => Work::Refusal { head, status, closes: true },
            Parsed::TooLarge(head) => Work::Refusal { head, status: Status::Invalid, closes: true },
            Parsed::Unsupported(head) => Work::Refusal { head, status: Status::Unknown, closes: false },
            Parsed::Request(request) => {
                let value = match request.verb {
                    Verb::Store { bytes, .. } => match value_at(input, *at, bytes) {
                        Some(value) => value,
                        None => return Ahead::Value(request, start, before),
                    },
                    _ => &[],
                };
                *at += value.len();
                // Which statistics are wanted is not a key.
                match store.key(request.key).filter(|_| request.verb != Verb::Stat) {
                    Some(key) => {
                        store.prefetch_index(key.hash());
                        Work::Keyed { key, request, value }
                    }
                    None => Work::Bare(request),
                }
            }
        };
        let is_barrier = matches!(&work, Work::Bare(Request { verb: Verb::Stat, .. }));
        batch.push(Slot { work, end: *at, parser: *parser });
        if is_barrier {
            return Ahead::More;
        }
    }
    Ahead::More
}

/// The value that begins at byte `start`, where it is there whole.
fn value_at(input: &[u8], start: usize, bytes: u32) -> Option<&[u8]> {
    input.get(start..)?.get(..usize::try_from(bytes).ok()?)
}

/// Prefetches the items of a batch, whose index buckets were prefetched before.
fn prefetch_items<S: Sharing>(batch: &[Slot<'_>], store: &Store<S>) {
    if batch.len() < 2 {
        return;
    }
    for slot in batch {
        if let Work::Keyed { key, .. } = &slot.work {
            store.prefetch_item(key.hash());
        }
    }
}

/// Writes a response whose body is these parts, which must be short.
fn respond(output: &mut Output, head: Head, response: &Response, parts: &[&[u8]]) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut writer = Writer::new(output.spare(RESPONSE_HEAD_BYTES + bytes));
    put_head(&mut writer, head, response);
    parts.iter().for_each(|part| writer.put(part));
    let written = writer.len();
    output.commit(written);
}

/// Writes a refusal with its text.
pub(crate) fn refuse(output: &mut Output, head: Head, status: Status) {
    let text = status.text();
    respond(output, head, &Response { status, value: length(text.len()), ..Response::OK }, &[text]);
}

/// Says that a request is done, unless it is quiet.
fn done(request: &Request<'_>, cas: u64, output: &mut Output) {
    if !request.quiet {
        respond(output, request.head, &Response { cas, ..Response::OK }, &[]);
    }
}

/// A length in the width of a header.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
