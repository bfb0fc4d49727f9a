//! set, add, replace, append, prepend, cas.

use std::rc::Rc;

use mm_proto::memcached::StoreVerb;

use super::fetch::due;
use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answer, Answers, Said};
use crate::op::{Dialect, Flaw, KeyId, Op, Store, What, Wire};
use crate::requests::item_bytes;

impl Model {
    pub(super) fn store(
        &mut self,
        op: &Op,
        store: &Store,
        answer: &Answer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let key = store.key;
        if store.flaw == Flaw::TooLarge && removes_when_refused(op, store) {
            self.set(key, Held::Absent, context);
        }
        match (store.flaw, answer.said) {
            (_, Said::Nothing) => {
                self.store_silently(store, context);
                Ok(())
            }
            (Flaw::TooLarge, Said::TooLarge) | (Flaw::BadEnd, Said::BadEnd) => Ok(()),
            (_, Said::NoMemory) => self.refused(op, store, context),
            (Flaw::None, Said::Done) if self.is_to_outgrow(store, context) => {
                Err(format!("{:?} has made key {key} larger than an item may be", store.verb))
            }
            (Flaw::None, Said::Done) => {
                self.stored((store, op.wire), context)?;
                self.tell((store, answer), context)
            }
            (Flaw::None, Said::NotStored) if store.verb == StoreVerb::Add => self.present(key, context),
            (Flaw::None, Said::NotStored) if self.joined_fits(store, context) == Some(false) => Ok(()),
            (Flaw::None, Said::NotStored) if store.verb.joins() && self.is_unknown(key, context) => Ok(()),
            (Flaw::None, Said::NotStored) if store.verb.needs_item() && store.meta.vivify.is_none() => {
                self.absent(key, context)
            }
            (Flaw::None, Said::NotFound) if store.verb == StoreVerb::Cas => self.absent(key, context),
            (Flaw::None, Said::Exists) if store.meta.or_stale => self.is_older(store, context),
            (Flaw::None, Said::Exists) if store.verb == StoreVerb::Cas || store.cas != 0 => {
                self.exists((key, store.cas), context)
            }
            (_, said) => Err(format!("{said:?} in answer to {:?} of key {key}", store.verb)),
        }
    }

