//! `-vv`: each request and each response as a line for the operator, in memcached's form.
//!
//! Nothing of this runs unless it was asked for; then it may be slow, and the lines are written before the answer is
//! sent.

use std::fmt::Write;

use mm_base::buffer::Output;
use mm_proto::memcached::{Meta, MetaVerb, Parsed, Parser, Request, tokens};
use mm_server::Step;
use mm_store::Sharing;

use crate::binary::Wire;
use crate::clock::Time;
use crate::limits::ALOUD_LINE_BYTES;
use crate::service::{Connection, Memcached};
use crate::settings::Protocol;
use crate::watch::kind;

/// The head of a packet of the binary protocol, in bytes.
const HEAD_BYTES: usize = 24;

impl<S: Sharing> Memcached<S> {
    /// Whether requests and responses are shown to the operator.
    pub(crate) fn is_aloud(&self) -> bool {
        self.shared.observed.get() & kind::ALOUD != 0
    }

    /// A connection has come.
    pub(crate) fn announce(&self, connection: &Connection, protocol: Protocol) {
        if self.is_aloud() {
            let number = connection.registered.number;
            let kind = match protocol {
                Protocol::Auto => "auto-negotiating",
                Protocol::Ascii => "ascii",
                Protocol::Binary => "binary",
            };
            self.shared.host.say(&format!("<{number} new {kind} client connection\n"));
        }
    }

    /// A connection has gone.
    pub(crate) fn announce_end(&self, connection: &Connection) {
        if self.is_aloud() {
            self.shared.host.say(&format!("<{} connection closed.\n", connection.registered.number));
        }
    }

    /// Serves a connection and shows what it has asked and what it is answered.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_aloud(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        output: &mut Output,
        time: Time,
    ) -> Step {
        let number = connection.registered.number;
        let (parser, is_storing) = (connection.parser, connection.incoming.is_some());
        let mut own = output.another();
        let step = self.run_at(connection, input, &mut own, time);
        let mut answer = Vec::new();
        own.drain_into(&mut answer);
        let (Step::Read { consumed }
        | Step::Yield { consumed }
        | Step::ReadInto { consumed }
        | Step::Park { consumed }
        | Step::Close { consumed }) = step;
        let taken = &input[..consumed.min(input.len())];
        let mut lines = String::new();
        match connection.wire {
            Wire::Binary(_) => {
                show_packets(&mut lines, (number, '<'), taken);
                show_packets(&mut lines, (number, '>'), &answer);
            }
            _ => {
                show_requests(&mut lines, number, (parser, is_storing), input, taken.len());
                show_answers(&mut lines, number, &answer);
            }
        }
        if !lines.is_empty() {
            self.shared.host.say(&lines);
        }
        output.write(&answer);
        step
    }
}

/// Shows the lines of requests that begin in the first `taken` bytes of `input`.
fn show_requests(
    lines: &mut String,
    number: usize,
    (mut parser, is_storing): (Parser, bool),
    input: &[u8],
    taken: usize,
) {
    // The line end of a value that has come in pieces.
    let mut at = if is_storing { 2 } else { 0 };
    let mut is_new = true;
    while at < taken {
        at += parser.skip_ahead(&input[at..]);
        let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) else { return };
        let next = parser.next(rest);
        if next.consumed == 0 {
            return;
        }
        if is_new {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            show(lines, (number, '<'), &rest[..end]);
        }
        at += next.consumed;
        is_new = true;
        match next.parsed {
            Parsed::Request(Request::Get(get)) => is_new = get.last,
            Parsed::Request(Request::Store(line)) => at += line.bytes as usize + 2,
            Parsed::Request(Request::Meta(Meta { verb: MetaVerb::Set, bytes, .. })) => {
                at += bytes as usize + 2;
            }
            _ => {}
        }
    }
}

/// Shows the lines of an answer; of values only whose they are.
fn show_answers(lines: &mut String, number: usize, answer: &[u8]) {
    let mut rest = answer;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let mut words = tokens(line.strip_suffix(b"\r").unwrap_or(line));
        let value = match words.next() {
            Some(b"STAT") => continue,
            Some(b"VALUE") => {
                let key = words.next().unwrap_or_default();
                show(lines, (number, '>'), &[b"sending key ", key].concat());
                words.nth(1)
            }
            word => {
                show(lines, (number, '>'), line);
                words.next().filter(|_| word == Some(b"VA"))
            }
        };
        let len = value.and_then(|len| std::str::from_utf8(len).ok()?.parse::<usize>().ok());
        rest = len.map_or(rest, |len| rest.get(len + 2..).unwrap_or_default());
    }
}

/// Shows packets of the binary protocol by their heads and keys.
fn show_packets(lines: &mut String, (number, way): (usize, char), bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(head) = rest.first_chunk::<HEAD_BYTES>() {
        let word = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let (key_len, extras_len) = (word(2), usize::from(head[4]));
        let body_len = word(8) << 16 | word(10);
        let key_at = HEAD_BYTES + extras_len;
        let key = rest.get(key_at..key_at + key_len).unwrap_or_default();
        let status = if way == '>' { format!(" status {:#04x}", word(6)) } else { String::new() };
        let text = format!("binary opcode {:#04x}{status} key ", head[1]);
        show(lines, (number, way), &[text.as_bytes(), key].concat());
        rest = rest.get(HEAD_BYTES + body_len..).unwrap_or_default();
    }
}

/// Adds a line, of which no byte can do harm in a terminal.
fn show(lines: &mut String, (number, way): (usize, char), line: &[u8]) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (shown, more) = match line.get(..ALOUD_LINE_BYTES) {
        Some(shown) => (shown, "..."),
        None => (line, ""),
    };
    // Writing to a string does not fail.
    writeln!(lines, "{way}{number} {}{more}", shown.escape_ascii()).unwrap_or(());
}
