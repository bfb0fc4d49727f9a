//! Segments of records: append, read, reset.

mod append;
pub(super) mod keep;

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use super::epoch::Epochs;
use crate::primitive::{AtomicU32, AtomicU64, AtomicUsize, Ordering, StaticU64};

use super::record::{Record, flag};
use super::region::{Ground, Region};
use crate::narrow::to_u32;
use crate::sharing::{Apart, Sharing};

/// Where a record stands, in granules from the start of the arena. Never zero: the first segment is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location(NonZeroU32);

impl Location {
    /// The location in an index slot, `None` for the empty slot's 0.
    #[inline]
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Self)
    }

    /// As an index slot keeps it.
    #[inline]
    pub(crate) const fn raw(self) -> u32 {
        self.0.get()
    }
}

/// Number of a segment, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u32);

impl SegmentId {
    /// As an index into tables of segments.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Sizes of an arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArenaConfig {
    /// How many segments there is address space for.
    pub(crate) segments: u32,
    /// Bytes of a segment, a power of two.
    pub(crate) segment_bytes: usize,
    /// Bytes of a granule, a power of two from 4.
    pub(crate) granule_bytes: usize,
    /// Whether huge pages are asked for.
    pub(crate) huge_pages: bool,
    /// How many shards work on it.
    pub(crate) shards: usize,
}

/// The mapping, shared with the pins in it.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) region: Region,
    /// Pins for each segment. They keep it from being reset.
    pub(super) pins: Box<[AtomicU32]>,
    /// All pins.
    pub(super) pinned: Apart<AtomicU32>,
    /// What was given away as [`super::Untouched`] is done with below this offset: populated, or given up.
    pub(super) populated_below: Apart<AtomicUsize>,
}

/// A record that is being written: nobody else can reach it. Ends by `publish` or `abandon`.
#[derive(Debug)]
#[must_use = "an open record keeps its segment from being reused"]
pub(crate) struct OpenRecord {
    /// The arena that it stands in.
    arena: u64,
    location: Location,
    value_at: usize,
    value_len: usize,
    /// It ends where it began: only one shard counts the open records of a segment.
    not_send: PhantomData<*const ()>,
}

/// The right of one shard to append records. A segment is appended to by the writer that opened it, and by no other.
#[derive(Debug)]
pub(crate) struct Writer {
    arena: u64,
    /// From 1.
    number: u32,
    /// One thread at a time has it.
    not_sync: PhantomData<Cell<()>>,
}

/// No writer has the segment open.
const NO_WRITER: u32 = 0;

/// One segment's state in the arena, in a cache line of its own: whoever appends to a segment writes it each time, and
/// another shard appends to the next one.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Fill {
    /// Bytes handed out since the last reset. Whoever sees them sees the heads of their records.
    used: AtomicU32,
    /// Records being written.
    open: AtomicU32,
    /// The number of the writer that appends.
    writer: AtomicU32,
    /// Since when nobody can find its records, as an epoch; 0 for the others.
    retired: AtomicU64,
}

impl OpenRecord {
    /// Where the record will be.
    pub(crate) const fn location(&self) -> Location {
        self.location
    }

    /// Bytes of value that the record takes.
    pub(crate) const fn value_len(&self) -> usize {
        self.value_len
    }
}

/// How many arenas were made: their numbers.
static ARENAS: StaticU64 = StaticU64::new(0);

const CACHE_LINE_BYTES: usize = 64;

/// Bytes that the arena keeps for each segment.
pub(crate) const SEGMENT_FILL_BYTES: usize = size_of::<Fill>() + size_of::<AtomicU32>();

/// Segments of records in one range of memory.
#[derive(Debug)]
pub(crate) struct Arena {
    /// No other arena of the process has it.
    number: u64,
    mapping: Arc<Mapping>,
    config: ArenaConfig,
    granule_shift: u32,
    segment_shift: u32,
    /// The logarithm of the granules in a segment.
    granules_shift: u32,
    fills: Box<[Fill]>,
    epochs: Epochs,
    /// How many writers were made.
    writers: AtomicU32,
}