    /// What is told of what was stored. It may be gone again, or replaced, where the CAS 0 is told.
    fn tell(&mut self, (store, answer): (&Store, &Answer<'_>), context: &Context<'_>) -> Result<(), Wrong> {
        let Some(item) = self.item(store.key, context) else { return Ok(()) };
        due("a value's length", answer.len, item.value.len())?;
        if let Some(cas) = answer.cas.filter(|&cas| cas != 0) {
            item.told_cas(cas)?;
            self.told.push((store.key, cas));
        }
        Ok(())
    }

    /// Without an answer: what must have happened, or nothing certain where there is a choice.
    fn store_silently(&mut self, store: &Store, context: &Context<'_>) {
        if store.flaw != Flaw::None {
            return;
        }
        let is_set = store.verb == StoreVerb::Set;
        let is_unknown = self.is_unknown(store.key, context);
        let is_cas_open = |item: &mut Item| item.cas.is_none() && store.cas > item.cas_above;
        let is_cas_open =
            store.verb == StoreVerb::Cas && self.item(store.key, context).is_some_and(is_cas_open);
        let is_choice = is_unknown || is_cas_open || self.may_be_lost(store.key, context);
        if Self::is_refused(context) || (!is_set && is_choice) {
            return self.set(store.key, Held::Unknown, context);
        }
        let has_item = self.item(store.key, context).is_some();
        let stores = match store.verb {
            StoreVerb::Set => true,
            StoreVerb::Add => !has_item,
            StoreVerb::Cas => self.item(store.key, context).is_some_and(|item| item.cas == Some(store.cas)),
            StoreVerb::Replace => has_item,
            StoreVerb::Append | StoreVerb::Prepend => self.joined_fits(store, context) == Some(true),
        };
        if stores && self.stored((store, Wire::CLASSIC), context).is_err() {
            self.set(store.key, Held::Unknown, context);
        }
    }

    fn stored(&mut self, (store, wire): (&Store, Wire), context: &Context<'_>) -> Result<(), Wrong> {
        let key = store.key;
        let (has_item, may_be_lost) = (self.item(key, context).is_some(), self.may_be_lost(key, context));
        match store.verb {
            StoreVerb::Set => {}
            StoreVerb::Add => self.absent_or_unknown(key, context)?,
            _ if store.meta.vivify.is_none() => self.present(key, context)?,
            // It has been joined with what there was, or stored because that was lost.
            _ if has_item && may_be_lost => {
                self.set(key, Held::Unknown, context);
                return Ok(());
            }
            _ => {}
        }
        let compared = Some(store.cas).filter(|&cas| cas != 0 && store.verb != StoreVerb::Add);
        let held = match std::mem::replace(self.held(key, context), Held::Absent) {
            Held::Present(mut old) => {
                let over = compared.map_or(Ok(Over::Same), |cas| old.over(cas, store.meta.or_stale))?;
                // Where the old item may have been evicted, the new one need not follow it.
                let cas_above = if may_be_lost { 0 } else { old.cas_floor() };
                match over {
                    Over::Unknown => Held::Unknown,
                    over => {
                        Held::Present(Item { cas_above, ..made((store, wire), Some((&old, over)), context) })
                    }
                }
            }
            Held::Unknown if store.verb.joins() || store.meta.or_stale => Held::Unknown,
            Held::Unknown | Held::Absent => Held::Present(made((store, wire), None, context)),
        };
        self.set(key, held, context);
        Ok(())
    }

    fn is_unknown(&mut self, key: KeyId, context: &Context<'_>) -> bool {
        matches!(self.held(key, context), Held::Unknown)
    }

    /// Whether an item and a value that is joined with it are no larger than an item may be; `None` where there is
    /// nothing to join.
    fn joined_fits(&mut self, store: &Store, context: &Context<'_>) -> Option<bool> {
        let item = self.item(store.key, context).filter(|_| store.verb.joins())?;
        let len = item.value.len() + store.value.len();
        Some(item_bytes(context.keys[store.key].len(), item.flags, len) <= context.item_size_max)
    }

    /// Whether a value that is joined with that of the item for certain makes it larger than an item may be.
    fn is_to_outgrow(&mut self, store: &Store, context: &Context<'_>) -> bool {
        let may_be_made = store.meta.vivify.is_some() && self.may_be_lost(store.key, context);
        !may_be_made && self.joined_fits(store, context) == Some(false)
    }

    /// An add was carried out: there was no item, or it has been lost.
    fn absent_or_unknown(&mut self, key: KeyId, context: &Context<'_>) -> Result<(), Wrong> {
        match self.held(key, context) {
            Held::Unknown => Ok(()),
            Held::Absent | Held::Present(_) => self.absent(key, context),
        }
    }

    /// There was no memory while the data were on their way.
    pub(crate) fn refuse_early(
        &mut self,
        op: &mut Op,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let What::Store(store) = &op.what else {
            return Err(format!("nobody asked for {}", answers.shown()));
        };
        let answer = answers.read(op, &context.keys[store.key])?;
        if answer.said != Said::NoMemory {
            return Err(format!(
                "{:?} before the data of {:?} of key {}",
                answer.said, store.verb, store.key
            ));
        }
        self.refused(op, store, context)?;
        if let What::Store(store) = &mut op.what {
            store.flaw = Flaw::Refused;
        }
        Ok(())
    }

    /// There was no memory: the old value may be taken away, so that it is not taken for the new one.
    fn refused(&mut self, op: &Op, store: &Store, context: &Context<'_>) -> Result<(), Wrong> {
        if removes_when_refused(op, store) {
            self.set(store.key, Held::Unknown, context);
        }
        let refused = store.begun.map_or(context.counted.0.refused, |begun| begun.refused);
        self.lacks_memory(refused, context)
    }

    /// The item has a lower CAS value than a value that was to be stored over it, as one that is out of date at least.
    fn is_older(&mut self, store: &Store, context: &Context<'_>) -> Result<(), Wrong> {
        self.present(store.key, context)?;
        match self.item(store.key, context) {
            Some(item) if item.cas.unwrap_or(item.cas_above) >= store.cas => Err(format!(
                "key {} has no lower CAS than {}, and was refused: {item:?}",
                store.key, store.cas
            )),
            _ => Ok(()),
        }
    }

    /// The item has another CAS value than was wanted.
    pub(super) fn exists(&mut self, (key, cas): (KeyId, u64), context: &Context<'_>) -> Result<(), Wrong> {
        self.present(key, context)?;
        match self.item(key, context) {
            Some(item) if item.cas == Some(cas) => {
                Err(format!("key {key} has the CAS {cas} that was wanted, and was refused"))
            }
            _ => Ok(()),
        }
    }
}

/// What a value is stored over that was to have a certain CAS value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// An item with this value.
    Same,
    /// One with a greater value, so that it is out of date.
    Younger,
    /// One or the other.
    Unknown,
}

