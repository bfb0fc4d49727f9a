//! Memory is populated before records come to be written there.
//!
//! What was never touched has to be found and cleared by the system, a huge page at a time, while whoever touches it
//! waits: a shard with all of its connections. So when a segment is opened, memory for those to come is given to
//! another thread. It is little of the limit, and of what is in use: a store that is filled no further has hardly more
//! memory than it needs. A large value on its way says how much it needs, and can wait. (Decision 0025.)

use std::io;

use super::{Store, Upload};
use crate::limits::{AHEAD_SEGMENTS_MAX, AHEAD_SHARE, AHEAD_USED_SHARE, UPLOAD_HEAD_BYTES};
use crate::memory::SegmentId;
use crate::sharing::Sharing;
use crate::whole::whole;

impl<S: Sharing> Store<S> {
    /// A segment was opened: has those populated that come next.
    pub(super) fn populate_ahead(&self) {
        if self.core.populate.is_none() {
            return;
        }
        if self.has_surplus_ahead() {
            self.discard_ahead();
        }
        self.populate_at_most(self.core.segments.ever_opened() / AHEAD_USED_SHARE);
    }

    /// Has so many of the segments populated that come next, as far as bounds allow.
    fn populate_at_most(&self, wanted: usize) {
        let core = &*self.core;
        let Some(populate) = core.populate else { return };
        let share = core.limit_bytes() / AHEAD_SHARE / core.sizes.segment_bytes;
        let ahead = share.min(AHEAD_SEGMENTS_MAX).min(wanted);
        if let Some((first, count)) = core.segments.take_untouched(ahead.min(self.growth())) {
            populate(core.arena.untouched(first, count));
        }
    }

    /// Whether the next bytes of an upload belong in memory that is being populated. Whoever puts them off does not
    /// stop for the system to find and clear that memory.
    #[inline]
    pub fn awaits_memory(&self, upload: &Upload) -> bool {
        self.core.populate.is_some()
            && self.opens_for(upload).is_some_and(|(place, bytes)| {
                self.open_with_room(place, bytes).is_none() && self.opens_awaited(upload.missing())
            })
    }

    /// The same for the first bytes of an upload of `len` bytes that is to begin, so that its key goes there, too.
    #[must_use]
    pub fn awaits_memory_for(&self, len: usize) -> bool {
        let core = &*self.core;
        // Which of the open segments it belongs in is not known yet.
        let bytes = (len + UPLOAD_HEAD_BYTES).min(core.sizes.record_max_bytes);
        let is_short = |&head: &SegmentId| core.arena.room(head) < bytes;
        core.populate.is_some() && self.heads.iter().flatten().any(is_short) && self.opens_awaited(len)
    }

    /// Whether the next segment to be opened is being populated. Has it and others populated, as many as so many bytes
    /// of value want.
    fn opens_awaited(&self, bytes: usize) -> bool {
        let core = &*self.core;
        whole(|| self.populate_at_most(bytes.div_ceil(core.sizes.segment_bytes)));
        let next = core.segments.next_untouched().filter(|_| self.growth() > 0);
        next.is_some_and(|next| core.arena.is_being_populated(next))
    }

    /// A figure that changes when memory has been populated.
    #[must_use]
    pub fn populated(&self) -> usize {
        self.core.arena.populated_below()
    }

    /// Whether more has been populated than there is room for: the index has grown, or the limit was lowered. What is
    /// still being populated does not count: it would be resident again after it was given back, and in no count.
    pub(super) fn has_surplus_ahead(&self) -> bool {
        let segments = &self.core.segments;
        segments.last_untouched().is_some_and(|last| {
            segments.untouched() > self.growth() && !self.core.arena.is_being_populated(last)
        })
    }

    /// Gives back a segment's memory that was populated and not used. False where there is none.
    pub(super) fn discard_ahead(&self) -> bool {
        let arena = &self.core.arena;
        self.core.segments.discard_untouched(|segment| {
            let is_ready = !arena.is_being_populated(segment);
            if is_ready {
                arena.forget_populated(segment);
                arena.discard(segment);
            }
            is_ready
        })
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::RefCell;

    use crate::{Config, Put, Store, Untouched};

    thread_local! {
        static GIVEN: RefCell<Vec<Untouched>> = const { RefCell::new(Vec::new()) };
    }

    fn take_note(memory: Untouched) {
        GIVEN.with_borrow_mut(|given| given.push(memory));
    }

    #[test]
    fn what_is_being_populated_is_not_given_back_before_it_is() {
        const LIMIT: usize = 128 << 20;
        let mut store: Store =
            Store::open(&Config { populate: Some(take_note), ..Config::new(LIMIT, 1) }).unwrap();
        for number in 0..4096_u32 {
            let bytes = number.to_le_bytes();
            let key = store.key(&bytes).unwrap();
            assert!(store.put(key, &Put::default(), &[b'v'; 8192], 1).is_ok());
        }
        assert!(store.set_limit(LIMIT / 8));
        assert_ne!(store.core.segments.untouched(), 0);
        assert!(!store.has_surplus_ahead() && !store.discard_ahead());
        for memory in GIVEN.take() {
            memory.populate().unwrap();
        }
        assert!(store.has_surplus_ahead());
        while store.discard_ahead() {}
        assert_eq!(store.core.segments.untouched(), 0);
    }
}
