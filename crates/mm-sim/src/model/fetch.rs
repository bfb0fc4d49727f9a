//! Look-ups.

use std::rc::Rc;

use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answer, Said, Win, shown};
use crate::op::{Dialect, Get, Wire};

/// A look-up and how it was put.
type Asked = (Get, Wire);

impl Model {
    pub(super) fn get(
        &mut self,
        (get, wire): Asked,
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        match answer.said {
            Said::NotFound => {
                self.absent(get.key, context)?;
                // One is made where there is none, if there is memory for it.
                get.meta.vivify.map_or(Ok(()), |_| self.lacks_memory(context.counted.0.refused, context))
            }
            Said::Done => {
                self.found((get, wire), answer, context).map_err(|wrong| format!("key {}: {wrong}", get.key))
            }
            said => Err(format!("{said:?} in answer to a look-up of key {}", get.key)),
        }
    }

    /// An item is shown: the one that there was, or one that has been made.
    fn found(&mut self, asked: Asked, answer: &Answer<'_>, context: &Context<'_>) -> Result<(), Wrong> {
        let get = asked.0;
        let seen = match self.held(get.key, context) {
            Held::Absent => None,
            Held::Present(item) => Some(seen(item, asked, answer, context)),
            Held::Unknown => {
                self.unknown += 1;
                return Ok(());
            }
        };
        let may_be_made = get.meta.vivify.is_some() && (seen.is_none() || self.may_be_lost(get.key, context));
        match (may_be_made.then(|| made(asked, answer, context)), seen) {
            // It may have been lost, and looks as one does that has been made.
            (Some(Ok(_)), Some(Ok(_))) => self.set(get.key, Held::Unknown, context),
            (Some(Ok(made)), _) => {
                self.absent(get.key, context)?;
                self.set(get.key, Held::Present(made), context);
            }
            (_, Some(seen)) => {
                self.present(get.key, context)?;
                self.entries[get.key].held = Held::Present(seen?);
                if let Some(exptime) = get.exptime {
                    self.set_expiry(get.key, exptime, context);
                }
            }
            (Some(Err(wrong)), None) => return Err(wrong),
            (None, None) => return self.present(get.key, context),
        }
        self.told.extend(answer.cas.map(|cas| (get.key, cas)));
        Ok(())
    }
}

/// What an item is after it has been shown, other than when it expires.
fn seen(item: &Item, (get, wire): Asked, answer: &Answer<'_>, context: &Context<'_>) -> Result<Item, Wrong> {
    let mut item = item.clone();
    match (answer.value, get.meta.known_cas.filter(|_| get.tells_value)) {
        (Some(_), Some(known)) if item.cas == Some(known) => {
            return Err(format!("the value is told of an item with the CAS {known}"));
        }
        (None, Some(known)) => item.told_cas(known)?,
        (value, _) if get.tells_value != value.is_some() => {
            return Err(format!("the value is to be told: {}", get.tells_value));
        }
        _ => {}
    }
    if let Some(value) = answer.value.filter(|&value| *item.value != *value) {
        let (due, got) = (shown(&item.value), shown(value));
        let lens = (item.value.len(), value.len());
        return Err(format!("the value is {got}, {due} was due (bytes: {lens:?})"));
    }
    due("flags", answer.flags, item.flags)?;
    due("a value's length", answer.len, item.value.len())?;
    due("fetched", answer.fetched.filter(|_| item.fetched.is_some()), item.fetched.unwrap_or_default())?;
    due("key in base64", answer.encoded, item.is_encoded)?;
    due("seconds to live", answer.left_s, told_left_s(get, item.expiry_s, None, context))?;
    item.idles(answer.idle_s, context)?;
    due("out of date", Some(answer.stale), item.stale && wire.dialect == Dialect::Meta)?;
    let win = if wire.dialect == Dialect::Meta { win(&item, get, context) } else { Win::None };
    due("who fetches a new value", Some(answer.win), win)?;
    if let Some(cas) = answer.cas {
        item.told_cas(cas)?;
    }
    item.win_sent |= win == Win::Here;
    if !get.meta.is_peek {
        item.used(context);
    }
    Ok(item)
}

/// Who is to fetch a new value: whoever first sees that an item is out of date or will expire soon.
fn win(item: &Item, get: Get, context: &Context<'_>) -> Win {
    let touched = get.exptime.filter(|_| get.meta.order.has_before(b'T', b'R'));
    let expiry_s = touched.map_or(item.expiry_s, |exptime| context.moment.expiry_s(exptime));
    let is_soon = |least| expiry_s != 0 && expiry_s < context.moment.expiry_s(least);
    match () {
        () if item.win_sent => Win::Elsewhere,
        () if item.stale || get.meta.recache.is_some_and(is_soon) => Win::Here,
        () => Win::None,
    }
}

/// The empty item that has been made because there was none.
fn made((get, wire): Asked, answer: &Answer<'_>, context: &Context<'_>) -> Result<Item, Wrong> {
    due("a value", Some(answer.value), get.tells_value.then_some(&b""[..]))?;
    due("flags", answer.flags, 0)?;
    due("a value's length", answer.len, 0)?;
    due("fetched", answer.fetched, false)?;
    due("idle seconds", answer.idle_s, 0)?;
    due("key in base64", answer.encoded, wire.encoded)?;
    due("out of date", Some(answer.stale), false)?;
    due("who fetches a new value", Some(answer.win), Win::Here)?;
    due("seconds to live", answer.left_s, told_left_s(get, 0, get.meta.vivify, context))?;
    // Of the two times that may be given the last one holds.
    let (order, vivify) = (get.meta.order, get.meta.vivify.unwrap_or_default());
    let exptime = get.exptime.filter(|_| order.has_before(b'N', b'T')).unwrap_or(vivify);
    let mut item = Item::new((Rc::from([]), 0), context.moment.expiry_s(exptime), context);
    (item.win_sent, item.is_encoded, item.cas) = (true, wire.encoded, get.meta.new_cas);
    if let Some(cas) = answer.cas {
        item.told_cas(cas)?;
    }
    item.fetched = Some(!get.meta.is_peek);
    Ok(item)
}

/// The time left to live that is told of an item: what stands before that in the request has been done.
fn told_left_s(get: Get, before_s: u32, vivify: Option<i32>, context: &Context<'_>) -> i64 {
    context.moment.left_s(get.meta.order.told_expiry_s(before_s, |letter| {
        let exptime = match letter {
            b'T' => get.exptime,
            b'N' => vivify,
            _ => None,
        };
        exptime.map(|exptime| context.moment.expiry_s(exptime))
    }))
}

/// What is told, if it is, has to be this.
pub(super) fn due<T: PartialEq + std::fmt::Debug + Copy>(
    what: &str,
    told: Option<T>,
    due: T,
) -> Result<(), Wrong> {
    match told {
        Some(told) if told != due => Err(format!("{what}: {told:?} is told, {due:?} was due")),
        _ => Ok(()),
    }
}
