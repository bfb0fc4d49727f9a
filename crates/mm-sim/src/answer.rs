//! Reading what a server has answered.

mod binary;
mod classic;
mod meta;

pub(crate) use meta::encoded;

use mm_proto::memcached::lines;

use crate::op::{Dialect, Op, What};

/// Answers that have not been looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers<'a> {
    rest: &'a [u8],
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing was to be answered.
    Nothing,
    Done,
    NotFound,
    NotStored,
    Exists,
    NotANumber,
    TooLarge,
    BadEnd,
    NoMemory,
}

/// An answer, and what it tells of the item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) said: Said,
    pub(crate) value: Option<&'a [u8]>,
    /// The number that was counted to.
    pub(crate) number: Option<u64>,
    pub(crate) flags: Option<u32>,
    pub(crate) cas: Option<u64>,
    pub(crate) len: Option<usize>,
    /// Seconds left to live; -1 for an item that does not expire.
    pub(crate) left_s: Option<i64>,
    /// Whether the item was read since it was stored.
    pub(crate) fetched: Option<bool>,
    /// Seconds since it was last used.
    pub(crate) idle_s: Option<u64>,
    /// Whether the key was told in base64.
    pub(crate) encoded: Option<bool>,
    /// The item is out of date.
    pub(crate) stale: bool,
    pub(crate) win: Win,
}

/// Who is to fetch a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Win {
    None,
    /// Who is answered.
    Here,
    /// Another one.
    Elsewhere,
}

impl Answer<'_> {
    /// An answer that tells nothing more.
    pub(crate) const fn bare(said: Said) -> Self {
        Self {
            said,
            value: None,
            number: None,
            flags: None,
            cas: None,
            len: None,
            left_s: None,
            fetched: None,
            idle_s: None,
            encoded: None,
            stale: false,
            win: Win::None,
        }
    }
}

impl<'a> Answers<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The beginning of what is left, to be shown.
    pub(crate) fn shown(&self) -> String {
        let part = &self.rest[..self.rest.len().min(80)];
        format!("{:?} ({} bytes)", String::from_utf8_lossy(part), self.rest.len())
    }

    /// The next line, with its end.
    pub(crate) fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n");
        let end = end.ok_or_else(|| format!("no whole line in {}", self.shown()))?;
        let (line, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        Ok(line)
    }

    /// Takes `line` if it is the next.
    pub(crate) fn take(&mut self, line: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(line);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes `line`, which must be the next.
    pub(crate) fn expect(&mut self, line: &[u8]) -> Result<(), String> {
        if self.take(line) {
            return Ok(());
        }
        Err(format!("{:?} was due, there is {}", String::from_utf8_lossy(line), self.shown()))
    }

    /// The next `len` bytes and a line's end.
    pub(crate) fn block(&mut self, len: usize) -> Result<&'a [u8], String> {
        if self.rest.len() < len + 2 || &self.rest[len..len + 2] != b"\r\n" {
            return Err(format!("a block of {len} bytes was due, there is {}", self.shown()));
        }
        let (block, rest) = self.rest.split_at(len);
        self.rest = &rest[2..];
        Ok(block)
    }

    /// Bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub(crate) fn take_all(&mut self) {
        self.rest = &[];
    }

    /// The answer to a request about a key.
    pub(crate) fn read(&mut self, op: &Op, key: &[u8]) -> Result<Answer<'a>, String> {
        match op.wire.dialect {
            Dialect::Classic => self.classic(op, key),
            Dialect::Meta => self.meta(op, key),
            Dialect::Binary => self.packet(op, key),
        }
    }

    /// Lines up to the last, which is `end`. False where they break off before that: the rest comes later.
    pub(crate) fn lines_to_end(
        &mut self,
        end: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        while !self.is_empty() {
            // Lines of a dump end with a line feed only.
            let at = self.rest.iter().position(|&byte| byte == b'\n');
            let at = at.ok_or_else(|| format!("no whole line in {}", self.shown()))?;
            let (line, rest) = self.rest.split_at(at + 1);
            self.rest = rest;
            if line == end {
                return Ok(true);
            }
            each(line)?;
        }
        Ok(false)
    }
}

/// What a request was answered by silence, where that says something.
fn by_silence(op: &Op) -> Answer<'static> {
    Answer::bare(if matches!(op.what, What::Get(_)) { Said::NotFound } else { Said::Done })
}

/// What a line says that refuses a request of this kind.
fn refusal(op: &Op, line: &[u8]) -> Option<Said> {
    Some(match (&op.what, line) {
        (What::Store(_), lines::NO_MEMORY_STORING | lines::NO_MEMORY_READING)
        | (What::Count(_), lines::NO_MEMORY | lines::NO_MEMORY_VIVIFY)
        | (What::Touch { .. } | What::Delete(_), lines::NO_MEMORY) => Said::NoMemory,
        (What::Store(_), lines::TOO_LARGE) => Said::TooLarge,
        (What::Store(_), lines::BAD_DATA_CHUNK) => Said::BadEnd,
        (What::Count(_), lines::NON_NUMERIC) => Said::NotANumber,
        _ => return None,
    })
}

/// A number as it stands in answers: digits, and no more of them than it needs.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

/// Bytes as they are shown in a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
}
