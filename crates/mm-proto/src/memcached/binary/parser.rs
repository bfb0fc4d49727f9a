//! Finding requests.

use super::super::limits::KEY_MAX_BYTES;
use super::head::{Lengths, REQUEST_HEAD_BYTES};
use super::request::{Mode, Verb};
use super::{BODY_MAX_BYTES, Head, REQUEST_MAGIC, Request, Status};

/// Finds requests in a connection's bytes.
///
/// Bytes are given in order and each is given until it is consumed; the requests found do not depend on how the bytes
/// were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parser {
    /// Bytes yet to be ignored.
    skip: u32,
}

/// What was found, and how many bytes are done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next<'a> {
    /// What was found.
    pub parsed: Parsed<'a>,
    /// How many bytes at the start of the input are done with and not to be given again.
    pub consumed: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A request.
    Request(Request<'a>),
    /// More bytes are needed. Those not consumed are to be given again, with more behind them; they are fewer than a
    /// header, extras and a key have at most.
    Incomplete,
    /// A command whose parts do not have the lengths they should have. The answer is the status; then the connection is
    /// to be closed.
    Malformed(Head, Status),
    /// There is no such command: the answer is [`Status::Unknown`]. Its body is ignored.
    Unsupported(Head),
    /// A body longer than allowed. The answer is [`Status::Invalid`]; then the connection is to be closed.
    TooLarge(Head),
    /// Not this protocol. There is no answer; the connection is to be closed.
    Foreign,
}

impl Parser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { skip: 0 }
    }

    /// Ignores the next `bytes` bytes: a value that is not wanted, or what is left of it.
    ///
    /// To be called between two requests, after [`next`](Parser::next) has returned one that a value follows.
    pub const fn skip(&mut self, bytes: u32) {
        self.skip = bytes;
    }

    /// Says how many bytes at the start of `input` are to be ignored, and takes them for done with.
    /// [`next`](Parser::next) does so too, but then it cannot be said of what it finds where that begins.
    pub fn ignore(&mut self, input: &[u8]) -> usize {
        let ignored = usize::try_from(self.skip).map_or(input.len(), |skip| skip.min(input.len()));
        self.skip -= u32::try_from(ignored).unwrap_or(self.skip);
        ignored
    }

    /// Finds what is at the start of `input`.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Next<'a> {
        let skipped = self.ignore(input);
        let (parsed, consumed) = self.parse(&input[skipped..]);
        Next { parsed, consumed: skipped + consumed }
    }

    fn parse<'a>(&mut self, input: &'a [u8]) -> (Parsed<'a>, usize) {
        if input.first().is_some_and(|magic| *magic != REQUEST_MAGIC) {
            return (Parsed::Foreign, 0);
        }
        let Some((header, rest)) = input.split_first_chunk::<REQUEST_HEAD_BYTES>() else {
            return (Parsed::Incomplete, 0);
        };
        let lengths = Lengths::of(header);
        let Lengths { head, key, extras, body } = lengths;
        let before_value = key + extras;
        let Some(bytes) = u32::try_from(before_value).ok().and_then(|before| body.checked_sub(before)) else {
            return (Parsed::Malformed(head, Status::Unknown), REQUEST_HEAD_BYTES);
        };
        if body > BODY_MAX_BYTES {
            return (Parsed::TooLarge(head), REQUEST_HEAD_BYTES);
        }
        let malformed = (Parsed::Malformed(head, Status::Invalid), REQUEST_HEAD_BYTES);
        if key > KEY_MAX_BYTES {
            return malformed;
        }
        let Some(form) = Form::of(head.opcode) else {
            self.skip(body);
            return (Parsed::Unsupported(head), REQUEST_HEAD_BYTES);
        };
        if !form.fits(&lengths, bytes) {
            return malformed;
        }
        let (Some(extra), Some(key)) = (rest.get(..extras), rest.get(extras..before_value)) else {
            return (Parsed::Incomplete, 0);
        };
        let verb = form.verb(extra, bytes);
        if !matches!(verb, Verb::Store { .. }) {
            // Of those that memcached accepts with something behind them that it does not read.
            self.skip(bytes);
        }
        let request = Request { head, verb, key, quiet: form.quiet };
        (Parsed::Request(request), REQUEST_HEAD_BYTES + before_value)
    }
}

/// What a command's number says.
#[derive(Clone, Copy)]
struct Form {
    kind: Kind,
    quiet: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Get {
        tells_key: bool,
    },
    GetAndTouch {
        tells_key: bool,
    },
    Touch,
    Store(Mode),
    /// append, prepend: without extras.
    Extend(Mode),
    Delete,
    Arithmetic {
        decrement: bool,
    },
    Flush,
    Bare(Verb),
    Stat,
}

