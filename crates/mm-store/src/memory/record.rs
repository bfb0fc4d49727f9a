//! Records: what a segment holds, byte by byte. docs/store.md draws them.
//!
//! ```text
//! item:    key length u8 | flags u8 | value length u16 | options, 4 bytes each | last access u16 | key | value
//! extent:  0 u8          | flags u8 | 0 u16            | length u32 | next u32 | owner u32 | bytes
//! ```
//! An item's options stand in this order, each only where its flag is set: expiry; client flags; CAS (8 bytes); total
//! length and first extent (of a value that is kept in a chain of extents; the value inside the item is its beginning).
//! Records begin on a granule. The first word, expiry, next and last access change by atomic stores; all else is
//! written before the record is published and never again.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use mm_base::short::copy;

use super::arena::Location;
use super::region::{GUARD_BYTES, Region};
use crate::narrow::to_u32;

/// Bits of a record's flag byte.
pub(crate) mod flag {
    /// The item has an expiry.
    pub(crate) const EXPIRES: u8 = 1;
    /// The item has client flags other than 0.
    pub(crate) const CLIENT_FLAGS: u8 = 1 << 1;
    /// The item keeps its CAS value instead of deriving it from where it stands.
    pub(crate) const CAS: u8 = 1 << 2;
    /// The value goes on in a chain of extents.
    pub(crate) const CHAINED: u8 = 1 << 3;
    /// The key came encoded in base64 (memcached's meta commands) and is answered so.
    pub(crate) const BINARY_KEY: u8 = 1 << 4;
    /// The value is out of date and may be served while somebody fetches a new one.
    pub(crate) const STALE: u8 = 1 << 5;
    /// One reader was told to fetch a new value.
    pub(crate) const WIN_SENT: u8 = 1 << 6;
    /// The record is garbage.
    pub(crate) const DEAD: u8 = 1 << 7;
}

const FIRST_WORD_BYTES: usize = 4;
const LAST_ACCESS_BYTES: usize = 2;
/// Bytes of an extent before its value.
pub(crate) const EXTENT_HEADER_BYTES: usize = 16;
const EXTENT_LEN_AT: usize = 4;
const EXTENT_NEXT_AT: usize = 8;
const EXTENT_OWNER_AT: usize = 12;

/// Sizes of an item record, from its flags and lengths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Which options there are (bits of [`flag`]).
    pub(crate) flags: u8,
    /// Length of the key in bytes, 1 to 250.
    pub(crate) key_len: usize,
    /// Length of the value inside the record in bytes, up to 65,535.
    pub(crate) value_len: usize,
}

impl Layout {
    /// Bytes of the record, before rounding to a granule.
    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        self.value_at() + self.value_len
    }

    #[inline]
    const fn client_flags_at(self) -> usize {
        FIRST_WORD_BYTES + 4 * (self.flags & flag::EXPIRES) as usize
    }

    #[inline]
    const fn cas_at(self) -> usize {
        self.client_flags_at() + if self.flags & flag::CLIENT_FLAGS != 0 { 4 } else { 0 }
    }

    #[inline]
    const fn chain_at(self) -> usize {
        self.cas_at() + if self.flags & flag::CAS != 0 { 8 } else { 0 }
    }

    #[inline]
    const fn last_access_at(self) -> usize {
        LAST_ACCESS_AT[(self.flags & OPTIONS) as usize]
    }

    #[inline]
    const fn key_at(self) -> usize {
        self.last_access_at() + LAST_ACCESS_BYTES
    }

    /// Bytes of the record before its value.
    #[inline]
    pub(crate) const fn value_at(self) -> usize {
        self.key_at() + self.key_len
    }
}

/// The flags of options, which are the lowest.
const OPTIONS: u8 = flag::EXPIRES | flag::CLIENT_FLAGS | flag::CAS | flag::CHAINED;

/// Where the last access stands, by the flags of options.
const LAST_ACCESS_AT: [usize; OPTIONS as usize + 1] = {
    let mut table = [0; OPTIONS as usize + 1];
    let mut flags = 0;
    while flags <= OPTIONS {
        let chain_at = Layout { flags, key_len: 0, value_len: 0 }.chain_at();
        let chain_bytes = if flags & flag::CHAINED != 0 { 8 } else { 0 };
        table[flags as usize] = chain_at + chain_bytes;
        flags += 1;
    }
    table
};

