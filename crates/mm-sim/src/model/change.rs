//! delete, counting, touch.

use std::rc::Rc;

use super::fetch::due;
use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answer, Said};
use crate::op::{Count, Delete, KeyId, Wire};

impl Model {
    pub(super) fn delete(
        &mut self,
        (delete, wire): (&Delete, Wire),
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let (key, cas) = (delete.key, delete.cas);
        match answer.said {
            Said::Nothing => {}
            Said::Done => {
                self.present(key, context)?;
                if let Some(item) = self.item(key, context).filter(|_| cas != 0) {
                    item.told_cas(cas).map_err(|wrong| format!("it was let through: {wrong}"))?;
                }
            }
            Said::NotFound => self.absent(key, context)?,
            Said::Exists if cas != 0 => return self.exists((key, cas), context),
            Said::NoMemory if delete.marks || delete.empties => {
                return self.lacks_memory(context.counted.0.refused, context);
            }
            said => return Err(format!("{said:?} in answer to delete of key {key}")),
        }
        let old = std::mem::replace(self.held(key, context), Held::Absent);
        let held = match old {
            _ if answer.said != Said::Done => Held::Absent,
            Held::Present(item) if delete.marks || delete.empties => {
                Held::Present(item.marked_or_emptied((delete, wire), context))
            }
            Held::Unknown if delete.marks || delete.empties => Held::Unknown,
            _ => Held::Absent,
        };
        self.set(key, held, context);
        Ok(())
    }

    pub(super) fn count(
        &mut self,
        (count, wire): (&Count, Wire),
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let key = count.key;
        let may_be_lost = self.may_be_lost(key, context);
        match answer.said {
            Said::NotFound if count.creates.is_none() => return self.absent(key, context),
            Said::NoMemory => return self.lacks_memory(context.counted.0.refused, context),
            Said::Exists if count.cas != 0 => return self.exists((key, count.cas), context),
            Said::Nothing if may_be_lost || Self::is_refused(context) => {
                self.set(key, Held::Unknown, context);
                return Ok(());
            }
            Said::Nothing | Said::Done | Said::NotANumber => {}
            said => return Err(format!("{said:?} in answer to the counting of key {key}")),
        }
        match self.held(key, context).clone() {
            Held::Unknown => {
                self.unknown += 1;
                self.set(key, Held::Unknown, context);
                Ok(())
            }
            Held::Absent => self.create_number((count, wire), answer, context),
            Held::Present(item) => self.count_item((count, wire), &item, answer, context),
        }
    }

    /// There is no such item.
    fn create_number(
        &mut self,
        (count, wire): (&Count, Wire),
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let Some((initial, exptime)) = count.creates else {
            return if answer.said == Said::Nothing { Ok(()) } else { self.present(count.key, context) };
        };
        if answer.said != Said::Done || answer.number.is_some_and(|number| number != initial) {
            return Err(format!("{answer:?} where {initial} was to be stored"));
        }
        due("seconds to live", answer.left_s, told_left_s(count, 0, Some(exptime), context))?;
        // Of the two times that may be given the last one holds.
        let exptime = count.exptime.filter(|_| count.order.has_before(b'N', b'T')).unwrap_or(exptime);
        let value = initial.to_string().into_bytes().into();
        let mut made = Item::new((value, 0), context.moment.expiry_s(exptime), context);
        (made.is_encoded, made.cas) = (wire.encoded, count.new_cas);
        if let Some(cas) = answer.cas {
            made.told_cas(cas)?;
            self.told.push((count.key, cas));
        }
        self.set(count.key, Held::Present(made), context);
        Ok(())
    }

