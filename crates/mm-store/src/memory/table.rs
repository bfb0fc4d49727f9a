//! Tables of cache lines: the index's buckets, and the ghosts.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::digest;
use super::region::{Ground, Region};

/// Slots in a bucket.
pub(crate) const SLOTS: usize = 9;

const LANES: u64 = 0x0001_0001_0001_0001;
const HIGH_BITS: u64 = 0x8000_8000_8000_8000;

/// Nine slots of a location (4 bytes), a tag (2), a mark (half a byte or one) and a bit, and the lock: 64 bytes.
///
/// A slot is empty where its tag is 0. Tags, locations and the seen bits change only under the lock. Readers change
/// marks whenever they like, so marks stand apart from all else: a reader's update can overwrite nothing that a
/// writer put.
#[repr(C, align(64))]
#[derive(Debug)]
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

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is one cache line");

/// Bits of the control byte.
const LOCKED: u8 = 1;
const LAST_SEEN: u8 = 1 << 1;

/// The bits of a slot's mark.
const MARK: u8 = 0xf;

/// How often a shard looks at a lock before it lets others have its processor: the holder may be waiting for it.
const SPINS: u32 = 64;

impl Bucket {
    /// Bit `i` is set where slot `i` may have `tag` (false hits are possible, misses are not).
    #[inline]
    pub(crate) fn candidates(&self, tag: u16) -> u32 {
        let pattern = u64::from(tag).wrapping_mul(LANES);
        let mut hits = 0;
        for (word, shift) in self.tags.iter().zip([0, 4]) {
            let difference = word.load(Ordering::Acquire) ^ pattern;
            let zero_lanes = difference.wrapping_sub(LANES) & !difference & HIGH_BITS;
            hits |= gather_lanes(zero_lanes) << shift;
        }
        hits | u32::from(self.last_tag.load(Ordering::Acquire) == tag) << 8
    }

    /// The first empty slot.
    #[inline]
    pub(crate) fn empty_slot(&self) -> Option<usize> {
        let mut hits = self.candidates(0);
        while hits != 0 {
            let slot = hits.trailing_zeros() as usize;
            if self.tag(slot) == 0 {
                return Some(slot);
            }
            hits &= hits - 1;
        }
        None
    }