/// Which of the two kinds a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Item,
    Extent,
}

/// The most that a first word can say a record takes: all options, and the longest key and value that fit it.
const RECORD_MAX_BYTES: usize = Layout { flags: OPTIONS, key_len: 0xff, value_len: 0xffff }.bytes();

const _: () = assert!(RECORD_MAX_BYTES <= GUARD_BYTES, "a record ends in the guard at the latest");

/// A record in the arena, with its first word as it was when it was looked up: state that changes later is not seen.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    region: &'a Region,
    start: NonNull<u8>,
    word: u32,
    /// Where an item's last access stands, counted from the start.
    last_access_at: usize,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("offset", &self.offset()).finish_non_exhaustive()
    }
}

impl<'a> Record<'a> {
    /// The record that begins at `offset`. Whatever stands there, what its first word says it takes is memory of the
    /// region or of the guard behind it.
    ///
    /// # Safety
    /// `offset` is a multiple of 4.
    ///
    /// # Panics
    /// Where `offset` is outside the region.
    #[inline(always)]
    pub(super) unsafe fn new(region: &'a Region, offset: usize) -> Self {
        let start = region.at(offset);
        // SAFETY: `at` has checked that it is inside, and the guard is longer than a word; aligned by the contract.
        // Words of records are reached by atomics only, save where a key or a value is.
        let word = unsafe { AtomicU32::from_ptr(start.as_ptr().cast()) }.load(Ordering::Relaxed);
        let flags = (word >> 8 & 0xff) as u8;
        let last_access_at = Layout { flags, key_len: 0, value_len: 0 }.last_access_at();
        Self { region, start, word, last_access_at }
    }

    /// Where it begins in the region.
    fn offset(self) -> usize {
        self.region.offset_of(self.start)
    }

