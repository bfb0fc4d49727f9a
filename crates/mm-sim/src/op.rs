//! Requests as clients mean them.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use mm_proto::memcached::StoreVerb;

use crate::answer::shown;
use crate::model::Counted;
use crate::time::Moment;

/// Names one of the keys of a run.
pub(crate) type KeyId = usize;

/// A request, or one key of a request for many.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) what: What,
    pub(crate) wire: Wire,
    /// When it was made, in moments of the run's history.
    pub(crate) begun: u64,
    /// Bytes of the connection's input that are done with when it has been served.
    pub(crate) end: u64,
}

/// How a request is put, and how its answer is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) dialect: Dialect,
    /// What its answer repeats. Classic commands have no such thing.
    pub(crate) opaque: u32,
    /// A success, or the miss of a look-up, is not answered; of a classic command, nothing is.
    pub(crate) quiet: bool,
    /// The key is in base64.
    pub(crate) encoded: bool,
    /// What the answer to a meta command is to tell.
    pub(crate) tells: Tells,
}

/// The flags of a meta command that its answer repeats, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tells([u8; 8]);

impl Tells {
    /// Those of a line's flags that an answer may repeat.
    pub(crate) fn of(flags: impl Iterator<Item: AsRef<[u8]>>, may_be: &[u8]) -> Self {
        let mut tells = Self::default();
        let letters =
            flags.filter_map(|flag| flag.as_ref().first().copied()).filter(|letter| may_be.contains(letter));
        tells.0.iter_mut().zip(letters).for_each(|(place, letter)| *place = letter);
        tells
    }

    /// The letters.
    pub(crate) fn letters(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().filter(|&letter| letter != 0)
    }
}

/// The flags of a meta command that give and ask for times, of which the order matters: `T`, `N`, `R`, `t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order(pub(crate) [u8; 4]);

impl Order {
    /// The letters.
    pub(crate) fn letters(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().filter(|&letter| letter != 0)
    }

    /// Whether `first` stands before `second`.
    pub(crate) fn has_before(self, first: u8, second: u8) -> bool {
        self.letters().take_while(|&letter| letter != second).any(|letter| letter == first)
    }

    /// When an item expires as it is told where `t` stands, after the times before it were given.
    pub(crate) fn told_expiry_s(self, before_s: u32, given: impl Fn(u8) -> Option<u32>) -> u32 {
        let letters = self.letters().take_while(|&letter| letter != b't');
        letters.fold(before_s, |expiry_s, letter| given(letter).unwrap_or(expiry_s))
    }
}

/// The three ways of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Classic,
    Meta,
    Binary,
}

impl Wire {
    /// That of a classic command which is answered.
    pub(crate) const CLASSIC: Self =
        Self { dialect: Dialect::Classic, opaque: 0, quiet: false, encoded: false, tells: Tells([0; 8]) };
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Store(store) => write!(
                f,
                "{:?} key {} = {} bytes {} (flags {}, exptime {}, cas {}, {:?}, {:?}, flaw {:?})",
                store.verb,
                store.key,
                store.value.len(),
                shown(&store.value[..store.value.len().min(20)]),
                store.flags,
                store.exptime,
                store.cas,
                store.meta,
                self.wire,
                store.flaw
            ),
            What::Dump(Dump { form, class, lines_max, .. }) => {
                write!(f, "dump {form:?} of class {class}, at most {lines_max} lines")
            }
            What::Line(line) => write!(f, "what is answered by {}", shown(line)),
            what => write!(f, "{what:?} ({:?})", self.wire),
        }
    }
}

/// What statistics can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What is told without a word.
    General,
    Settings,
    Items,
    Slabs,
    Connections,
    Sizes,
    Prefixes,
}

impl Group {
    /// Those that the classic protocol is asked for.
    pub(crate) const CLASSIC: [Self; 7] = [
        Self::General,
        Self::Settings,
        Self::Items,
        Self::Slabs,
        Self::Connections,
        Self::Sizes,
        Self::Prefixes,
    ];

    /// Those that the binary protocol is asked for.
    pub(crate) const BINARY: [Self; 4] = [Self::General, Self::Settings, Self::Items, Self::Slabs];