    /// There is an item, unless it has been lost.
    fn count_item(
        &mut self,
        (count, wire): (&Count, Wire),
        item: &Item,
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let (key, may_be_lost) = (count.key, self.may_be_lost(count.key, context));
        let due = number(&item.value).map(|number| match count.decrement {
            true => number.saturating_sub(count.delta),
            false => number.wrapping_add(count.delta),
        });
        let may_be_new = may_be_lost && count.creates.is_some();
        let is_initial = count.creates.is_some_and(|(initial, _)| answer.number == Some(initial));
        match (answer.said, due) {
            (Said::NotANumber | Said::Nothing, None) => return Ok(()),
            (Said::Done, _)
                if may_be_new && (answer.number.is_none() || (is_initial && answer.number == due)) =>
            {
                self.set(key, Held::Unknown, context);
                return Ok(());
            }
            (Said::Done, _) if may_be_new && is_initial => {
                self.absent(key, context)?;
                return self.create_number((count, wire), answer, context);
            }
            (Said::Nothing | Said::Done, Some(due)) if answer.number.is_none_or(|number| number == due) => {}
            _ => return Err(format!("{answer:?} where the number was to become {due:?}")),
        }
        let text = due.map(|due| due.to_string()).unwrap_or_default();
        let mut changed =
            Item { value: text.into_bytes().into(), used_s: context.moment.now_s, ..item.clone() };
        if count.cas != 0 {
            changed.told_cas(count.cas).map_err(|wrong| format!("it was let through: {wrong}"))?;
        }
        super::fetch::due(
            "seconds to live",
            answer.left_s,
            told_left_s(count, item.expiry_s, None, context),
        )?;
        changed.expiry_s = count.exptime.map_or(item.expiry_s, |exptime| context.moment.expiry_s(exptime));
        changed.change_cas(count.new_cas);
        if let Some(cas) = answer.cas {
            changed.told_cas(cas)?;
            self.told.push((key, cas));
        }
        self.set(key, Held::Present(changed), context);
        Ok(())
    }

    pub(super) fn touch(
        &mut self,
        (key, exptime): (KeyId, i32),
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        match answer.said {
            Said::Nothing => {}
            Said::Done => self.present(key, context)?,
            Said::NotFound => return self.absent(key, context),
            Said::NoMemory => return self.lacks_memory(context.counted.0.refused, context),
            said => return Err(format!("{said:?} in answer to touch of key {key}")),
        }
        if let Some(item) = self.item(key, context) {
            item.used(context);
        }
        self.set_expiry(key, exptime, context);
        Ok(())
    }

    /// Gives the item of a key another time to live, if it is there.
    pub(super) fn set_expiry(&mut self, key: KeyId, exptime: i32, context: &Context<'_>) {
        if Self::is_refused(context) && self.item(key, context).is_some() {
            // There may have been no memory for it: then the old time holds.
            return self.set(key, Held::Unknown, context);
        }
        // It may be written anew for it.
        self.changes += 1;
        self.entries[key].changed = self.changes;
        if let Some(item) = self.item(key, context) {
            item.expiry_s = context.moment.expiry_s(exptime);
        }
    }
}

impl Item {
    /// What becomes of it when it is marked as out of date, or its value is taken away, or both.
    fn marked_or_emptied(mut self, (delete, wire): (&Delete, Wire), context: &Context<'_>) -> Self {
        let expiry_s = delete.exptime.map(|exptime| context.moment.expiry_s(exptime));
        self.change_cas(delete.new_cas);
        if delete.empties {
            let (cas, cas_above) = (self.cas, self.cas_above);
            self = Self::new((Rc::from([]), delete.flags), expiry_s.unwrap_or(0), context);
            (self.cas, self.cas_above, self.is_encoded) = (cas, cas_above, wire.encoded);
        }
        if delete.marks {
            (self.stale, self.win_sent) = (true, false);
            self.expiry_s = expiry_s.unwrap_or(self.expiry_s);
        }
        self
    }
}

/// The time left to live that is told of a number: what stands before that in the request has been done.
fn told_left_s(count: &Count, before_s: u32, created: Option<i32>, context: &Context<'_>) -> i64 {
    context.moment.left_s(count.order.told_expiry_s(before_s, |letter| {
        let exptime = match letter {
            b'T' => count.exptime,
            b'N' => created,
            _ => None,
        };
        exptime.map(|exptime| context.moment.expiry_s(exptime))
    }))
}

/// The number that a value stands for.
fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}
