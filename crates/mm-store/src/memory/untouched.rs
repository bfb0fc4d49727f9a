//! Memory that records will be written to, and that nobody has touched yet.

use std::io;
use std::sync::Arc;

use super::arena::{Arena, Mapping, SegmentId};

/// Memory of a store that will be used soon and was never touched, for another thread to have the system provide it:
/// the shard then need not wait for that when it comes to write there.
///
/// It may be used before it is populated, or never.
#[derive(Debug)]
#[must_use = "it is populated only when asked to be"]
pub struct Untouched {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl Untouched {
    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes it resident, which takes the system some tens to some hundreds of microseconds per MiB.
    ///
    /// # Errors
    /// The system's: it has no memory left, or cannot do so (before Linux 5.14, and other systems). The memory then
    /// becomes resident as it is used, all the same.
    pub fn populate(self) -> io::Result<()> {
        self.mapping.region.populate(self.offset, self.len)
    }
}

impl Arena {
    /// `count` segments from `first` on, none of which was opened since the arena was made.
    ///
    /// # Panics
    /// Where there are not so many.
    pub(crate) fn untouched(&self, first: SegmentId, count: usize) -> Untouched {
        let segment_bytes = self.segment_bytes();
        Untouched {
            mapping: Arc::clone(self.mapping()),
            offset: first.index() * segment_bytes,
            len: count * segment_bytes,
        }
    }
}
