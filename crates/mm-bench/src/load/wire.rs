//! Requests out, answers in and checked, for each protocol.

mod echo;
mod meta;
mod resp;
mod text;

use memchr::memchr;

use super::arguments::Protocol;
use super::report::Tally;
use super::values::{Values, append_decimal};

/// A protocol together with what the answers must be.
#[derive(Debug)]
pub(super) struct Wire {
    protocol: Protocol,
    prefix: Vec<u8>,
    values: Values,
    /// Whether keys and values of answers are compared; a canned floor's would all be wrong.
    checked: bool,
}

/// A request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question<'a> {
    /// The keys asked for, in order.
    Get(&'a [u64]),
    /// The key stored.
    Set,
    /// The key whose value was sent to be echoed.
    Echo(u64),
}

/// How far the answer to one request has been read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Keys of the request that are settled: hit, or passed over as a miss.
    keys: usize,
    /// Values seen.
    hits: usize,
    /// Whether what precedes the values has been read.
    begun: bool,
}

impl Progress {
    /// Another key of so many is settled, with so many bytes.
    fn settle(&mut self, keys: usize, used: usize) -> Answer {
        self.keys += 1;
        if self.keys == keys { Answer::Whole(used) } else { Answer::Part(used) }
    }
}

/// What the bytes at hand are.
#[derive(Debug)]
pub(super) enum Answer {
    /// The beginning of something.
    Incomplete,
    /// So many bytes of an answer that goes on.
    Part(usize),
    /// So many bytes, with which the answer ends.
    Whole(usize),
    /// Nothing this protocol has; the connection cannot go on.
    Broken(String),
}

impl Wire {
    pub(super) fn new(protocol: Protocol, prefix: &str, values: Values, checked: bool) -> Self {
        Self { protocol, prefix: prefix.as_bytes().to_vec(), values, checked }
    }

    /// Whether requests are gets and sets at all.
    pub(super) fn is_echo(&self) -> bool {
        self.protocol == Protocol::Echo
    }

    /// Appends a request for these keys.
    pub(super) fn write_get(&self, ids: &[u64], output: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Text => text::write_get(self, ids, output),
            Protocol::Meta => meta::write_get(self, ids, output),
            Protocol::Resp => resp::write_get(self, ids, output),
            Protocol::Echo => {}
        }
    }

    /// Appends a request that stores a key's value, or echoes it.
    pub(super) fn write_set(&self, id: u64, output: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Text => text::write_set(self, id, output),
            Protocol::Meta => meta::write_set(self, id, output),
            Protocol::Resp => resp::write_set(self, id, output),
            Protocol::Echo => self.values.write(id, output),
        }
    }

    /// Reads what it can of the answer to `question` and counts it.
    pub(super) fn read(
        &self,
        question: Question<'_>,
        progress: &mut Progress,
        input: &[u8],
        tally: &mut Tally,
    ) -> Answer {
        match (self.protocol, question) {
            (_, Question::Echo(id)) => echo::read(self, id, input, tally),
            (Protocol::Text, Question::Get(ids)) => text::read_get(self, ids, progress, input, tally),
            (Protocol::Meta, Question::Get(ids)) => meta::read_get(self, ids, progress, input, tally),
            (Protocol::Resp, Question::Get(ids)) => resp::read_get(self, ids, progress, input, tally),
            (Protocol::Text, Question::Set) => read_stored(b"STORED", input, tally),
            (Protocol::Meta, Question::Set) => read_stored(b"HD", input, tally),
            (Protocol::Resp, Question::Set) => read_stored(b"+OK", input, tally),
            (Protocol::Echo, _) => {
                Answer::Broken("an echo server is asked for nothing but echoes".to_owned())
            }
        }
    }

    /// The longest answer that must be at hand as a whole: one value with its line.
    pub(super) fn longest_part(&self) -> usize {
        self.values.longest() + self.prefix.len() + 128
    }

    /// The length of a key's value and the value, each with an end of line behind it.
    fn append_value(&self, id: u64, output: &mut Vec<u8>) {
        append_decimal(self.values.length(id) as u64, output);
        output.extend_from_slice(b"\r\n");
        self.values.write(id, output);
        output.extend_from_slice(b"\r\n");
    }

    fn append_key(&self, id: u64, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.prefix);
        append_decimal(id, output);
    }

    /// The number in a key; none if it is not one of ours.
    fn key_id(&self, key: &[u8]) -> Option<u64> {
        number(key.strip_prefix(self.prefix.as_slice())?)
    }

    /// Counts a hit whose value must be that of `id`.
    fn count_hit(&self, id: u64, value: &[u8], tally: &mut Tally) {
        tally.hits += 1;
        if self.checked && !self.values.check(id, value) {
            let wanted = self.values.length(id);
            tally.wrong(|| {
                let key = String::from_utf8_lossy(&self.prefix);
                format!("key {key}{id}: a value of {} bytes that is not its own of {wanted}", value.len())
            });
        }
    }
}

/// One line of the input, without its end, and the length with it.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr(b'\n', input)?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// The value behind a line that tells its length in the word `digits`, and where it ends with its own end of line.
///
/// # Errors
/// What the input is instead.
fn value<'a>(input: &'a [u8], head: (&[u8], usize), digits: &[u8]) -> Result<(&'a [u8], usize), Answer> {
    let (line, start) = head;
    let Some(length) = length(digits) else { return Err(unexpected(line)) };
    let end = start + length;
    match input.get(end..end + 2) {
        Some(b"\r\n") => Ok((&input[start..end], end + 2)),
        Some(_) => {
            Err(Answer::Broken(format!("a value of {length} bytes is not followed by an end of line")))
        }
        None => Err(Answer::Incomplete),
    }
}

/// An answer to a store: `good`, or an error.
fn read_stored(good: &[u8], input: &[u8], tally: &mut Tally) -> Answer {
    let Some((line, used)) = line(input) else { return Answer::Incomplete };
    if line.starts_with(good) {
        tally.sets += 1;
    } else {
        tally.error(line);
    }
    Answer::Whole(used)
}

/// A decimal number and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// A length that a server announced; one above what we would ever store breaks the connection.
fn length(digits: &[u8]) -> Option<usize> {
    let length = usize::try_from(number(digits)?).ok()?;
    (length <= crate::limits::VALUE_BYTES).then_some(length)
}

/// What to say of a line that has no place where it stands.
fn unexpected(line: &[u8]) -> Answer {
    let shown = &line[..line.len().min(80)];
    Answer::Broken(format!("the server answered '{}', which has no meaning here", shown.escape_ascii()))
}

#[cfg(test)]
mod tests;