impl Form {
    fn of(opcode: u8) -> Option<Self> {
        use Kind::{Arithmetic, Bare, Delete, Extend, Flush, Get, GetAndTouch, Stat, Store, Touch};
        let (kind, quiet) = match opcode {
            0x00 => (Get { tells_key: false }, false),
            0x09 => (Get { tells_key: false }, true),
            0x0c => (Get { tells_key: true }, false),
            0x0d => (Get { tells_key: true }, true),
            0x01 => (Store(Mode::Set), false),
            0x11 => (Store(Mode::Set), true),
            0x02 => (Store(Mode::Add), false),
            0x12 => (Store(Mode::Add), true),
            0x03 => (Store(Mode::Replace), false),
            0x13 => (Store(Mode::Replace), true),
            0x04 => (Delete, false),
            0x14 => (Delete, true),
            0x05 => (Arithmetic { decrement: false }, false),
            0x15 => (Arithmetic { decrement: false }, true),
            0x06 => (Arithmetic { decrement: true }, false),
            0x16 => (Arithmetic { decrement: true }, true),
            0x07 => (Bare(Verb::Quit), false),
            0x17 => (Bare(Verb::Quit), true),
            0x08 => (Flush, false),
            0x18 => (Flush, true),
            0x0a => (Bare(Verb::Noop), false),
            0x0b => (Bare(Verb::Version), false),
            0x0e => (Extend(Mode::Append), false),
            0x19 => (Extend(Mode::Append), true),
            0x0f => (Extend(Mode::Prepend), false),
            0x1a => (Extend(Mode::Prepend), true),
            super::opcode::STAT => (Stat, false),
            0x1c => (Touch, false),
            0x1d => (GetAndTouch { tells_key: false }, false),
            0x1e => (GetAndTouch { tells_key: false }, true),
            0x23 => (GetAndTouch { tells_key: true }, false),
            0x24 => (GetAndTouch { tells_key: true }, true),
            _ => return None,
        };
        Some(Self { kind, quiet })
    }

    /// Whether the parts have the lengths that this command's have; `bytes` is that of the value.
    fn fits(self, lengths: &Lengths, bytes: u32) -> bool {
        let (extras, has_key, has_value) = (lengths.extras, lengths.key > 0, bytes > 0);
        match self.kind {
            Kind::Get { .. } | Kind::Delete => extras == 0 && has_key && !has_value,
            Kind::GetAndTouch { .. } | Kind::Touch => extras == 4 && has_key,
            Kind::Store(_) => extras == 8 && has_key,
            Kind::Extend(_) => extras == 0 && has_key,
            Kind::Arithmetic { .. } => extras == 20 && has_key && !has_value,
            Kind::Flush => (extras == 0 || extras == 4) && !has_key && !has_value,
            Kind::Bare(_) => extras == 0 && !has_key && !has_value,
            Kind::Stat => extras == 0,
        }
    }

    /// The command with these extras, which have the length that they should have.
    fn verb(self, extras: &[u8], bytes: u32) -> Verb {
        match self.kind {
            Kind::Get { tells_key } => Verb::Get { tells_key },
            Kind::GetAndTouch { tells_key } => Verb::GetAndTouch { tells_key, exptime: number_32(extras) },
            Kind::Touch => Verb::Touch { exptime: number_32(extras) },
            Kind::Store(mode) => {
                Verb::Store { mode, flags: number_32(extras), exptime: number_32(tail(extras, 4)), bytes }
            }
            Kind::Extend(mode) => Verb::Store { mode, flags: 0, exptime: 0, bytes },
            Kind::Delete => Verb::Delete,
            Kind::Arithmetic { decrement } => Verb::Arithmetic {
                decrement,
                delta: number_64(extras),
                initial: number_64(tail(extras, 8)),
                exptime: number_32(tail(extras, 16)),
            },
            Kind::Flush => Verb::Flush { exptime: number_32(extras) },
            Kind::Bare(verb) => verb,
            Kind::Stat => Verb::Stat,
        }
    }
}

fn tail(extras: &[u8], start: usize) -> &[u8] {
    extras.get(start..).unwrap_or_default()
}

/// The number at the start; 0 where there is none.
fn number_32(extras: &[u8]) -> u32 {
    extras.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn number_64(extras: &[u8]) -> u64 {
    extras.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
