//! What tables consist of: the index's buckets, and lines of ghosts.

use super::lanes;
use crate::narrow::to_u16;
use crate::primitive::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, pause, yield_now};

/// Slots in a bucket.
pub(crate) const SLOTS: usize = 9;

/// Nine slots of a location (4 bytes), a tag (2), a mark (half a byte or one) and a bit, and the lock: 64 bytes.
///
/// A slot is empty where its tag is 0. Tags, locations and the seen bits change only under the lock. Readers change
/// marks whenever they like, so marks stand apart from all else: a reader's update can overwrite nothing that a
/// writer put.
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
pub(crate) struct Bucket {
    tags: [AtomicU64; 2],
    last_tag: AtomicU16,
    /// The lock, and the seen bit of the last slot.
    control: AtomicU8,
    /// The seen bits of the other slots.
    seen: AtomicU8,
    locations: [AtomicU32; SLOTS],
    /// The last byte serves the last two slots.
    marks: [AtomicU8; SLOTS - 1],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is one cache line");

/// Bits of the control byte.
const LOCKED: u8 = 1;
const LAST_SEEN: u8 = 1 << 1;

/// The bits of a slot's mark.
const MARK: u8 = 0xf;

/// For how many pauses a shard waits before it looks at a lock again: twice as many each time, from the first number to
/// the second. Whoever has the lock meanwhile, and wants it again, keeps the cache lines that go with it.
const PAUSES: [u32; 2] = if cfg!(loom) { [1, 1] } else { [4, 64] };

impl Bucket {
    /// Bit `i` is set where slot `i` has `tag`.
    #[inline(always)]
    pub(crate) fn slots_with(&self, tag: u16) -> u32 {
        let words = [self.tags[0].load(Ordering::Acquire), self.tags[1].load(Ordering::Acquire)];
        lanes::equal_to(words, tag) | u32::from(self.last_tag.load(Ordering::Acquire) == tag) << lanes::LANES
    }

    /// The first empty slot.
    #[inline]
    pub(crate) fn empty_slot(&self) -> Option<usize> {
        let empty = self.slots_with(0);
        (empty != 0).then(|| empty.trailing_zeros() as usize)
    }

    /// How many slots are taken.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        SLOTS - self.slots_with(0).count_ones() as usize
    }

    /// The tag of `slot`, 0 where it is empty.
    #[inline]
    pub(crate) fn tag(&self, slot: usize) -> u16 {
        if slot == SLOTS - 1 {
            return self.last_tag.load(Ordering::Relaxed);
        }
        let word = self.tags[slot / 4].load(Ordering::Relaxed);
        (word >> (slot % 4 * 16) & 0xffff) as u16
    }

    /// Sets the tag of `slot`.
    #[inline]
    pub(crate) fn set_tag(&self, slot: usize, tag: u16) {
        if slot == SLOTS - 1 {
            return self.last_tag.store(tag, Ordering::Release);
        }
        let (word, shift) = (&self.tags[slot / 4], slot % 4 * 16);
        let others = word.load(Ordering::Relaxed) & !(0xffff << shift);
        let is_weak = mm_base::canary!("tag without release", 1);
        word.store(
            others | u64::from(tag) << shift,
            if is_weak { Ordering::Relaxed } else { Ordering::Release },
        );
    }

    /// The location in `slot`.
    #[inline]
    pub(crate) fn location(&self, slot: usize) -> u32 {
        self.locations[slot].load(Ordering::Acquire)
    }

    /// The same; `None` where there is no such slot.
    #[inline]
    pub(crate) fn location_if_any(&self, slot: usize) -> Option<u32> {
        self.locations.get(slot).map(|location| location.load(Ordering::Acquire))
    }

    /// Sets the location in `slot`.
    #[inline]
    pub(crate) fn set_location(&self, slot: usize, location: u32) {
        self.locations[slot].store(location, Ordering::Release);
    }

    /// The mark of `slot`: four bits.
    #[inline]
    pub(crate) fn mark(&self, slot: usize) -> u8 {
        let (cell, shift) = self.mark_cell(slot);
        cell.load(Ordering::Relaxed) >> shift & MARK
    }

    /// Sets the mark of `slot`. Of two who do so at a time one may be forgotten.
    #[inline]
    pub(crate) fn set_mark(&self, slot: usize, mark: u8) {
        debug_assert!(mark & !MARK == 0, "a mark has four bits");
        let (cell, shift) = self.mark_cell(slot);
        let whole = if slot < SLOTS - 2 {
            mark
        } else {
            cell.load(Ordering::Relaxed) & !(MARK << shift) | mark << shift
        };
        cell.store(whole, Ordering::Relaxed);
    }

    /// The byte with the mark of `slot`, and where in it. There is no slot behind the last one.
    #[inline(always)]
    fn mark_cell(&self, slot: usize) -> (&AtomicU8, u32) {
        (&self.marks[slot.min(SLOTS - 2)], if slot >= SLOTS - 1 { 4 } else { 0 })
    }

