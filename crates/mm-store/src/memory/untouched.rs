//! Memory that records will be written to, and that nobody has touched yet.

use std::io;
use std::sync::Arc;

use super::arena::{Arena, Mapping, SegmentId};
use crate::limits::MAX_SEGMENT_BYTES;
use crate::primitive::Ordering;

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

    /// Makes it resident, which takes the system some tens to some hundreds of microseconds per MiB, and some
    /// milliseconds on a virtual machine whose host has to find the memory.
    ///
    /// # Errors
    /// The system's: it has no memory left, or cannot do so (before Linux 5.14, and other systems). The memory then
    /// becomes resident as it is used, all the same.
    pub fn populate(self) -> io::Result<()> {
        let end = self.offset + self.len;
        // A huge page at a time, so that whoever waits for the first need not wait for the last.
        for offset in (self.offset..end).step_by(MAX_SEGMENT_BYTES) {
            let len = MAX_SEGMENT_BYTES.min(end - offset);
            self.mapping.region.populate(offset, len)?;
            self.mapping.populated_below.fetch_max(offset + len, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Nobody waits for what nobody will populate.
impl Drop for Untouched {
    fn drop(&mut self) {
        self.mapping.populated_below.fetch_max(self.offset + self.len, Ordering::Relaxed);
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

    /// Below which offset memory given away so is done with.
    pub(crate) fn populated_below(&self) -> usize {
        self.mapping().populated_below.load(Ordering::Relaxed)
    }

    /// Whether a segment that was given away so is not done with.
    pub(crate) fn is_being_populated(&self, id: SegmentId) -> bool {
        (id.index() + 1) * self.segment_bytes() > self.populated_below()
    }

    /// The same memory is going to be given away again.
    pub(crate) fn forget_populated(&self, id: SegmentId) {
        self.mapping().populated_below.fetch_min(id.index() * self.segment_bytes(), Ordering::Relaxed);
    }
}
