//! Look-ups.

use super::{Context, Model, Wrong};
use crate::answer::{Answer, Said, shown};
use crate::op::Get;

impl Model {
    pub(super) fn get(&mut self, get: Get, answer: &Answer<'_>, context: &Context<'_>) -> Result<(), Wrong> {
        match answer.said {
            Said::NotFound => self.absent(get.key, context),
            Said::Done => {
                self.hit(get, answer, context)?;
                if let Some(exptime) = get.exptime {
                    self.set_expiry(get.key, exptime, context);
                }
                Ok(())
            }
            said => Err(format!("{said:?} in answer to a look-up of key {}", get.key)),
        }
    }

    fn hit(&mut self, get: Get, answer: &Answer<'_>, context: &Context<'_>) -> Result<(), Wrong> {
        self.present(get.key, context)?;
        if get.tells_value != answer.value.is_some() {
            return Err(format!("key {}: the value is to be told: {}", get.key, get.tells_value));
        }
        let Some(item) = self.item(get.key, context) else { return Ok(()) };
        if let Some(value) = answer.value.filter(|&value| *item.value != *value) {
            let (due, got) = (shown(&item.value), shown(value));
            let lens = (item.value.len(), value.len());
            return Err(format!("key {}: the value is {got}, {due} was due (bytes: {lens:?})", get.key));
        }
        let flags = answer.flags.unwrap_or(item.flags);
        if item.flags != flags {
            return Err(format!("key {}: flags {flags}, {} were due", get.key, item.flags));
        }
        let len = answer.len.unwrap_or(item.value.len());
        if item.value.len() != len {
            return Err(format!("key {}: {len} bytes, {} were due", get.key, item.value.len()));
        }
        let expiry_s = get.exptime.map_or(item.expiry_s, |exptime| context.moment.expiry_s(exptime));
        let due_s = context.moment.left_s(expiry_s);
        if answer.left_s.is_some_and(|left_s| left_s != due_s) {
            return Err(format!("key {}: {:?} s to live, {due_s} were due", get.key, answer.left_s));
        }
        let Some(cas) = answer.cas else { return Ok(()) };
        item.told_cas(cas)?;
        self.told.push((get.key, cas));
        Ok(())
    }
}