    /// The word `at` bytes into the record.
    #[inline(always)]
    fn word_at(self, at: usize) -> &'a AtomicU32 {
        debug_assert!(at.is_multiple_of(4) && at + 4 <= RECORD_MAX_BYTES, "words are in the head");
        // SAFETY: in the region or the guard by `new`, aligned as all words of heads; the mapping outlives `'a`.
        unsafe { AtomicU32::from_ptr(self.start.add(at).as_ptr().cast()) }
    }

    /// The last access of an item.
    #[inline(always)]
    fn last_access_cell(self) -> &'a AtomicU16 {
        // SAFETY: as for `word_at`; the offset is even.
        unsafe { AtomicU16::from_ptr(self.start.add(self.last_access_at).as_ptr().cast()) }
    }

    /// Where an item's key begins, counted from the start.
    #[inline(always)]
    const fn key_at(self) -> usize {
        self.last_access_at + LAST_ACCESS_BYTES
    }

    #[inline(always)]
    const fn key_len(self) -> usize {
        (self.word & 0xff) as usize
    }

    /// Item or extent.
    #[inline]
    pub(crate) fn kind(self) -> RecordKind {
        if self.word & 0xff == 0 { RecordKind::Extent } else { RecordKind::Item }
    }

    /// The flag byte.
    #[inline]
    pub(crate) fn flags(self) -> u8 {
        (self.word >> 8 & 0xff) as u8
    }

    /// Sets the bits of `set` and clears those of `clear` in the flag byte. Only state bits may change: the option
    /// bits say what the record holds.
    #[inline]
    pub(crate) fn change_flags(self, set: u8, clear: u8) {
        const STATE: u8 = flag::BINARY_KEY | flag::STALE | flag::WIN_SENT | flag::DEAD;
        debug_assert!((set | clear) & !STATE == 0, "option bits never change");
        let word = self.word_at(0);
        let changed = word.load(Ordering::Relaxed) & !(u32::from(clear) << 8) | u32::from(set) << 8;
        word.store(changed, Ordering::Relaxed);
    }

    /// Sizes of an item.
    #[inline]
    pub(crate) fn layout(self) -> Layout {
        Layout { flags: self.flags(), key_len: self.key_len(), value_len: (self.word >> 16) as usize }
    }

    /// Bytes of the record, before rounding to a granule.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        match self.kind() {
            RecordKind::Item => self.item_bytes(),
            RecordKind::Extent => EXTENT_HEADER_BYTES + self.extent_len(),
        }
    }

    /// Bytes of an item's record, before rounding to a granule.
    #[inline(always)]
    pub(crate) const fn item_bytes(self) -> usize {
        self.key_at() + self.key_len() + (self.word >> 16) as usize
    }

    /// The key of an item.
    #[inline(always)]
    pub(crate) fn key(self) -> &'a [u8] {
        // SAFETY: in the region or the guard by `new`; keys are written before the record is published and never again;
        // the borrow of the arena keeps the segment from being reset.
        unsafe { std::slice::from_raw_parts(self.start.add(self.key_at()).as_ptr(), self.key_len()) }
    }

    /// The value inside an item, or the bytes of an extent.
    #[inline]
    pub(crate) fn value(self) -> &'a [u8] {
        let (offset, len) = self.value_range();
        // SAFETY: as for the key, save that it may be outside, which is looked at.
        unsafe { self.region.bytes(offset, len) }
    }

    /// The value inside an item.
    #[inline(always)]
    pub(crate) fn item_value(self) -> &'a [u8] {
        let (at, len) = (self.key_at() + self.key_len(), (self.word >> 16) as usize);
        // SAFETY: as for the key.
        unsafe { std::slice::from_raw_parts(self.start.add(at).as_ptr(), len) }
    }

    /// Where [`Record::value`] lies in the region: offset and length.
    #[inline]
    pub(super) fn value_range(self) -> (usize, usize) {
        match self.kind() {
            RecordKind::Item => {
                let layout = self.layout();
                (self.offset() + layout.value_at(), layout.value_len)
            }
            RecordKind::Extent => (self.offset() + EXTENT_HEADER_BYTES, self.extent_len()),
        }
    }

    /// When the item expires, in the store's seconds; 0 for never.
    #[inline]
    pub(crate) fn expiry(self) -> u32 {
        if self.flags() & flag::EXPIRES == 0 {
            return 0;
        }
        self.word_at(FIRST_WORD_BYTES).load(Ordering::Relaxed)
    }

    /// Changes when the item expires. The record must have the option.
    pub(crate) fn set_expiry(self, expiry: u32) {
        debug_assert!(self.flags() & flag::EXPIRES != 0, "no room for an expiry");
        self.word_at(FIRST_WORD_BYTES).store(expiry, Ordering::Relaxed);
    }

    /// The client's flags.
    #[inline]
    pub(crate) fn client_flags(self) -> u32 {
        let layout = self.layout();
        if layout.flags & flag::CLIENT_FLAGS == 0 {
            return 0;
        }
        self.word_at(layout.client_flags_at()).load(Ordering::Relaxed)
    }

    /// The CAS value that the record keeps, if it keeps one.
    #[inline]
    pub(crate) fn stored_cas(self) -> Option<u64> {
        let layout = self.layout();
        if layout.flags & flag::CAS == 0 {
            return None;
        }
        let at = layout.cas_at();
        let low = self.word_at(at).load(Ordering::Relaxed);
        let high = self.word_at(at + 4).load(Ordering::Relaxed);
        Some(u64::from(low) | u64::from(high) << 32)
    }

    /// Replaces the CAS value of a record that is not published yet and has the option.
    pub(super) fn set_stored_cas(self, cas: u64) {
        let layout = self.layout();
        debug_assert!(layout.flags & flag::CAS != 0, "no room for a CAS value");
        let at = layout.cas_at();
        self.word_at(at).store((cas & 0xffff_ffff) as u32, Ordering::Relaxed);
        self.word_at(at + 4).store((cas >> 32) as u32, Ordering::Relaxed);
    }

    /// Length of the whole value in bytes, extents included.
    #[inline]
    pub(crate) fn total_len(self) -> usize {
        let layout = self.layout();
        if layout.flags & flag::CHAINED == 0 {
            return layout.value_len;
        }
        self.word_at(layout.chain_at()).load(Ordering::Relaxed) as usize
    }

    /// The first extent of an item, the next one of an extent.
    #[inline]
    pub(crate) fn next(self) -> Option<Location> {
        let at = match self.kind() {
            RecordKind::Extent => EXTENT_NEXT_AT,
            RecordKind::Item if self.flags() & flag::CHAINED == 0 => return None,
            RecordKind::Item => self.layout().chain_at() + 4,
        };
        Location::from_raw(self.word_at(at).load(Ordering::Acquire))
    }

    /// Links the next extent.
    pub(crate) fn set_next(self, next: Option<Location>) {
        let at = match self.kind() {
            RecordKind::Extent => EXTENT_NEXT_AT,
            RecordKind::Item => self.layout().chain_at() + 4,
        };
        self.word_at(at).store(next.map_or(0, Location::raw), Ordering::Release);
    }

    /// The item that an extent belongs to.
    pub(crate) fn owner(self) -> Option<Location> {
        Location::from_raw(self.word_at(EXTENT_OWNER_AT).load(Ordering::Acquire))
    }

    /// Says which item an extent belongs to.
    pub(crate) fn set_owner(self, owner: Location) {
        self.word_at(EXTENT_OWNER_AT).store(owner.raw(), Ordering::Release);
    }

    fn extent_len(self) -> usize {
        self.word_at(EXTENT_LEN_AT).load(Ordering::Relaxed) as usize
    }

    /// The last access as it is stored; `segment.rs` gives it a meaning.
    #[inline]
    pub(crate) fn last_access(self) -> u16 {
        self.last_access_cell().load(Ordering::Relaxed)
    }

    /// Stores the last access.
    #[inline]
    pub(crate) fn set_last_access(self, encoded: u16) {
        self.last_access_cell().store(encoded, Ordering::Relaxed);
    }
}