impl Arena {
    /// Reserves address space; nothing becomes resident yet.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn new(config: ArenaConfig, ground: &mut Ground<'_>) -> io::Result<Self> {
        if !config.granule_bytes.is_power_of_two() || config.granule_bytes < 4 {
            // Records have whole words.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let slots = config.segments as usize + 1;
        // Where an address has 32 bits, that may be more than there are.
        let bytes = slots.checked_mul(config.segment_bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        let region = ground.region(bytes, config.huge_pages)?;
        let pins = (0..slots).map(|_| AtomicU32::new(0)).collect();
        Ok(Self {
            number: ARENAS.fetch_add(1, Ordering::Relaxed),
            mapping: Arc::new(Mapping {
                region,
                pins,
                pinned: Apart::default(),
                populated_below: Apart::default(),
            }),
            config,
            granule_shift: config.granule_bytes.trailing_zeros(),
            segment_shift: config.segment_bytes.trailing_zeros(),
            granules_shift: (config.segment_bytes / config.granule_bytes).trailing_zeros(),
            fills: (0..slots).map(|_| Fill::default()).collect(),
            epochs: Epochs::new(config.shards),
            writers: AtomicU32::new(NO_WRITER),
        })
    }

    /// A writer that no other call has returned.
    pub(crate) fn writer(&self) -> Writer {
        let number = self.writers.fetch_add(1, Ordering::Relaxed) + 1;
        Writer { arena: self.number, number, not_sync: PhantomData }
    }

    /// When shards work on the arena.
    #[inline]
    pub(crate) const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    pub(super) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Bytes of a segment.
    pub(crate) const fn segment_bytes(&self) -> usize {
        self.config.segment_bytes
    }

    /// `bytes` rounded up to whole granules.
    #[inline]
    pub(crate) const fn rounded(&self, bytes: usize) -> usize {
        (bytes + self.config.granule_bytes - 1) & !(self.config.granule_bytes - 1)
    }

    /// The segment that holds `location`.
    #[inline]
    pub(crate) const fn segment_of(&self, location: Location) -> SegmentId {
        SegmentId(location.raw() >> self.granules_shift)
    }

    /// Granules between the start of its segment and `location`.
    #[inline]
    pub(crate) const fn granule_in_segment(&self, location: Location) -> u32 {
        to_u32((self.offset(location) & (self.config.segment_bytes - 1)) >> self.granule_shift)
    }

    /// Granules of a segment.
    pub(crate) const fn granules_per_segment(&self) -> u32 {
        to_u32(self.config.segment_bytes >> self.granule_shift)
    }

    /// Where the next record of `segment` will begin, in granules from the segment's start.
    #[inline]
    pub(crate) fn next_granule(&self, segment: SegmentId) -> u32 {
        to_u32(self.used(segment)) >> self.granule_shift
    }

    #[inline]
    const fn offset(&self, location: Location) -> usize {
        (location.raw() as usize) << self.granule_shift
    }

    /// Bytes handed out in `segment`.
    #[inline]
    pub(crate) fn used(&self, segment: SegmentId) -> usize {
        self.fills[segment.index()].used.load(Ordering::Acquire) as usize
    }

    /// Bytes that `segment` still has room for.
    #[inline]
    pub(crate) fn room(&self, segment: SegmentId) -> usize {
        self.config.segment_bytes - self.used(segment)
    }

    /// Whether a pin or an open record keeps `segment` from being reset.
    pub(crate) fn is_held(&self, segment: SegmentId) -> bool {
        if mm_base::canary!("pin ignored", 1) {
            return false;
        }
        self.fills[segment.index()].open.load(Ordering::Acquire) != 0
            || self.mapping.pins[segment.index()].load(Ordering::Acquire) != 0
    }

    /// Makes `segment`, which is empty, one that `writer` appends to.
    ///
    /// # Panics
    /// Where another writer has it open, or the writer is another arena's.
    pub(crate) fn open<S: Sharing>(&self, writer: &mut Writer, segment: SegmentId) {
        assert!(segment.0 != 0, "segment 0 stands for no location");
        assert!(writer.arena == self.number, "another store's writer");
        let cell = &self.fills[segment.index()].writer;
        let before = if S::IS_SHARED {
            cell.swap(writer.number, Ordering::AcqRel)
        } else {
            // The only writer has only this thread.
            let before = cell.load(Ordering::Relaxed);
            cell.store(writer.number, Ordering::Relaxed);
            before
        };
        assert!(before == NO_WRITER, "a segment has one writer");
    }

    /// `writer` has done with `segment`.
    pub(crate) fn close(&self, writer: &mut Writer, segment: SegmentId) {
        self.assert_open(writer, segment);
        self.fills[segment.index()].writer.store(NO_WRITER, Ordering::Release);
    }

    #[inline(always)]
    fn assert_open(&self, writer: &Writer, segment: SegmentId) {
        let is_its = self.fills[segment.index()].writer.load(Ordering::Relaxed) == writer.number;
        assert!(is_its && writer.arena == self.number, "the segment is another writer's");
    }

    /// The location of a record that begins at `offset`.
    #[inline]
    fn location_at(&self, offset: usize) -> Location {
        let granule = to_u32(offset >> self.granule_shift);
        Location(NonZeroU32::new(granule).unwrap_or(NonZeroU32::MIN))
    }

    /// The value of an open record, for writing.
    ///
    /// # Panics
    /// Where the record is another arena's.
    #[inline]
    pub(crate) fn value_mut<'a>(&'a self, record: &'a mut OpenRecord) -> &'a mut [u8] {
        self.assert_own(record);
        // SAFETY: the record is open and this arena's, so its bytes were handed out to its holder alone, and the
        // `&mut` borrow of the record allows one slice at a time.
        unsafe { self.mapping.region.bytes_mut(record.value_at, record.value_len) }
    }

    /// Copies value bytes of the record at `from` to byte `at` of an open record. That at `from` is published, or open
    /// and written by nobody meanwhile.
    ///
    /// # Panics
    /// Where either range is outside its value.
    pub(crate) fn copy_value(&self, record: &mut OpenRecord, at: usize, from: Location, range: Range<usize>) {
        let (offset, len) = self.record(from).value_range();
        assert!(range.start <= range.end && range.end <= len, "source range outside the value");
        assert!(from != record.location, "a record is not copied to itself");
        // SAFETY: value bytes are written through their own open record only. That is another one, which nobody writes
        // to, so they are not written meanwhile, and the two ranges do not overlap.
        let source = unsafe { self.mapping.region.bytes(offset + range.start, range.len()) };
        self.value_mut(record)[at..at + source.len()].copy_from_slice(source);
    }

    /// Replaces the CAS value of an open item that has the option.
    pub(crate) fn set_cas(&self, record: &OpenRecord, cas: u64) {
        self.assert_own(record);
        self.record(record.location).set_stored_cas(cas);
    }

    #[inline]
    fn assert_own(&self, record: &OpenRecord) {
        assert!(record.arena == self.number, "the record is being written in another store");
    }

    /// Ends the writing: from now on the record is read only.
    ///
    /// # Panics
    /// Where the record is another arena's.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "consumed: nobody can write the record any more")]
    pub(crate) fn publish(&self, record: OpenRecord) -> Location {
        self.assert_own(&record);
        let open = &self.fills[self.segment_of(record.location).index()].open;
        open.store(open.load(Ordering::Relaxed) - 1, Ordering::Release);
        record.location
    }

    /// How many values are pinned.
    pub(crate) fn pins(&self) -> u64 {
        u64::from(self.mapping.pinned.load(Ordering::Relaxed))
    }

    /// The record at `location`, which `publish` or an open record gave since the segment's last reset.
    #[inline]
    pub(crate) fn record(&self, location: Location) -> Record<'_> {
        // SAFETY: granules are multiples of 4 bytes.
        unsafe { Record::new(&self.mapping.region, self.offset(location)) }
    }

