//! What becomes of the items of a segment that is being emptied.

use super::{Found, Store, is_expired};
use crate::index::mark;
use crate::limits::{BAR_MAX, SMALL_ITEM_SHARE, STAY_AFTER_SMALL, STAY_IN_MAIN, WORK_PER_RECORD_BYTES};
use crate::memory::Location;
use crate::segment::Queue;
use crate::sharing::Sharing;

/// What becomes of a record whose segment is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its time is over.
    Reclaim,
    /// It makes room for others.
    Evict,
    /// It moves to the end of this queue, with this mark.
    Move(Queue, u8),
}

impl<S: Sharing> Store<S> {
    /// Whether the next segment for writes would have to come out of the reserve.
    pub(super) fn is_late(&self) -> bool {
        self.available() + self.waiting <= self.core.reserve_segments()
    }

    /// Whether more than usual is asked of items.
    pub(super) const fn has_bar(&self) -> bool {
        self.bar != 0
    }

    /// Sets how much more than usual an item has to be read to stay.
    ///
    /// Where all that lives was read lately (a dump, a warm-up), segment after segment would be copied whole, and a
    /// write would wait until all of memory had been gone through. So while only the reserve is left, the bar rises
    /// with each quarter of a segment by which there is less room in the open ones, and at its highest nothing stays.
    ///
    /// A large value takes so long by itself that there is time to look for what is worth least, among items whose
    /// bytes are most of what it costs to move them.
    pub(super) fn set_bar(&mut self) {
        self.bar = 0;
        if !self.is_late() {
            return;
        }
        let mean_bytes = self.mean_bytes();
        let has_grace = mean_bytes >= WORK_PER_RECORD_BYTES as u64 && self.work.get() < self.grace;
        if !has_grace {
            // A rest that may be too short for a record is none.
            let record = (self.core.sizes.record_max_bytes as u64).min(2 * mean_bytes);
            let room: u64 = self.rooms().map(|room| (room as u64).saturating_sub(record)).sum();
            self.bar = BAR_MAX.saturating_sub(room * 4 / self.core.sizes.segment_bytes as u64);
        }
    }

    pub(super) fn fate(&mut self, found: Found) -> Fate {
        if self.is_flushed(found.location) || is_expired(self.core.arena.record(found.location), self.now_s) {
            return Fate::Reclaim;
        }
        let old_mark = self.core.index.mark(found.slot);
        let frequency = old_mark & mark::FREQUENCY;
        let others = old_mark & !(mark::FREQUENCY | mark::RETURNED);
        let queue = self.core.segments.get(self.core.arena.segment_of(found.location)).queue();
        if self.leaving.compact {
            return Fate::Move(queue, old_mark);
        }
        if old_mark & mark::RETURNED != 0 {
            self.admission.returned_decided(frequency != 0);
        }
        match queue {
            Queue::Small if self.is_worth(found.location, frequency, STAY_AFTER_SMALL) => {
                self.admission.was_read();
                if self.is_above_bar(found.location, frequency, STAY_AFTER_SMALL) {
                    Fate::Move(Queue::Main, others | self.head_start(found.location))
                } else {
                    Fate::Evict
                }
            }
            Queue::Small if self.is_let_in(found.location, frequency) => {
                Fate::Move(Queue::Main, others | self.head_start(found.location))
            }
            Queue::Main if self.is_worth(found.location, frequency, STAY_IN_MAIN) => {
                self.admission.main_decided(true);
                if self.is_above_bar(found.location, frequency, STAY_IN_MAIN) {
                    Fate::Move(Queue::Main, others | (frequency - 1))
                } else {
                    Fate::Evict
                }
            }
            Queue::Main => {
                self.admission.main_decided(false);
                Fate::Evict
            }
            Queue::Small => Fate::Evict,
        }
    }

    /// Whether an item was read often enough for its size: `frequency * sqrt(mean size / size) >= needed`. Small items
    /// stay on fewer reads and large ones on more, which gives more hits for the same memory.
    fn is_worth(&self, location: Location, frequency: u8, needed: u64) -> bool {
        let frequency = u64::from(frequency);
        frequency * frequency * self.leaving.mean_bytes >= needed * needed * self.item_bytes(location)
            && frequency != 0
    }

    fn is_above_bar(&self, location: Location, frequency: u8, needed: u64) -> bool {
        match self.bar {
            0 => true,
            BAR_MAX.. => false,
            height => self.is_worth(location, frequency, needed + height),
        }
    }

    /// As how often read an item counts for its size alone when it comes to main: many small ones stay there for what
    /// a single one of mean size takes.
    fn head_start(&self, location: Location) -> u8 {
        let (bytes, mean_bytes) = (self.item_bytes(location), self.leaving.mean_bytes);
        u8::from(bytes * SMALL_ITEM_SHARE <= mean_bytes)
            + u8::from(bytes * SMALL_ITEM_SHARE * SMALL_ITEM_SHARE <= mean_bytes)
    }

    /// Whether an item that was not read enough goes to main all the same: all small ones do, and some others.
    fn is_let_in(&mut self, location: Location, frequency: u8) -> bool {
        if self.bar == 0 && self.head_start(location) != 0 {
            return true;
        }
        let may_be = frequency == 0 && self.bar == 0 && self.item_bytes(location) <= self.leaving.mean_bytes;
        self.admission.is_lucky(may_be)
    }

    /// The mean of what an item takes.
    pub(super) fn mean_bytes(&self) -> u64 {
        let resident_bytes = self.core.segments.resident() as u64 * self.core.sizes.segment_bytes as u64;
        resident_bytes / (self.items() as u64).max(1)
    }
}