impl Item {
    /// What it is to a value that was let through over it.
    fn over(&mut self, cas: u64, or_stale: bool) -> Result<Over, Wrong> {
        match self.cas {
            Some(known) if or_stale && known > cas => Ok(Over::Younger),
            None if or_stale && self.cas_above >= cas => Ok(Over::Younger),
            None if or_stale => Ok(Over::Unknown),
            _ => {
                self.told_cas(cas).map_err(|wrong| format!("cas was let through: {wrong}"))?;
                Ok(Over::Same)
            }
        }
    }
}

/// The item that is stored, over an old one or where there is none.
fn made((store, wire): (&Store, Wire), old: Option<(&Item, Over)>, context: &Context<'_>) -> Item {
    // The time to live counts from when the line was seen, as the time of the last use does.
    let moment = store.begun.map_or(context.moment, |begun| begun.moment);
    let context = &Context { moment, ..*context };
    let given_s = moment.expiry_s(store.meta.vivify.unwrap_or(store.exptime));
    let new = |value, flags, expiry_s| Item {
        is_encoded: wire.encoded,
        cas: store.meta.new_cas,
        ..Item::new((value, flags), expiry_s, context)
    };
    match old {
        Some((old, _)) if store.verb.joins() => {
            let parts = match store.verb {
                StoreVerb::Append => [&old.value, &store.value],
                _ => [&store.value, &old.value],
            };
            let value = parts.map(|part| &part[..]).concat().into();
            Item { is_encoded: old.is_encoded, ..new(value, old.flags, old.expiry_s) }
        }
        Some((old, Over::Younger)) => {
            let item = new(Rc::clone(&store.value), store.flags, old.expiry_s);
            Item { stale: true, win_sent: old.win_sent, ..item }
        }
        _ => new(Rc::clone(&store.value), store.flags, given_s),
    }
}

/// Whether a refusal takes the old value away, so that it is not taken for the new one.
fn removes_when_refused(op: &Op, store: &Store) -> bool {
    match op.wire.dialect {
        Dialect::Classic => store.verb == StoreVerb::Set,
        Dialect::Meta => true,
        Dialect::Binary => matches!(store.verb, StoreVerb::Set | StoreVerb::Cas),
    }
}

/// What a storage command asks of the item before it.
trait Condition {
    /// Whether there has to be an item.
    fn needs_item(&self) -> bool;

    /// Whether the value is joined with the item's.
    fn joins(&self) -> bool;
}

impl Condition for StoreVerb {
    fn needs_item(&self) -> bool {
        matches!(self, Self::Replace | Self::Append | Self::Prepend)
    }

    fn joins(&self) -> bool {
        matches!(self, Self::Append | Self::Prepend)
    }
}