    /// How many slots are taken.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (0..SLOTS).filter(|&slot| self.tag(slot) != 0).count()
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
        word.store(others | u64::from(tag) << shift, Ordering::Release);
    }

    /// The location in `slot`.
    #[inline]
    pub(crate) fn location(&self, slot: usize) -> u32 {
        self.locations[slot].load(Ordering::Acquire)
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

    #[inline]
    const fn mark_cell(&self, slot: usize) -> (&AtomicU8, u32) {
        if slot == SLOTS - 1 { (&self.marks[SLOTS - 2], 4) } else { (&self.marks[slot], 0) }
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
        let mut spins = 0;
        while !self.try_lock() {
            spins += 1;
            if spins % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    /// Gives the lock back. The caller has it.
    #[inline]
    pub(crate) fn unlock(&self) {
        let control = self.control.load(Ordering::Relaxed);
        self.control.store(control & !LOCKED, Ordering::Release);
    }
}

/// Moves bits 15, 31, 47 and 63 to bits 0 to 3.
#[inline]
const fn gather_lanes(zero_lanes: u64) -> u32 {
    ((zero_lanes >> 15).wrapping_mul(0x0001_0002_0004_0008) >> 48 & 0xf) as u32
}

/// Ghosts in a line.
pub(crate) const GHOSTS: usize = 31;

/// Fingerprints of 31 keys and the number of the one to be overwritten next: 64 bytes.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct GhostLine {
    fingerprints: [AtomicU16; GHOSTS],
    cursor: AtomicU16,
}

const _: () = assert!(size_of::<GhostLine>() == 64, "a line of ghosts is one cache line");

impl GhostLine {
    /// Puts `fingerprint` in the place of the oldest one.
    pub(crate) fn add(&self, fingerprint: u16) {
        let cursor = self.cursor.load(Ordering::Relaxed);
        let at = usize::from(cursor) % GHOSTS;
        self.fingerprints[at].store(fingerprint, Ordering::Relaxed);
        self.cursor.store(if at + 1 == GHOSTS { 0 } else { cursor + 1 }, Ordering::Relaxed);
    }

    /// Removes `fingerprint`, which is not 0; false where it is not there.
    pub(crate) fn take(&self, fingerprint: u16) -> bool {
        let is_it = |ghost: &&AtomicU16| ghost.load(Ordering::Relaxed) == fingerprint;
        let Some(ghost) = self.fingerprints.iter().find(is_it) else { return false };
        ghost.store(0, Ordering::Relaxed);
        true
    }
}

/// What a table consists of.
///
/// # Safety
/// A value of zero bytes is valid, and the type changes only through atomics.
pub(crate) unsafe trait Line {}

// SAFETY: atomics only, and zero is a valid value of each.
unsafe impl Line for Bucket {}
// SAFETY: atomics only, and zero is a valid value of each.
unsafe impl Line for GhostLine {}

/// A range of address space for lines of which as many are used as are needed. Memory becomes resident line by line as
/// it is written.
#[derive(Debug)]
pub(crate) struct Table<T> {
    region: Region,
    lines: PhantomData<T>,
}

impl<T: Line> Table<T> {
    /// Reserves address space for `lines` lines.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn reserve(lines: usize, huge_pages: bool, ground: &mut Ground<'_>) -> io::Result<Self> {
        let bytes = lines.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { region: ground.region(bytes, huge_pages)?, lines: PhantomData })
    }

    /// How many lines there is address space for.
    pub(crate) const fn capacity(&self) -> usize {
        self.region.len() / size_of::<T>()
    }

    /// Line number `position`.
    ///
    /// # Panics
    /// Where `position` is beyond the capacity.
    #[inline]
    pub(crate) fn line(&self, position: usize) -> &T {
        // SAFETY: by the contract of `Line`.
        let lines = unsafe { self.region.slice_of::<T>() };
        &lines[position]
    }

    /// Brings line `position` near.
    #[inline]
    pub(crate) fn prefetch(&self, position: usize) {
        super::prefetch_read(self.region.address(position * size_of::<T>()));
    }

    /// Gives the memory of lines from `first` up to `end`, which are not used any more, back: whole pages of them.
    pub(crate) fn discard(&self, first: usize, end: usize) {
        // SAFETY: lines are reached by atomics only. Whoever still looks at one of these finds zeros, as if
        // somebody had stored them.
        unsafe { self.region.discard(first * size_of::<T>(), (end - first) * size_of::<T>()) };
    }

    /// A hash of the first `lines` lines.
    pub(crate) fn digest(&mut self, lines: usize) -> u64 {
        // SAFETY: nobody else has the table: it is borrowed by `&mut`.
        digest(unsafe { self.region.bytes(0, lines * size_of::<T>()) })
    }

    /// Makes all lines but the first `lines` zero.
    pub(crate) fn clear_from(&mut self, lines: usize) {
        // SAFETY: nobody else has the table: it is borrowed by `&mut`.
        unsafe { self.region.clear(lines * size_of::<T>()) };
    }
}

#[cfg(test)]
mod tests {
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
            let hits = bucket.candidates(tag_of(slot));
            let exact = (0..SLOTS).filter(|&i| hits >> i & 1 == 1 && bucket.tag(i) == tag_of(slot));
            assert_eq!(exact.collect::<Vec<_>>(), [slot]);
        }
        assert_eq!(bucket.empty_slot(), None);
        bucket.set_tag(5, 0);
        assert_eq!(bucket.empty_slot(), Some(5));
        assert_eq!(bucket.len(), 8);
    }
}