    /// The words for it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::General => "",
            Self::Settings => "settings",
            Self::Items => "items",
            Self::Slabs => "slabs",
            Self::Connections => "conns",
            Self::Sizes => "sizes",
            Self::Prefixes => "detail dump",
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum What {
    Get(Get),
    Store(Store),
    Delete(Delete),
    Count(Count),
    /// What is known of an item: `me`.
    Debug {
        key: KeyId,
    },
    Touch {
        key: KeyId,
        exptime: i32,
    },
    Flush {
        delay_s: i32,
    },
    /// Something that is always answered by the same line.
    Line(&'static [u8]),
    /// Something that succeeds, whatever else its answer says.
    Plain,
    /// Statistics: lines or packets up to the last.
    Stats(Group),
    /// A dump of keys: lines up to the last, over several runs.
    Dump(Dump),
    /// Lines about what happens, for the rest of the connection.
    Watch,
    Quit,
}

impl What {
    /// The key that it is about.
    pub(crate) fn key(&self) -> Option<KeyId> {
        match self {
            Self::Get(get) => Some(get.key),
            Self::Store(store) => Some(store.key),
            Self::Count(count) => Some(count.key),
            Self::Delete(delete) => Some(delete.key),
            Self::Touch { key, .. } | Self::Debug { key } => Some(*key),
            _ => None,
        }
    }
}

/// One key of a look-up, which may give the item another time to live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get {
    pub(crate) key: KeyId,
    pub(crate) tells_value: bool,
    pub(crate) tells_cas: bool,
    pub(crate) exptime: Option<i32>,
    /// The last key of a classic command, after which the answer ends.
    pub(crate) last: bool,
    pub(crate) meta: MetaGet,
}

/// What only a meta command can ask of a look-up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MetaGet {
    /// Where there is no item, an empty one with this time to live is made.
    pub(crate) vivify: Option<i32>,
    /// It gets this CAS value.
    pub(crate) new_cas: Option<u64>,
    /// With less than this time left to live somebody is told to fetch a new value.
    pub(crate) recache: Option<i32>,
    /// The value is not told of an item with this CAS value.
    pub(crate) known_cas: Option<u64>,
    /// The item does not count as read.
    pub(crate) is_peek: bool,
    pub(crate) order: Order,
}

/// Removing an item; or, if that is asked for, marking it as out of date, or taking its value away, or both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delete {
    pub(crate) key: KeyId,
    /// The CAS value that the item must have; 0 for any.
    pub(crate) cas: u64,
    pub(crate) marks: bool,
    pub(crate) empties: bool,
    /// Of an item that is marked or emptied.
    pub(crate) exptime: Option<i32>,
    pub(crate) new_cas: Option<u64>,
    /// Of one that is emptied.
    pub(crate) flags: u32,
}

/// Counting up or down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) key: KeyId,
    pub(crate) delta: u64,
    pub(crate) decrement: bool,
    /// The number to begin with where there is none, and its time to live. `None`: none is made.
    pub(crate) creates: Option<(u64, i32)>,
    pub(crate) tells_number: bool,
    /// The CAS value that the item must have; 0 for any.
    pub(crate) cas: u64,
    /// Its new time to live.
    pub(crate) exptime: Option<i32>,
    pub(crate) new_cas: Option<u64>,
    pub(crate) order: Order,
}

/// A dump of keys, and what it has shown.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) form: DumpForm,
    /// Only items of this class; 0 for all.
    pub(crate) class: usize,
    /// So many lines at most; 0 for all.
    pub(crate) lines_max: usize,
    pub(crate) shown: Option<Shown>,
}

/// What a dump looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DumpForm {
    /// `lru_crawler metadump`.
    Meta,
    /// `lru_crawler mgdump`.
    Commands,
    /// `stats cachedump`.
    Cache,
}

/// What a dump has shown since it began.
#[derive(Debug)]
pub(crate) struct Shown {
    /// What the store had counted then, and how many changes there had been.
    pub(crate) counted: Counted,
    pub(crate) changes: u64,
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
    pub(crate) keys: HashSet<KeyId>,
}

/// A storage command.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) key: KeyId,
    pub(crate) verb: StoreVerb,
    pub(crate) flags: u32,
    pub(crate) exptime: i32,
    pub(crate) value: Rc<[u8]>,
    /// The CAS value that the item must have; 0 for any.
    pub(crate) cas: u64,
    pub(crate) meta: MetaStore,
    pub(crate) flaw: Flaw,
    /// Bytes of the connection's input that are done with when its line has been seen.
    pub(crate) line_end: u64,
    /// When that was.
    pub(crate) begun: Option<Begun>,
}

/// What only a meta command can ask of a storage command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MetaStore {
    pub(crate) new_cas: Option<u64>,
    /// Where the item's CAS value is greater than that which it must have, the value is stored as one that is out of
    /// date.
    pub(crate) or_stale: bool,
    /// Where there is nothing to join the value with, it is stored with this time to live.
    pub(crate) vivify: Option<i32>,
}

/// When the line of a storage command was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// The time to live counts from then, however long the data take.
    pub(crate) moment: Moment,
    /// What the store had refused before.
    pub(crate) refused: u64,
    /// The number of the server that has seen it.
    pub(crate) server: u64,
}

/// What is wrong with a storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It is longer than items may be.
    TooLarge,
    /// Its data do not end as they should.
    BadEnd,
    /// It was refused before all of its data had come: nothing more will be answered.
    Refused,
}
