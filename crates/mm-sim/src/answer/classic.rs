//! Answers to classic commands.

use mm_proto::memcached::lines;

use super::{Answer, Answers, Said, number, refusal, shown};
use crate::op::{Op, What};

impl<'a> Answers<'a> {
    /// The answer to a classic command.
    pub(super) fn classic(&mut self, op: &Op, key: &[u8]) -> Result<Answer<'a>, String> {
        if let What::Get(get) = &op.what {
            return self.value(key, get.tells_cas);
        }
        if op.wire.quiet {
            return Ok(Answer::bare(Said::Nothing));
        }
        let line = self.line()?;
        let said = match (&op.what, line) {
            (What::Store(_), lines::STORED)
            | (What::Delete(_), lines::DELETED)
            | (What::Touch { .. }, lines::TOUCHED)
            | (What::Flush { .. }, lines::OK) => Said::Done,
            (What::Store(_), lines::NOT_STORED) => Said::NotStored,
            (What::Store(_), lines::EXISTS) => Said::Exists,
            (What::Store(_) | What::Delete(_) | What::Count(_) | What::Touch { .. }, lines::NOT_FOUND) => {
                Said::NotFound
            }
            (What::Count(_), _) if number(&line[..line.len() - 2]).is_some() => {
                let number = number(&line[..line.len() - 2]);
                return Ok(Answer { number, ..Answer::bare(Said::Done) });
            }
            _ => refusal(op, line).ok_or_else(|| format!("{} is no answer to it", shown(line)))?,
        };
        Ok(Answer::bare(said))
    }

    /// The value of `key`, if that is next.
    fn value(&mut self, key: &[u8], tells_cas: bool) -> Result<Answer<'a>, String> {
        let rest = self.rest.strip_prefix(b"VALUE ").and_then(|rest| rest.strip_prefix(key));
        if !rest.is_some_and(|rest| rest.starts_with(b" ")) {
            return Ok(Answer::bare(Said::NotFound));
        }
        let line = self.line()?;
        let wrong = || format!("not a value of {}: {}", shown(key), shown(line));
        let rest = &line[b"VALUE  ".len() + key.len()..];
        let mut words = rest[..rest.len() - 2].split(|&byte| byte == b' ').map(number);
        let mut next = || words.next().flatten();
        let (flags, len) = next().zip(next()).ok_or_else(wrong)?;
        let cas = next();
        let flags = u32::try_from(flags).map_err(|_large| wrong())?;
        let len = usize::try_from(len).map_err(|_large| wrong())?;
        if cas.is_some() != tells_cas || words.next().is_some() {
            return Err(wrong());
        }
        let value = Some(self.block(len)?);
        Ok(Answer { value, flags: Some(flags), cas, ..Answer::bare(Said::Done) })
    }
}
