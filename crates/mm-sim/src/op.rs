//! Requests as clients mean them.

use std::fmt;
use std::rc::Rc;

use mm_proto::memcached::StoreVerb;

use crate::answer::shown;
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
    pub(crate) const CLASSIC: Self = Self { dialect: Dialect::Classic, opaque: 0, quiet: false };
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Store(store) => write!(
                f,
                "{:?} key {} = {} bytes {} (flags {}, exptime {}, cas {}, {:?}, flaw {:?})",
                store.verb,
                store.key,
                store.value.len(),
                shown(&store.value[..store.value.len().min(20)]),
                store.flags,
                store.exptime,
                store.cas,
                self.wire,
                store.flaw
            ),
            What::Line(line) => write!(f, "what is answered by {}", shown(line)),
            what => write!(f, "{what:?} ({:?})", self.wire),
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum What {
    Get(Get),
    Store(Store),
    Delete {
        key: KeyId,
        /// The CAS value that the item must have; 0 for any.
        cas: u64,
    },
    Count(Count),
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
    Stats,
    /// A dump of keys: lines up to the last, over several runs.
    Dump,
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
            Self::Delete { key, .. } | Self::Touch { key, .. } => Some(*key),
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
}

/// A storage command.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) key: KeyId,
    pub(crate) verb: StoreVerb,
    pub(crate) flags: u32,
    pub(crate) exptime: i32,
    pub(crate) value: Rc<[u8]>,
    pub(crate) cas: u64,
    pub(crate) flaw: Flaw,
    /// Bytes of the connection's input that are done with when its line has been seen.
    pub(crate) line_end: u64,
    /// When that was.
    pub(crate) begun: Option<Begun>,
}

/// When the line of a storage command was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// The time to live counts from then, however long the data take.
    pub(crate) moment: Moment,
    /// What the store had refused before.
    pub(crate) refused: u64,
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
