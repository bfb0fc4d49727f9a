//! What becomes of the items of a segment that is being emptied.

use super::{Found, Store, is_expired};
use crate::index::mark;
use crate::limits::{BAR_LOW_YIELD, BAR_MAX, BAR_PATIENCE, BAR_SEGMENTS, STAY_AFTER_SMALL, STAY_IN_MAIN};
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

/// How much more than usual an item has to be read to stay.
///
/// Where all that lives was read lately (a dump, a warm-up), segment after segment would be copied whole, and a write
/// would wait until all of memory had been gone through. So while only the reserve is left, the bar rises with what was
/// moved out of segments that gave little, and at its highest nothing stays.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bar {
    height: u64,
    /// How many records were moved out of segments that gave little, and how many such segments there were.
    in_vain: u64,
    segments_in_vain: u64,
    /// Bytes that lived in the segment when it was begun.
    live: usize,
    /// Bytes and records moved until then.
    moved_bytes: u64,
    moved: u64,
}

impl<S: Sharing> Store<S> {
    /// Whether the next segment for writes would have to come out of the reserve.
    pub(super) fn is_late(&self) -> bool {
        self.available() + self.waiting <= self.core.reserve_segments()
    }

    /// Whether more than usual is asked of items.
    pub(super) fn has_bar(&self) -> bool {
        self.bar.height != 0 && self.is_late()
    }

    /// A segment in which so many bytes live begins to be emptied.
    pub(super) fn begin_fates(&mut self, live: usize) {
        let (moved_bytes, moved) = (self.counters().moved_bytes.get(), self.counters().moved.get());
        self.bar = Bar { live, moved_bytes, moved, ..self.bar };
    }

    /// All of the segment's fates are decided.
    pub(super) fn end_fates(&mut self) {
        if !self.is_late() {
            (self.bar.height, self.bar.in_vain, self.bar.segments_in_vain) = (0, 0, 0);
        } else if !self.leaving.compact {
            let moved = self.counters().moved_bytes.get() - self.bar.moved_bytes;
            let has_low_yield = moved * BAR_LOW_YIELD > self.bar.live as u64 * (BAR_LOW_YIELD - 1);
            if has_low_yield {
                self.bar.in_vain += self.counters().moved.get() - self.bar.moved;
                self.bar.segments_in_vain += 1;
                let height = (self.bar.in_vain / BAR_PATIENCE).max(self.bar.segments_in_vain / BAR_SEGMENTS);
                self.bar.height = height.min(BAR_MAX);
            }
        }
    }

    pub(super) fn fate(&mut self, found: Found) -> Fate {
        if self.is_flushed(found.location) || is_expired(self.core.arena.record(found.location), self.now_s) {
            return Fate::Reclaim;
        }
        let old_mark = self.core.index.mark(found.slot);
        let frequency = old_mark & mark::FREQUENCY;
        let others = old_mark & !mark::FREQUENCY;
        let queue = self.core.segments.get(self.core.arena.segment_of(found.location)).queue();
        if self.leaving.compact {
            return Fate::Move(queue, old_mark);
        }
        match queue {
            Queue::Small if self.is_worth(found.location, frequency, STAY_AFTER_SMALL) => {
                self.admission.was_read();
                if self.is_above_bar(found.location, frequency, STAY_AFTER_SMALL) {
                    Fate::Move(Queue::Main, others)
                } else {
                    Fate::Evict
                }
            }
            Queue::Small if self.is_lucky(found.location, frequency) => Fate::Move(Queue::Main, others),
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
        match self.bar.height {
            0 => true,
            BAR_MAX.. => false,
            height => self.is_worth(location, frequency, needed + height),
        }
    }

    /// Whether an item that was not read enough goes to main all the same.
    fn is_lucky(&mut self, location: Location, frequency: u8) -> bool {
        let may_be =
            frequency == 0 && self.bar.height == 0 && self.item_bytes(location) <= self.leaving.mean_bytes;
        self.admission.is_lucky(may_be)
    }

    /// The mean of what an item takes.
    pub(super) fn mean_bytes(&self) -> u64 {
        let resident_bytes = self.core.segments.resident() as u64 * self.core.sizes.segment_bytes as u64;
        resident_bytes / (self.items() as u64).max(1)
    }
}