/// What goes into the head of a new item.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Head<'a> {
    pub(crate) key: &'a [u8],
    /// Options and state (bits of [`flag`]); an option's bit decides whether the field below is kept.
    pub(crate) flags: u8,
    pub(crate) expiry: u32,
    pub(crate) client_flags: u32,
    pub(crate) cas: u64,
    /// Length of the value inside the record.
    pub(crate) value_len: usize,
    /// Length of the whole value, of a chained item.
    pub(crate) total_len: usize,
    /// Last access as it is stored.
    pub(crate) last_access: u16,
}

impl Head<'_> {
    /// Sizes of the record to be.
    #[inline]
    pub(crate) const fn layout(&self) -> Layout {
        Layout { flags: self.flags, key_len: self.key.len(), value_len: self.value_len }
    }
}

/// Writes the head of a new item at `start`, all but the value.
///
/// # Safety
/// `start` is a multiple of 4, and the bytes of the layout behind it are memory of a region, and nobody else's.
#[inline(always)]
pub(super) unsafe fn write_head(start: NonNull<u8>, head: &Head<'_>) {
    let layout = head.layout();
    let word = to_u32(head.key.len()) | u32::from(head.flags) << 8 | to_u32(head.value_len) << 16;
    // SAFETY: inside the layout and aligned, which all words of heads are; by the contract.
    let put = |at: usize, value: u32| unsafe {
        AtomicU32::from_ptr(start.add(at).as_ptr().cast()).store(value, Ordering::Relaxed);
    };
    put(0, word);
    if head.flags & flag::EXPIRES != 0 {
        put(FIRST_WORD_BYTES, head.expiry);
    }
    if head.flags & flag::CLIENT_FLAGS != 0 {
        put(layout.client_flags_at(), head.client_flags);
    }
    if head.flags & flag::CAS != 0 {
        put(layout.cas_at(), (head.cas & 0xffff_ffff) as u32);
        put(layout.cas_at() + 4, (head.cas >> 32) as u32);
    }
    if head.flags & flag::CHAINED != 0 {
        put(layout.chain_at(), to_u32(head.total_len));
        put(layout.chain_at() + 4, 0);
    }
    // SAFETY: inside the layout, and even.
    unsafe { AtomicU16::from_ptr(start.add(layout.last_access_at()).as_ptr().cast()) }
        .store(head.last_access, Ordering::Relaxed);
    // SAFETY: the bytes are inside the layout and the caller's alone.
    let key = unsafe { std::slice::from_raw_parts_mut(start.add(layout.key_at()).as_ptr(), head.key.len()) };
    copy(key, head.key);
}

/// Writes the header of a new extent of `len` bytes at `offset`; it has no next and no owner yet.
pub(super) fn write_extent_header(region: &Region, offset: usize, len: usize) {
    for (at, value) in [(0, 0), (EXTENT_LEN_AT, to_u32(len)), (EXTENT_NEXT_AT, 0), (EXTENT_OWNER_AT, 0)] {
        region.word(offset + at).store(value, Ordering::Relaxed);
    }
}
