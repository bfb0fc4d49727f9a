//! The parser's states.

use super::keys::Keys;
use super::quick::Quick;
use super::request::{Get, Malformed, Request, Store};
use super::{keys, line, quick};

/// What the next bytes of a connection are.
///
/// Small, so that every connection can have one. Bytes are given in order and each is given until it is
/// consumed; the requests found do not depend on how the bytes were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parser {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// The beginning of a line.
    #[default]
    Line,
    /// Within a line of keys.
    Keys(Keys),
    /// Within a line that is to be ignored to its end.
    SkipLine,
    /// Within so many bytes that are to be ignored.
    Skip(u64),
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
    /// More bytes are needed. Those not consumed are to be given again, with more behind them; they are at
    /// most [`LINE_MAX_BYTES`](super::limits::LINE_MAX_BYTES).
    Incomplete,
    /// A known command that makes no sense. The parser is in step again by itself, as memcached would be: it
    /// ignores the data block of a storage command whose length could be read, and nothing of one whose could
    /// not.
    Malformed(Malformed),
    /// An unknown command. The answer is [`ERROR`](super::lines::ERROR).
    Unsupported,
    /// A line that never ends. There is no answer, and nothing to do but to close the connection.
    TooLarge,
    /// A request of HTTP, as a browser can be made to send. There is no answer; the connection is to be
    /// closed.
    Foreign,
}

impl Parser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Line }
    }

    /// Finds what is at the start of `input`.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Next<'a> {
        match self.next_quickly(input) {
            Some(quick) => quick.next(),
            None => self.next_slowly(input),
        }
    }

    /// Finds a get of one key in its common form at the start of `input`, or the next key of a line of keys, and how
    /// many bytes it takes; or nothing: then [`next_quickly`](Parser::next_quickly) is to be asked.
    #[inline(always)]
    pub fn next_get<'a>(&mut self, input: &'a [u8]) -> Option<(Get<'a>, usize)> {
        match self.state {
            State::Line => quick::parse_plain_get(input),
            State::Keys(keys) => {
                let (get, consumed) = quick::parse_key(input, keys)?;
                self.state = if get.last { State::Line } else { State::Keys(Keys { any: true, ..keys }) };
                Some((get, consumed))
            }
            _ => None,
        }
    }

    /// Finds the line of a set in its common form at the start of `input`, and how many bytes it takes; or nothing:
    /// then [`next_quickly`](Parser::next_quickly) is to be asked.
    #[inline(always)]
    #[must_use]
    pub fn next_set<'a>(&self, input: &'a [u8]) -> Option<(Store<'a>, usize)> {
        if self.is_between_requests() { quick::parse_set(input) } else { None }
    }

    /// Finds a request of a common kind in its common form at the start of `input`, or nothing: then
    /// [`next_slowly`](Parser::next_slowly) is to be asked.
    ///
    /// The two together are [`next`](Parser::next), for callers that serve what is common apart from what is not.
    #[inline(always)]
    pub fn next_quickly<'a>(&mut self, input: &'a [u8]) -> Option<Quick<'a>> {
        match self.state {
            State::Line => quick::parse(input),
            State::Keys(_) => self.next_get(input).map(|(get, consumed)| Quick::Get(get, consumed)),
            _ => None,
        }
    }

    /// The parser as it is after it has found `get`.
    #[inline]
    #[must_use]
    pub const fn after_key(get: &Get<'_>) -> Self {
        if get.last {
            return Self::new();
        }
        Self { state: State::Keys(Keys { fetch: get.fetch, exptime: Some(get.exptime), any: true }) }
    }

    /// Ignores the next `bytes` bytes: a data block that is not wanted, or what is left of it.
    ///
    /// To be called between two requests, after [`next`](Parser::next) has returned one that a data block
    /// follows.
    pub fn skip(&mut self, bytes: u64) {
        self.state = if bytes == 0 { State::Line } else { State::Skip(bytes) };
    }

    /// Whether a request begins with the next byte, so that ending the connection here cuts nothing off.
    #[inline]
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        self.state == State::Line
    }

    /// Finds what is at the start of `input`, whatever it is.
    #[inline(never)]
    pub fn next_slowly<'a>(&mut self, input: &'a [u8]) -> Next<'a> {
        let mut skipped = 0;
        loop {
            let rest = &input[skipped..];
            let (mut next, state) = match self.state {
                State::Line => line::parse(rest),
                State::Keys(keys) => keys::parse(rest, keys),
                State::SkipLine | State::Skip(_) => {
                    skipped += self.skip_some(rest);
                    if self.state == State::Line && skipped < input.len() {
                        continue;
                    }
                    return Next { parsed: Parsed::Incomplete, consumed: skipped };
                }
            };
            self.state = state;
            next.consumed += skipped;
            return next;
        }
    }

    /// Ignores what is at the start of `input` and to be ignored: of a data block that is not wanted, or of a line that
    /// was refused. Returns how many bytes. [`next`](Parser::next) does so by itself, together with the request behind.
    pub fn skip_ahead(&mut self, input: &[u8]) -> usize {
        match self.state {
            State::SkipLine | State::Skip(_) => self.skip_some(input),
            State::Line | State::Keys(_) => 0,
        }
    }

    /// Ignores what the state says. Returns how many bytes.
    fn skip_some(&mut self, input: &[u8]) -> usize {
        match self.state {
            State::Skip(left) => {
                let part = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                self.skip(left - part as u64);
                part
            }
            _ => match memchr::memchr(b'\n', input) {
                Some(end) => {
                    self.state = State::Line;
                    end + 1
                }
                None => input.len(),
            },
        }
    }
}

impl<'a> Next<'a> {
    pub(super) const fn request(request: Request<'a>, consumed: usize) -> Self {
        Self { parsed: Parsed::Request(request), consumed }
    }

    pub(super) const fn incomplete(consumed: usize) -> Self {
        Self { parsed: Parsed::Incomplete, consumed }
    }

    pub(super) const fn malformed(line: &'static [u8], noreply: bool, consumed: usize) -> Self {
        Self { parsed: Parsed::Malformed(Malformed { line, noreply }), consumed }
    }
}
