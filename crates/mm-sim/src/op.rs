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
    /// Bytes of the connection's input that are done with when it has been served.
    pub(crate) end: u64,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Store(store) => write!(
                f,
                "{:?} key {} = {} bytes {} (flags {}, exptime {}, cas {}, noreply {}, flaw {:?})",
                store.verb,
                store.key,
                store.value.len(),
                shown(&store.value[..store.value.len().min(20)]),
                store.flags,
                store.exptime,
                store.cas,
                store.noreply,
                store.flaw
            ),
            What::Line(line) => write!(f, "what is answered by {}", shown(line)),
            what => write!(f, "{what:?}"),
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
        noreply: bool,
    },
    Arithmetic {
        key: KeyId,
        delta: u64,
        decrement: bool,
        noreply: bool,
    },
    Touch {
        key: KeyId,
        exptime: i32,
        noreply: bool,
    },
    Flush {
        delay_s: i32,
        noreply: bool,
    },
    /// Something that is always answered by the same line.
    Line(&'static [u8]),
    /// `stats`, with or without a group: lines up to the last.
    Stats,
    /// A dump of keys: lines up to the last, over several runs.
    Dump,
    Quit,
}

/// One key of get, gets, gat or gats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get {
    pub(crate) key: KeyId,
    pub(crate) tells_cas: bool,
    pub(crate) exptime: Option<i32>,
    pub(crate) last: bool,
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
    pub(crate) noreply: bool,
    pub(crate) flaw: Flaw,
    /// Bytes of the connection's input that are done with when its line has been seen.
    pub(crate) line_end: u64,
    /// When that was. The time to live counts from then, however long the data take.
    pub(crate) begun: Option<Moment>,
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
