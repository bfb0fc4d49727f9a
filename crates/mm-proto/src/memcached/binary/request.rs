//! What can be asked for.

use super::Head;

/// The numbers of the commands that a response is told apart by.
pub mod opcode {
    /// stat.
    pub const STAT: u8 = 0x10;
}

/// A request, and the key that it is about (empty where it is about none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What its response repeats.
    pub head: Head,
    /// What it asks for.
    pub verb: Verb,
    /// The key; of `stat`, which statistics.
    pub key: &'a [u8],
    /// Whether only what is unusual is answered: of those that fetch, a hit; of the others, a failure.
    pub quiet: bool,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// get, getk.
    Get {
        /// Whether the response has the key.
        tells_key: bool,
    },
    /// gat, gatk.
    GetAndTouch {
        /// Whether the response has the key.
        tells_key: bool,
        /// The new expiration time.
        exptime: u32,
    },
    /// touch.
    Touch {
        /// The new expiration time.
        exptime: u32,
    },
    /// set, add, replace, append, prepend. Their value follows.
    Store {
        /// Which of them.
        mode: Mode,
        /// The client's flags.
        flags: u32,
        /// The expiration time.
        exptime: u32,
        /// Bytes of the value.
        bytes: u32,
    },
    /// delete.
    Delete,
    /// increment, decrement.
    Arithmetic {
        /// Whether it counts down.
        decrement: bool,
        /// By how much.
        delta: u64,
        /// The number to begin with where there is none.
        initial: u64,
        /// The expiration time of a number that is made; [`DO_NOT_CREATE`](super::DO_NOT_CREATE): none is.
        exptime: u32,
    },
    /// flush.
    Flush {
        /// When; 0 for now.
        exptime: u32,
    },
    /// noop.
    Noop,
    /// version.
    Version,
    /// stat.
    Stat,
    /// quit.
    Quit,
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whatever is there.
    Set,
    /// If nothing is there.
    Add,
    /// If something is there.
    Replace,
    /// Behind what is there.
    Append,
    /// Before what is there.
    Prepend,
}
