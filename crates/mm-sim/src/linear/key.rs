//! What one key of a cache holds, as memcached's commands change and show it.
//!
//! CAS values are the cache's to choose. The model learns a value when it is told; from then on the item keeps it,
//! and the item that takes its place gets a greater one. A client can give only values that were told.

mod change;
mod read;

use super::Model;

/// A request for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Shows the item.
    Get(Get),
    /// Stores a value.
    Store(Store),
    /// Counts a number up, or down to nought.
    Count(Count),
    /// Removes the item, if it has this CAS value where one is given.
    Delete {
        /// The CAS value.
        compare: Option<u64>,
    },
    /// Changes when the item expires (0: never).
    Touch {
        /// In the cache's seconds.
        expiry_s: u32,
    },
    /// Marks the item as out of date, under a new CAS value.
    MarkStale {
        /// It must have this CAS value.
        compare: Option<u64>,
        /// It expires then.
        expiry_s: Option<u32>,
    },
    /// Removes every item. It is in the history of every key.
    Flush,
}

/// How an item is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Get {
    /// The item expires then.
    pub touch: Option<u32>,
    /// Where there is none, an empty one is made that expires then.
    pub vivify: Option<u32>,
    /// Who is the first to meet an item that is out of date is told to fetch a new value.
    pub may_win: bool,
}

/// How a value is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// On what condition.
    pub mode: Mode,
    /// The value.
    pub value: Vec<u8>,
    /// When it expires (0: never).
    pub expiry_s: u32,
}

/// On what condition a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None.
    Set,
    /// There is no item.
    Add,
    /// There is one.
    Replace,
    /// There is one, of this CAS value where one is given; the value goes behind its own.
    Append {
        /// The CAS value.
        compare: Option<u64>,
        /// Where there is none, one that expires then is made of the value.
        vivify: Option<u32>,
    },
    /// The item's CAS value is this one.
    Cas(u64),
    /// The same; if the item's is greater, the value is stored all the same, as one that is out of date, and the item
    /// keeps its expiry and whether anybody was told to fetch a new value.
    CasOrStale(u64),
}

/// How a number is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Up, or down if it is negative, by so much.
    pub delta: i32,
    /// The item must have this CAS value.
    pub compare: Option<u64>,
    /// Where there is none, one with this number is made that expires then.
    pub vivify: Option<(u64, u32)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The item.
    Seen(Seen),
    /// The value was stored; its CAS value, where that was told.
    Stored {
        /// The CAS value.
        cas: Option<u64>,
    },
    /// The number as it is now.
    Number {
        /// The number.
        number: u64,
        /// Its CAS value, where that was told.
        cas: Option<u64>,
    },
    /// It has been done.
    Done,
    /// The condition of the mode does not hold.
    NotStored,
    /// The item has another CAS value.
    Exists,
    /// There is no item.
    NotFound,
    /// The value is no number.
    NotANumber,
}

/// What was shown of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its value.
    pub value: Vec<u8>,
    /// Its CAS value, where that was told.
    pub cas: Option<u64>,
    /// When it expires, where that was told.
    pub expiry_s: Option<u32>,
    /// What was told of its being out of date, where that was asked for.
    pub refresh: Option<Refresh>,
}

/// What was told of an item's being out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// It is.
    pub is_stale: bool,
    /// Who fetches a new value.
    pub win: Win,
}

/// Who fetches a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Win {
    /// Nobody needs to.
    None,
    /// Who was answered.
    Here,
    /// Another client.
    Elsewhere,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    value: Vec<u8>,
    expiry_s: u32,
    /// `None`: it was not told yet.
    cas: Option<u64>,
    /// What it exceeds.
    cas_above: u64,
    is_stale: bool,
    win_sent: bool,
}

/// The model of a key. Time stands still in it: nothing expires.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Whether items may be gone at any time, because the cache evicts.
    pub may_vanish: bool,
}

impl Model for Key {
    type Op = Op;
    type Answer = Answer;
    type State = Option<Item>;

    fn start(&self) -> Option<Item> {
        None
    }

    fn step(&self, state: &Option<Item>, op: &Op, answer: &Answer, next: &mut Vec<Option<Item>>) {
        next.extend(after(state.as_ref(), op, answer));
        if self.may_vanish && state.is_some() {
            next.extend(after(None, op, answer));
        }
    }
}

/// What the key holds after a call that gave this answer; `None` where it cannot give it.
fn after(item: Option<&Item>, op: &Op, answer: &Answer) -> Option<Option<Item>> {
    match op {
        Op::Get(get) => read::get(item, get, answer),
        Op::Store(store) => change::store(item, store, answer),
        Op::Count(count) => change::count(item, count, answer),
        Op::Delete { compare } => match item {
            None => (*answer == Answer::NotFound).then_some(None),
            Some(item) if compare.is_none_or(|cas| item.is_of(cas)) => {
                (*answer == Answer::Done).then_some(None)
            }
            Some(item) => (*answer == Answer::Exists).then(|| Some(item.clone())),
        },
        Op::Touch { expiry_s } => match item {
            None => (*answer == Answer::NotFound).then_some(None),
            Some(item) => (*answer == Answer::Done).then(|| Some(item.expiring_at(*expiry_s))),
        },
        Op::MarkStale { compare, expiry_s } => match item {
            None => (*answer == Answer::NotFound).then_some(None),
            Some(item) if compare.is_none_or(|cas| item.is_of(cas)) => (*answer == Answer::Done).then(|| {
                let expiry_s = expiry_s.unwrap_or(item.expiry_s);
                let next = item.followed_by(item.value.clone(), expiry_s);
                Some(Item { is_stale: true, ..next })
            }),
            Some(item) => (*answer == Answer::Exists).then(|| Some(item.clone())),
        },
        Op::Flush => (*answer == Answer::Done).then_some(None),
    }
}

impl Item {
    fn new(value: Vec<u8>, expiry_s: u32) -> Self {
        Self { value, expiry_s, cas: None, cas_above: 0, is_stale: false, win_sent: false }
    }

    /// Another value in its place.
    fn followed_by(&self, value: Vec<u8>, expiry_s: u32) -> Self {
        Self { cas_above: self.cas.unwrap_or(self.cas_above), ..Self::new(value, expiry_s) }
    }

    fn expiring_at(&self, expiry_s: u32) -> Self {
        Self { expiry_s, ..self.clone() }
    }

    /// Whether it has the CAS value that a client gives. That was told before, so the model knows if it is this item's.
    fn is_of(&self, cas: u64) -> bool {
        self.cas == Some(cas)
    }

    /// The same, of which this CAS value is told; `None` where it cannot be.
    fn told(mut self, cas: Option<u64>) -> Option<Self> {
        if let Some(cas) = cas {
            match self.cas {
                Some(known) if known != cas => return None,
                None if cas <= self.cas_above => return None,
                _ => self.cas = Some(cas),
            }
        }
        Some(self)
    }
}
