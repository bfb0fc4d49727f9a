//! Reading what a server has answered.

use mm_proto::memcached::lines;

/// Answers that have not been looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers<'a> {
    rest: &'a [u8],
}

/// A value as an answer gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) flags: u32,
    pub(crate) cas: Option<u64>,
    pub(crate) bytes: &'a [u8],
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

    /// The value of `key`, if that is next.
    pub(crate) fn value(&mut self, key: &[u8], tells_cas: bool) -> Result<Option<Value<'a>>, String> {
        let rest = self.rest.strip_prefix(b"VALUE ").and_then(|rest| rest.strip_prefix(key));
        if !rest.is_some_and(|rest| rest.starts_with(b" ")) {
            return Ok(None);
        }
        let line = self.line()?;
        let wrong = || format!("not a value of {}: {}", shown(key), shown(line));
        let rest = &line[b"VALUE  ".len() + key.len()..];
        let text = std::str::from_utf8(&rest[..rest.len() - 2]).map_err(|_invalid| wrong())?;
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (flags, len) = number().zip(number()).ok_or_else(wrong)?;
        let cas = number();
        let flags = u32::try_from(flags).map_err(|_large| wrong())?;
        let len = usize::try_from(len).map_err(|_large| wrong())?;
        if cas.is_some() != tells_cas || words.next().is_some() {
            return Err(wrong());
        }
        Ok(Some(Value { flags, cas, bytes: self.block(len)? }))
    }

    /// Lines up to `END`. False where they break off before that: the rest comes later.
    pub(crate) fn lines_to_end(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        while !self.is_empty() {
            // Lines of a dump end with a line feed only.
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            let end = end.ok_or_else(|| format!("no whole line in {}", self.shown()))?;
            let (line, rest) = self.rest.split_at(end + 1);
            self.rest = rest;
            if line == lines::END {
                return Ok(true);
            }
            each(line)?;
        }
        Ok(false)
    }
}

/// Bytes as they are shown in a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
}
