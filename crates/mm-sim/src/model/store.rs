//! set, add, replace, append, prepend, cas.

use std::rc::Rc;

use mm_proto::memcached::{StoreVerb, lines};

use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{Answers, shown};
use crate::op::{Flaw, KeyId, Store};

impl Model {
    pub(super) fn store(
        &mut self,
        store: &Store,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        if store.flaw == Flaw::TooLarge && store.verb == StoreVerb::Set {
            self.set(store.key, Held::Absent, context);
        }
        if store.flaw == Flaw::Refused {
            return Ok(());
        }
        if store.noreply {
            return self.store_silently(store, context);
        }
        let line = answers.line()?;
        match (store.flaw, line) {
            (Flaw::TooLarge, lines::TOO_LARGE) | (Flaw::BadEnd, lines::BAD_DATA_CHUNK) => Ok(()),
            (_, lines::NO_MEMORY_STORING | lines::NO_MEMORY_READING)
                if self.may_be_lost(store.key, context) =>
            {
                self.refused(store, context);
                Ok(())
            }
            (Flaw::None, lines::STORED) => self.stored(store, context),
            (Flaw::None, lines::NOT_STORED) if store.verb == StoreVerb::Add => {
                self.present(store.key, context)
            }
            (Flaw::None, lines::NOT_STORED) if store.verb.needs_item() => self.absent(store.key, context),
            (Flaw::None, lines::NOT_FOUND) if store.verb == StoreVerb::Cas => self.absent(store.key, context),
            (Flaw::None, lines::EXISTS) if store.verb == StoreVerb::Cas => self.exists(store, context),
            _ => Err(format!("{} in answer to {:?} of key {}", shown(line), store.verb, store.key)),
        }
    }

    /// Without an answer: what must have happened, or nothing certain where there is a choice.
    fn store_silently(&mut self, store: &Store, context: &Context<'_>) -> Result<(), Wrong> {
        if store.flaw != Flaw::None {
            return Ok(());
        }
        let refused_in_this_run = context.losses.1 > context.losses.0;
        let is_set = store.verb == StoreVerb::Set;
        let is_unknown = matches!(self.held(store.key, context), Held::Unknown);
        let is_cas_open = |item: &mut Item| item.cas.is_none() && store.cas > item.cas_above;
        let is_cas_open =
            store.verb == StoreVerb::Cas && self.item(store.key, context).is_some_and(is_cas_open);
        let is_choice = is_unknown || is_cas_open || self.may_be_lost(store.key, context);
        if refused_in_this_run || (!is_set && is_choice) {
            self.set(store.key, Held::Unknown, context);
            return Ok(());
        }
        let has_item = self.item(store.key, context).is_some();
        let stores = match store.verb {
            StoreVerb::Set => true,
            StoreVerb::Add => !has_item,
            StoreVerb::Cas => self.item(store.key, context).is_some_and(|item| item.cas == Some(store.cas)),
            StoreVerb::Replace | StoreVerb::Append | StoreVerb::Prepend => has_item,
        };
        if stores { self.stored(store, context) } else { Ok(()) }
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
        let joins = matches!(store.verb, StoreVerb::Append | StoreVerb::Prepend);
        let old = match std::mem::replace(self.held(store.key, context), Held::Absent) {
            Held::Present(item) => Some(item),
            Held::Unknown if joins => {
                self.set(store.key, Held::Unknown, context);
                return Ok(());
            }
            Held::Unknown | Held::Absent => None,
        };
        let cas_above = old.as_ref().map_or(0, Item::cas_floor);
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
                expiry_s: store.begun.unwrap_or(context.moment).expiry_s(store.exptime),
                cas: None,
                cas_above,
            },
        };
        self.set(store.key, Held::Present(item), context);
        Ok(())
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
        store: &mut Store,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let line = answers.line()?;
        if !matches!(line, lines::NO_MEMORY_STORING | lines::NO_MEMORY_READING) {
            return Err(format!("{} before the data of {:?} of key {}", shown(line), store.verb, store.key));
        }
        if !self.may_be_lost(store.key, context) {
            return Err(format!("{} and the store has refused nothing", shown(line)));
        }
        self.refused(store, context);
        store.flaw = Flaw::Refused;
        Ok(())
    }

    /// There was no memory: a set takes the old value away all the same, so that it is not taken for the new one.
    fn refused(&mut self, store: &Store, context: &Context<'_>) {
        let held = if store.verb == StoreVerb::Set { Held::Unknown } else { return };
        self.set(store.key, held, context);
    }

    fn exists(&mut self, store: &Store, context: &Context<'_>) -> Result<(), Wrong> {
        self.present(store.key, context)?;
        match self.item(store.key, context) {
            Some(item) if item.cas == Some(store.cas) => {
                Err(format!("cas of key {} was refused with the item's own CAS {}", store.key, store.cas))
            }
            _ => Ok(()),
        }
    }
}

/// What a storage command asks of the item before it.
trait Condition {
    /// Whether there has to be an item.
    fn needs_item(&self) -> bool;
}

impl Condition for StoreVerb {
    fn needs_item(&self) -> bool {
        matches!(self, Self::Replace | Self::Append | Self::Prepend)
    }
}
