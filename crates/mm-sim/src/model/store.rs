//! set, add, replace, append, prepend, cas.

use std::rc::Rc;

use mm_proto::memcached::StoreVerb;

use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answer, Answers, Said};
use crate::op::{Dialect, Flaw, KeyId, Op, Store, What};
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
            (Flaw::None, Said::Done) if self.joined_fits(store, context) == Some(false) => {
                Err(format!("{:?} has made key {key} larger than an item may be", store.verb))
            }
            (Flaw::None, Said::Done) => {
                self.stored(store, context)?;
                self.tell_cas(key, answer.cas, context)
            }
            (Flaw::None, Said::NotStored) if store.verb == StoreVerb::Add => self.present(key, context),
            (Flaw::None, Said::NotStored) if self.joined_fits(store, context) == Some(false) => Ok(()),
            (Flaw::None, Said::NotStored) if store.verb.joins() && self.is_unknown(key, context) => Ok(()),
            (Flaw::None, Said::NotStored) if store.verb.needs_item() => self.absent(key, context),
            (Flaw::None, Said::NotFound) if store.verb == StoreVerb::Cas => self.absent(key, context),
            (Flaw::None, Said::Exists) if store.verb == StoreVerb::Cas => {
                self.exists((key, store.cas), context)
            }
            (_, said) => Err(format!("{said:?} in answer to {:?} of key {key}", store.verb)),
        }
    }

    /// A CAS value is told of what was stored. It may be gone again, or replaced, where 0 is told.
    fn tell_cas(&mut self, key: KeyId, cas: Option<u64>, context: &Context<'_>) -> Result<(), Wrong> {
        let Some(cas) = cas.filter(|&cas| cas != 0) else { return Ok(()) };
        if let Some(item) = self.item(key, context) {
            item.told_cas(cas)?;
            self.told.push((key, cas));
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
        if stores && self.stored(store, context).is_err() {
            self.set(store.key, Held::Unknown, context);
        }
    }

    fn stored(&mut self, store: &Store, context: &Context<'_>) -> Result<(), Wrong> {
        match store.verb {
            StoreVerb::Set => {}
            StoreVerb::Add => self.absent_or_unknown(store.key, context)?,
            StoreVerb::Replace | StoreVerb::Append | StoreVerb::Prepend => {
                self.present(store.key, context)?;
            }
            StoreVerb::Cas => {
                self.present(store.key, context)?;
                if let Some(item) = self.item(store.key, context) {
                    item.told_cas(store.cas).map_err(|wrong| format!("cas was let through: {wrong}"))?;
                }
            }
        }
        let joins = store.verb.joins();
        let old = match std::mem::replace(self.held(store.key, context), Held::Absent) {
            Held::Present(item) => Some(item),
            Held::Unknown if joins => {
                self.set(store.key, Held::Unknown, context);
                return Ok(());
            }
            Held::Unknown | Held::Absent => None,
        };
        // Where the old item may have been evicted, the new one need not follow it.
        let follows = !self.may_be_lost(store.key, context);
        let cas_above = old.as_ref().filter(|_| follows).map_or(0, Item::cas_floor);
        let item = match old {
            Some(old) if joins => {
                let parts = match store.verb {
                    StoreVerb::Append => [&old.value, &store.value],
                    _ => [&store.value, &old.value],
                };
                Item { value: parts.map(|part| &part[..]).concat().into(), cas: None, cas_above, ..old }
            }
            _ => Item {
                value: Rc::clone(&store.value),
                flags: store.flags,
                expiry_s: store.begun.map_or(context.moment, |begun| begun.moment).expiry_s(store.exptime),
                cas: None,
                cas_above,
            },
        };
        self.set(store.key, Held::Present(item), context);
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
