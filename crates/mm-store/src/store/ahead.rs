//! Memory is populated before records come to be written there.
//!
//! What was never touched has to be found and cleared by the system, a huge page at a time, while whoever touches it
//! waits: a shard with all of its connections. So when a segment is opened, memory for those to come is given to
//! another thread. It is little of the limit, and of what is in use: a store that is filled no further has hardly more
//! memory than it needs. (Decision 0025.)

use std::io;

use super::Store;
use crate::limits::{AHEAD_SEGMENTS_MAX, AHEAD_SHARE, AHEAD_USED_SHARE};
use crate::sharing::Sharing;

impl<S: Sharing> Store<S> {
    /// A segment was opened: has those populated that come next.
    pub(super) fn populate_ahead(&self) {
        let core = &*self.core;
        let Some(populate) = core.populate else { return };
        let growth = self.growth();
        if core.segments.untouched() > growth {
            // The index has grown meanwhile.
            self.discard_ahead();
        }
        let share = core.limit_bytes() / AHEAD_SHARE / core.sizes.segment_bytes;
        let ahead = share.min(AHEAD_SEGMENTS_MAX).min(core.segments.ever_opened() / AHEAD_USED_SHARE);
        if let Some((first, count)) = core.segments.take_untouched(ahead.min(growth)) {
            populate(core.arena.untouched(first, count));
        }
    }

    /// Gives back a segment's memory that was populated and not used. False where there is none.
    pub(super) fn discard_ahead(&self) -> bool {
        self.core.segments.discard_untouched(|segment| self.core.arena.discard(segment))
    }

    /// Makes all memory resident that the limit leaves to items. The index's still becomes so as it grows.
    ///
    /// # Errors
    /// The system's: it has no memory left, or cannot do so. Memory becomes resident as it is used then.
    pub fn populate(&self) -> io::Result<()> {
        match self.core.segments.take_untouched(self.growth()) {
            Some((first, count)) => self.core.arena.untouched(first, count).populate(),
            None => Ok(()),
        }
    }

    /// How many segments more the limit has room for.
    fn growth(&self) -> usize {
        self.target_segments().saturating_sub(self.core.segments.resident())
    }
}