    /// The seen bit of `slot`.
    #[inline]
    pub(crate) fn is_seen(&self, slot: usize) -> bool {
        if slot == SLOTS - 1 {
            return self.control.load(Ordering::Acquire) & LAST_SEEN != 0;
        }
        self.seen.load(Ordering::Acquire) >> slot & 1 != 0
    }

    /// Sets the seen bit of `slot`. The caller has the lock.
    #[inline]
    pub(crate) fn set_seen(&self, slot: usize, is_seen: bool) {
        let (cell, bit) =
            if slot == SLOTS - 1 { (&self.control, LAST_SEEN) } else { (&self.seen, 1 << slot) };
        let before = cell.load(Ordering::Relaxed);
        let after = if is_seen { before | bit } else { before & !bit };
        if after != before {
            cell.store(after, Ordering::Release);
        }
    }

    /// Takes the lock if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        let control = self.control.load(Ordering::Relaxed);
        control & LOCKED == 0
            && self
                .control
                .compare_exchange(control, control | LOCKED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Takes the lock as soon as nobody has it.
    #[inline]
    pub(crate) fn lock(&self) {
        self.lock_after(0);
    }

    /// The same for who lets others have it for at least so many pauses.
    #[inline(always)]
    pub(crate) fn lock_after(&self, pauses: u32) {
        if !self.try_lock() {
            let [least, most] = PAUSES;
            self.wait(pauses.max(least), most.max(pauses));
        }
    }

    /// Waits for so many pauses before each look at the lock, from `pauses` to `most`.
    #[cold]
    fn wait(&self, mut pauses: u32, most: u32) {
        loop {
            if pauses > most {
                // Who has it may be waiting for this processor.
                yield_now();
            } else {
                (0..pauses).for_each(|_| pause());
                pauses *= 2;
            }
            if self.try_lock() {
                return;
            }
        }
    }

    /// Gives the lock back. The caller has it.
    #[inline]
    pub(crate) fn unlock(&self) {
        let control = self.control.load(Ordering::Relaxed);
        self.control.store(control & !LOCKED, Ordering::Release);
    }
}

/// Ghosts in a line.
pub(crate) const GHOSTS: usize = 31;

/// Fingerprints of 31 keys and, behind them, the number of the one to be overwritten next: 64 bytes, four numbers in
/// each word. Of two who change a word at a time one may be forgotten.
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
pub(crate) struct GhostLine {
    words: [AtomicU64; (GHOSTS + 1) / WORD],
}

/// Numbers in a word.
const WORD: usize = 4;

#[cfg(not(loom))]
const _: () = assert!(size_of::<GhostLine>() == 64, "a line of ghosts is one cache line");

impl GhostLine {
    /// Puts `fingerprint` in the place of the oldest one.
    pub(crate) fn add(&self, fingerprint: u16) {
        let at = self.cursor();
        self.set(at, fingerprint);
        self.set(GHOSTS, to_u16((at + 1) % GHOSTS));
    }

    /// Removes `fingerprint`, which is not 0. Returns how many others of the line have been put down since; `None`
    /// where it is not there.
    #[inline]
    pub(crate) fn take(&self, fingerprint: u16) -> Option<usize> {
        let mut found = 0;
        for (pair, words) in self.words.chunks_exact(2).enumerate() {
            let words = [words[0].load(Ordering::Relaxed), words[1].load(Ordering::Relaxed)];
            found |= lanes::equal_to(words, fingerprint) << (pair * lanes::LANES);
        }
        // The last number is none of them.
        let at = (found & !(1 << GHOSTS)).trailing_zeros() as usize;
        if at >= GHOSTS {
            return None;
        }
        self.set(at, 0);
        Some((self.cursor() + GHOSTS - 1 - at) % GHOSTS)
    }

    #[inline]
    fn cursor(&self) -> usize {
        let last = self.words[GHOSTS / WORD].load(Ordering::Relaxed);
        (last >> (GHOSTS % WORD * 16)) as usize % GHOSTS
    }

    #[inline]
    fn set(&self, at: usize, number: u16) {
        let (word, shift) = (&self.words[at / WORD], at % WORD * 16);
        let others = word.load(Ordering::Relaxed) & !(0xffff << shift);
        word.store(others | u64::from(number) << shift, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::{Ground, Table};
    use super::*;

    fn tag_of(slot: usize) -> u16 {
        0x8001 + u16::try_from(slot).unwrap()
    }

    #[test]
    fn every_slot_is_found_by_its_tag_and_nowhere_else() {
        let table = Table::<Bucket>::reserve(1, false, &mut Ground::own()).unwrap();
        let bucket = table.line(0);
        for slot in 0..SLOTS {
            bucket.set_tag(slot, tag_of(slot));
        }
        for slot in 0..SLOTS {
            assert_eq!(bucket.slots_with(tag_of(slot)), 1 << slot);
        }
        assert_eq!(bucket.empty_slot(), None);
        bucket.set_tag(5, 0);
        assert_eq!(bucket.empty_slot(), Some(5));
        assert_eq!(bucket.len(), 8);
    }
}
