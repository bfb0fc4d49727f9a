//! get, gets, gat, gats.

use super::{Context, Model, Wrong};
use crate::answer::{Answers, Value, shown};
use crate::op::Get;

impl Model {
    pub(super) fn get(
        &mut self,
        get: Get,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        match answers.value(&context.keys[get.key], get.tells_cas)? {
            None => self.absent(get.key, context)?,
            Some(value) => {
                self.hit(get, &value, context)?;
                if let Some(exptime) = get.exptime {
                    self.set_expiry(get.key, exptime, context);
                }
            }
        }
        if get.last { answers.expect(b"END\r\n") } else { Ok(()) }
    }

    fn hit(&mut self, get: Get, value: &Value<'_>, context: &Context<'_>) -> Result<(), Wrong> {
        self.present(get.key, context)?;
        let Some(item) = self.item(get.key, context) else { return Ok(()) };
        if *item.value != *value.bytes {
            let (due, got) = (shown(&item.value), shown(value.bytes));
            let lens = (item.value.len(), value.bytes.len());
            return Err(format!("key {}: the value is {got}, {due} was due (bytes: {lens:?})", get.key));
        }
        if item.flags != value.flags {
            return Err(format!("key {}: flags {}, {} were due", get.key, value.flags, item.flags));
        }
        let Some(cas) = value.cas else { return Ok(()) };
        item.told_cas(cas)?;
        self.told.push((get.key, cas));
        Ok(())
    }
}
