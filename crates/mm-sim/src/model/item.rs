//! What there is to know of an item.

use std::rc::Rc;

use super::{Context, Wrong};

/// An item.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: Rc<[u8]>,
    pub(crate) flags: u32,
    /// In the store's seconds; 0 for never.
    pub(crate) expiry_s: u32,
    /// `None`: nobody has been told it yet.
    pub(crate) cas: Option<u64>,
    /// What the CAS must exceed when it is told: that of the value before it.
    pub(crate) cas_above: u64,
    /// It was marked as out of date.
    pub(crate) stale: bool,
    /// Somebody was told to fetch a new value.
    pub(crate) win_sent: bool,
    /// Whether it was read since it was stored. `None`: that is not known.
    pub(crate) fetched: Option<bool>,
    /// When it was last stored or read, in the store's seconds.
    pub(crate) used_s: u32,
    /// It was stored with a key in base64.
    pub(crate) is_encoded: bool,
}

/// An item keeps the time of its last use to this part of what was then its segment's age, and to so many seconds.
const USED_PART: u32 = 9;
const USED_STEP_S: u32 = 64;

impl Item {
    /// A new item.
    pub(crate) fn new((value, flags): (Rc<[u8]>, u32), expiry_s: u32, context: &Context<'_>) -> Self {
        Self {
            value,
            flags,
            expiry_s,
            cas: None,
            cas_above: 0,
            stale: false,
            win_sent: false,
            fetched: Some(false),
            used_s: context.moment.now_s,
            is_encoded: false,
        }
    }

    pub(crate) fn is_expired(&self, context: &Context<'_>) -> bool {
        self.expiry_s != 0 && self.expiry_s <= context.moment.now_s
    }

    /// It is read.
    pub(crate) fn used(&mut self, context: &Context<'_>) {
        (self.fetched, self.used_s) = (Some(true), context.moment.now_s);
    }

    /// How long ago it was last used is told: no longer than that is, but for how exactly it is kept. It may be less,
    /// because a record that is moved to a younger segment keeps no earlier time than that segment's.
    pub(crate) fn idles(&self, told_s: Option<u64>, context: &Context<'_>) -> Result<(), Wrong> {
        let now_s = context.moment.now_s;
        let most_s = now_s - (self.used_s - self.used_s / USED_PART).saturating_sub(USED_STEP_S);
        match told_s {
            Some(told_s) if told_s > u64::from(most_s) => Err(format!(
                "it is told to be unused for {told_s} s, and was used {} s ago",
                now_s - self.used_s
            )),
            _ => Ok(()),
        }
    }

    /// The CAS that the server tells.
    pub(crate) fn told_cas(&mut self, cas: u64) -> Result<(), Wrong> {
        match self.cas {
            Some(known) if known != cas => Err(format!("the CAS was {known} and is {cas} without a change")),
            None if cas <= self.cas_above => {
                Err(format!("the CAS is {cas} and must exceed {} of the value before", self.cas_above))
            }
            _ => {
                self.cas = Some(cas);
                Ok(())
            }
        }
    }

    /// The least that the CAS of the next value must exceed.
    pub(crate) fn cas_floor(&self) -> u64 {
        self.cas.unwrap_or(self.cas_above)
    }

    /// It gets a new CAS value: this one, if one is given.
    pub(crate) fn change_cas(&mut self, given: Option<u64>) {
        (self.cas_above, self.cas) = (self.cas_floor(), given);
    }
}
