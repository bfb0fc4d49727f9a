//! delete, incr, decr, touch.

use mm_proto::memcached::lines;

use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answers, shown};
use crate::op::KeyId;

impl Model {
    pub(super) fn delete(
        &mut self,
        key: KeyId,
        noreply: bool,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        if !noreply {
            match answers.line()? {
                lines::DELETED => self.present(key, context)?,
                lines::NOT_FOUND => self.absent(key, context)?,
                line => return Err(format!("{} in answer to delete of key {key}", shown(line))),
            }
        }
        self.set(key, Held::Absent, context);
        Ok(())
    }

    pub(super) fn arithmetic(
        &mut self,
        (key, delta, decrement): (KeyId, u64, bool),
        noreply: bool,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let line = if noreply { None } else { Some(answers.line()?) };
        let is_choice = self.may_be_lost(key, context) || matches!(self.held(key, context), Held::Unknown);
        match line {
            Some(lines::NOT_FOUND) => return self.absent(key, context),
            Some(lines::NO_MEMORY) if self.may_be_lost(key, context) => return Ok(()),
            Some(_) => self.present(key, context)?,
            None if is_choice || context.losses.1 > context.losses.0 => {
                self.set(key, Held::Unknown, context);
                return Ok(());
            }
            None => {}
        }
        let Some(item) = self.item(key, context) else { return self.count_unknown(key, line, context) };
        let due = number(&item.value).map(|number| match decrement {
            true => number.saturating_sub(delta),
            false => number.wrapping_add(delta),
        });
        let text = due.map(|due| due.to_string());
        let due_line =
            text.as_ref().map_or_else(|| lines::NON_NUMERIC.to_vec(), |text| format!("{text}\r\n").into());
        if line.is_some_and(|line| line != due_line) {
            let (got, due) = (shown(line.unwrap_or_default()), shown(&due_line));
            return Err(format!("key {key}: {got} in answer to incr or decr, {due} was due"));
        }
        if let Some(text) = text {
            let (value, cas_above) = (text.into_bytes().into(), item.cas_floor());
            let changed = Item { value, cas: None, cas_above, ..item.clone() };
            self.set(key, Held::Present(changed), context);
        }
        Ok(())
    }

    /// A number that nothing was known of, or that there is none.
    fn count_unknown(&mut self, key: KeyId, line: Option<&[u8]>, context: &Context<'_>) -> Result<(), Wrong> {
        match line {
            None | Some(lines::NON_NUMERIC) => Ok(()),
            Some(line) if number(&line[..line.len() - 2]).is_some() => {
                self.set(key, Held::Unknown, context);
                Ok(())
            }
            Some(line) => Err(format!("{} in answer to incr or decr of key {key}", shown(line))),
        }
    }

    pub(super) fn touch(
        &mut self,
        (key, exptime): (KeyId, i32),
        noreply: bool,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        if !noreply {
            match answers.line()? {
                lines::TOUCHED => self.present(key, context)?,
                lines::NOT_FOUND => return self.absent(key, context),
                lines::NO_MEMORY if self.may_be_lost(key, context) => return Ok(()),
                line => return Err(format!("{} in answer to touch of key {key}", shown(line))),
            }
        }
        self.set_expiry(key, exptime, context);
        Ok(())
    }

    /// Gives the item of a key another time to live, if it is there.
    pub(super) fn set_expiry(&mut self, key: KeyId, exptime: i32, context: &Context<'_>) {
        if context.losses.1 > context.losses.0 && self.item(key, context).is_some() {
            // There may have been no memory for it: then the old time holds.
            return self.set(key, Held::Unknown, context);
        }
        if let Some(item) = self.item(key, context) {
            item.expiry_s = context.moment.expiry_s(exptime);
        }
    }
}

/// The number that a value stands for.
fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}
