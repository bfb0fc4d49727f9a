//! Answers to meta commands.

use super::{Answer, Answers, Said, by_silence, number, refusal, shown};
use crate::op::{Op, What};

impl<'a> Answers<'a> {
    /// The answer to a meta command.
    pub(super) fn meta(&mut self, op: &Op, key: &[u8]) -> Result<Answer<'a>, String> {
        if op.wire.quiet && !self.is_next(op) {
            return Ok(by_silence(op));
        }
        let line = self.line()?;
        let wrong = || format!("{} is no answer to it", shown(line));
        if is_refusal(line) {
            return refusal(op, line).map(Answer::bare).ok_or_else(wrong);
        }
        let mut words = line[..line.len() - 2].split(|&byte| byte == b' ');
        let status = words.next().unwrap_or_default();
        let said = match (&op.what, status) {
            (What::Get(_), b"VA" | b"HD")
            | (What::Store(_) | What::Delete { .. }, b"HD")
            | (What::Count(_), b"VA" | b"HD") => Said::Done,
            (What::Get(_), b"EN") | (What::Store(_) | What::Delete { .. } | What::Count(_), b"NF") => {
                Said::NotFound
            }
            (What::Store(_), b"NS") => Said::NotStored,
            (What::Store(_) | What::Delete { .. }, b"EX") => Said::Exists,
            _ => return Err(wrong()),
        };
        let mut answer = Answer::bare(said);
        let len = if status == b"VA" { words.next().and_then(number) } else { None };
        let mut has_opaque = false;
        for word in words {
            let (letter, rest) = word.split_first().ok_or_else(wrong)?;
            match letter {
                b'f' => answer.flags = number(rest).and_then(|flags| u32::try_from(flags).ok()),
                // Of an item that is gone already no CAS value is told.
                b'c' if rest == b"0" && !matches!(op.what, What::Get(_)) => {}
                b'c' => answer.cas = number(rest),
                b's' => answer.len = number(rest).and_then(|len| usize::try_from(len).ok()),
                b't' if rest == b"-1" => answer.left_s = Some(-1),
                b't' => answer.left_s = number(rest).and_then(|left_s| i64::try_from(left_s).ok()),
                b'k' if rest == key => {}
                b'O' if number(rest) == Some(u64::from(op.wire.opaque)) => has_opaque = true,
                _ => return Err(wrong()),
            }
        }
        if !has_opaque {
            return Err(wrong());
        }
        if status == b"VA" {
            let len = len.and_then(|len| usize::try_from(len).ok()).ok_or_else(wrong)?;
            let value = self.block(len)?;
            match &op.what {
                What::Count(_) => answer.number = Some(number(value).ok_or_else(wrong)?),
                _ => answer.value = Some(value),
            }
        }
        Ok(answer)
    }

    /// Whether the next answer is that of this request. A refusal names none, so that whoever asks quietly asks for
    /// something that cannot be refused next.
    fn is_next(&self, op: &Op) -> bool {
        let line = self.rest.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let opaque = format!("O{}", op.wire.opaque);
        is_refusal(line) || line.split(|&byte| byte == b' ').any(|word| word == opaque.as_bytes())
    }
}

fn is_refusal(line: &[u8]) -> bool {
    line.starts_with(b"SERVER_ERROR") || line.starts_with(b"CLIENT_ERROR")
}