    /// Brings the beginning of the record at `location` near: header and key, and a short value.
    #[inline]
    pub(crate) fn prefetch(&self, location: Location) {
        let offset = self.offset(location);
        super::prefetch_read(self.mapping.region.address(offset));
        super::prefetch_read(self.mapping.region.address(offset + CACHE_LINE_BYTES));
    }

    /// The same for a record that is about to be made garbage.
    #[inline]
    pub(crate) fn prefetch_to_write(&self, location: Location) {
        let offset = self.offset(location);
        super::prefetch_write(self.mapping.region.address(offset));
        super::prefetch_read(self.mapping.region.address(offset + CACHE_LINE_BYTES));
    }

    /// The record that stands `at` bytes into `segment`, and its location; `None` at the end.
    pub(crate) fn record_at(&self, segment: SegmentId, at: usize) -> Option<(Location, Record<'_>)> {
        if at >= self.used(segment) {
            return None;
        }
        let location = self.location_at((segment.index() << self.segment_shift) + at);
        Some((location, self.record(location)))
    }

    /// Goes from the record that stands `at` bytes into `segment` over dead ones, `max` of them at most and only such
    /// as begin before `end`: where it comes to, and how many it has gone over.
    pub(crate) fn pass_dead(&self, segment: SegmentId, at: usize, end: usize, max: usize) -> (usize, usize) {
        let (start, end) = (segment.index() << self.segment_shift, end.min(self.used(segment)));
        let (mut at, mut passed) = (at, 0);
        while at < end && passed < max {
            let record = self.record(self.location_at(start + at));
            if record.flags() & flag::DEAD == 0 {
                break;
            }
            at += self.rounded(record.bytes());
            passed += 1;
        }
        (at, passed)
    }

