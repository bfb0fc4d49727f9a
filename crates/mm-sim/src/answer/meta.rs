//! Answers to meta commands.

use mm_proto::memcached::base64;

use super::{Answer, Answers, Said, Win, by_silence, number, refusal, shown};
use crate::op::{Op, What};

/// The words of an answer's line.
type Words<'a> = std::iter::Peekable<std::slice::Split<'a, u8, fn(&u8) -> bool>>;

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
        let is_space: fn(&u8) -> bool = |&byte| byte == b' ';
        let mut words = line[..line.len() - 2].split(is_space).peekable();
        let status = words.next().unwrap_or_default();
        let mut answer = Answer::bare(said(&op.what, status).ok_or_else(wrong)?);
        let len = if status == b"VA" { words.next().and_then(number) } else { None };
        let is_whole = answer.said == Said::Done || matches!(op.what, What::Store(_));
        // Of what is not there, or is not as it was to be, only the request itself is repeated.
        for letter in op.wire.tells.letters().filter(|letter| is_whole || matches!(letter, b'O' | b'k')) {
            read_flag((letter, &mut words), (op, key), &mut answer).ok_or_else(wrong)?;
        }
        let is_of_item = matches!((&op.what, answer.said), (What::Get(_), Said::Done));
        if is_of_item {
            read_state(&mut words, &mut answer);
        }
        let is_as_asked = answer.encoded.is_none_or(|encoded| is_of_item || encoded == op.wire.encoded);
        if words.next().is_some() || !is_as_asked {
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

/// What a status says.
fn said(what: &What, status: &[u8]) -> Option<Said> {
    Some(match (what, status) {
        (What::Get(_) | What::Count(_), b"VA" | b"HD") | (What::Store(_) | What::Delete(_), b"HD") => {
            Said::Done
        }
        (What::Get(_), b"EN") | (What::Store(_) | What::Delete(_) | What::Count(_), b"NF") => Said::NotFound,
        (What::Store(_), b"NS") => Said::NotStored,
        (What::Store(_) | What::Delete(_) | What::Count(_), b"EX") => Said::Exists,
        _ => return None,
    })
}

/// Reads what a flag is to tell, which must come next. `None` where that is not so.
fn read_flag(
    (letter, words): (u8, &mut Words<'_>),
    (op, key): (&Op, &[u8]),
    answer: &mut Answer<'_>,
) -> Option<()> {
    let rest = words.next()?.strip_prefix(&[letter])?;
    match letter {
        b'f' => answer.flags = Some(u32::try_from(number(rest)?).ok()?),
        // Of what was not stored there is no CAS value to tell, and what was may be gone already.
        b'c' if rest == b"0" && !matches!(op.what, What::Get(_)) => {}
        b'c' => answer.cas = Some(number(rest)?),
        b's' => answer.len = Some(usize::try_from(number(rest)?).ok()?),
        b't' if rest == b"-1" => answer.left_s = Some(-1),
        b't' => answer.left_s = Some(i64::try_from(number(rest)?).ok()?),
        b'h' => answer.fetched = Some(number(rest).filter(|&fetched| fetched <= 1)? == 1),
        b'l' => answer.idle_s = Some(number(rest)?),
        b'O' => return (number(rest)? == u64::from(op.wire.opaque)).then_some(()),
        b'k' => {
            let encoded = words.next_if(|&word| word == b"b").is_some();
            answer.encoded = Some(encoded);
            let is_it = if encoded { rest == self::encoded(key) } else { rest == key };
            return is_it.then_some(());
        }
        _ => return None,
    }
    Some(())
}

/// Reads what is told of an item's being out of date.
fn read_state(words: &mut Words<'_>, answer: &mut Answer<'_>) {
    if words.next_if(|&word| word == b"Z").is_some() {
        answer.win = Win::Elsewhere;
    }
    answer.stale = words.next_if(|&word| word == b"X").is_some();
    if answer.win == Win::None && words.next_if(|&word| word == b"W").is_some() {
        answer.win = Win::Here;
    }
}

/// A key in base64.
pub(crate) fn encoded(key: &[u8]) -> Vec<u8> {
    let mut room = [0; base64::ENCODED_MAX_BYTES];
    let len = base64::encode(key, &mut room);
    room[..len].to_vec()
}

fn is_refusal(line: &[u8]) -> bool {
    line.starts_with(b"SERVER_ERROR") || line.starts_with(b"CLIENT_ERROR")
}
