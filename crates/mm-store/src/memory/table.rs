//! Tables of cache lines: the index's buckets, and the ghosts.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::region::Region;

/// Slots in a bucket.
pub(crate) const SLOTS: usize = 9;

const LANES: u64 = 0x0001_0001_0001_0001;
const HIGH_BITS: u64 = 0x8000_8000_8000_8000;

/// Nine slots of a location (4 bytes), a tag (2) and a mark byte (1), and one control byte: 64 bytes.
///
/// A slot is empty where its tag is 0. The mark byte stands apart from location and tag, so that a reader's update of
/// it can never overwrite what a writer put.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Bucket {
    tags: [AtomicU64; 2],
    last_tag: AtomicU16,
    /// Lock and version of the bucket, for stores that several shards write.
    _control: AtomicU8,
    last_mark: AtomicU8,
    locations: [AtomicU32; SLOTS],
    marks: [AtomicU8; SLOTS - 1],
}

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is one cache line");

impl Bucket {
    /// Bit `i` is set where slot `i` may have `tag` (false hits are possible, misses are not).
    #[inline]
    pub(crate) fn candidates(&self, tag: u16) -> u32 {
        let pattern = u64::from(tag).wrapping_mul(LANES);
        let mut hits = 0;
        for (word, shift) in self.tags.iter().zip([0, 4]) {
            let difference = word.load(Ordering::Relaxed) ^ pattern;
            let zero_lanes = difference.wrapping_sub(LANES) & !difference & HIGH_BITS;
            hits |= gather_lanes(zero_lanes) << shift;
        }
        hits | u32::from(self.last_tag.load(Ordering::Relaxed) == tag) << 8
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
            return self.last_tag.store(tag, Ordering::Relaxed);
        }
        let (word, shift) = (&self.tags[slot / 4], slot % 4 * 16);
        let others = word.load(Ordering::Relaxed) & !(0xffff << shift);
        word.store(others | u64::from(tag) << shift, Ordering::Relaxed);
    }

    /// The location in `slot`.
    #[inline]
    pub(crate) fn location(&self, slot: usize) -> u32 {
        self.locations[slot].load(Ordering::Relaxed)
    }

    /// Sets the location in `slot`.
    #[inline]
    pub(crate) fn set_location(&self, slot: usize, location: u32) {
        self.locations[slot].store(location, Ordering::Relaxed);
    }

    /// The mark byte of `slot`.
    #[inline]
    pub(crate) fn mark(&self, slot: usize) -> u8 {
        self.mark_cell(slot).load(Ordering::Relaxed)
    }

    /// Sets the mark byte of `slot`.
    #[inline]
    pub(crate) fn set_mark(&self, slot: usize, mark: u8) {
        self.mark_cell(slot).store(mark, Ordering::Relaxed);
    }

    #[inline]
    fn mark_cell(&self, slot: usize) -> &AtomicU8 {
        if slot == SLOTS - 1 { &self.last_mark } else { &self.marks[slot] }
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
    pub(crate) fn reserve(lines: usize, huge_pages: bool) -> io::Result<Self> {
        let bytes = lines.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { region: Region::reserve(bytes, huge_pages)?, lines: PhantomData })
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
    pub(crate) fn discard(&mut self, first: usize, end: usize) {
        // SAFETY: lines are borrowed from `&self`, and this is `&mut self`: no slice is alive.
        unsafe { self.region.discard(first * size_of::<T>(), (end - first) * size_of::<T>()) };
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
        let table = Table::<Bucket>::reserve(1, false).unwrap();
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