    /// Nobody finds records of `segment` any more: the index has none of them.
    pub(crate) fn retire<S: Sharing>(&self, segment: SegmentId) {
        let epoch = self.epochs.retire::<S>();
        self.fills[segment.index()].retired.store(epoch, Ordering::Release);
    }

    /// Whether `segment` is retired and nobody can be reading it any more.
    pub(crate) fn can_reset<S: Sharing>(&self, segment: SegmentId) -> bool {
        let fill = &self.fills[segment.index()];
        let epoch = fill.retired.load(Ordering::Acquire);
        let has_passed = epoch != 0 && (!S::IS_SHARED || self.epochs.has_passed(epoch));
        has_passed && !self.is_held(segment) && fill.writer.load(Ordering::Acquire) == NO_WRITER
    }

    /// Forgets all records of `segment`, which can then be opened anew. Returns false, and does nothing, where
    /// [`Arena::can_reset`] does not hold.
    pub(crate) fn reset<S: Sharing>(&self, segment: SegmentId) -> bool {
        if !self.can_reset::<S>(segment) {
            return false;
        }
        let fill = &self.fills[segment.index()];
        fill.retired.store(0, Ordering::Relaxed);
        fill.used.store(0, Ordering::Release);
        true
    }

    /// Gives the memory of an empty segment back to the system.
    ///
    /// # Panics
    /// Where the segment is not empty.
    pub(crate) fn discard(&self, segment: SegmentId) {
        let has_writer = self.fills[segment.index()].writer.load(Ordering::Acquire) != NO_WRITER;
        let is_empty = self.used(segment) == 0 && !self.is_held(segment) && !has_writer;
        assert!(is_empty, "only an empty segment can be given back");
        let offset = segment.index() << self.segment_shift;
        // SAFETY: the segment is empty and nobody's: no slice of it is alive.
        unsafe { self.mapping.region.discard(offset, self.config.segment_bytes) };
    }
}
