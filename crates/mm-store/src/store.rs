//! One shard's handle of the store.

mod admit;
mod ahead;
mod arithmetic;
mod change;
mod condition;
mod core;
mod evict;
mod expire;
mod extent;
mod fate;
mod find;
#[cfg(feature = "smp")]
mod handles;
mod keep;
mod observe;
mod read;
mod relocate;
mod resize;
mod reuse;
mod sample;
mod scan;
mod share;
mod slots;
mod space;
mod untold;
mod upload;
mod verify;
mod write;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Config;
use crate::counters::{Counters, Totals};
use crate::hash::KeyHash;
use crate::index::{Hint, Patience, Slot, mark};
use crate::kept::{Kept, KeptError};
use crate::limits::{COUNT_SHARE, KEY_MAX_BYTES, SWEEP_RECORDS_PER_S, SWEEP_SHARE, WRITES_PER_COUNT};
use crate::memory::{Location, Pins, RecordKind, SegmentId, Writer, flag};
use crate::narrow::to_u32;
use crate::segment::{PLACES, Place, Queue, Segment, Tolerance};
use crate::sharing::{Exclusive, Local, Sharing};
use crate::stats::Stats;
use crate::whole::{assert_whole, between_steps, whole};

use self::core::Core;
use self::find::is_expired;
pub use arithmetic::{ArithmeticError, Counted, Operation};
pub use change::{CasRule, DeleteError, Notes};
pub use condition::Mode;
#[cfg(feature = "smp")]
pub use handles::StoreHandles;
pub use observe::Evicted;
pub use read::{Item, Miss};
pub use sample::Looked;
pub use scan::Cursor;
pub use upload::Upload;
pub use verify::Broken;
pub use write::{Outcome, Put, PutError, Told};

/// Room that a record may need beside what its attributes ask for: a CAS value.
const CAS_BYTES: usize = 8;

/// CAS values from that of one place to that of the next: a place's own, and those that may come after it.
const SUCCESSORS: u64 = 16;

/// A key with its hash, of 1 to 250 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: KeyHash,
    hint: Hint,
}

impl<'a> Key<'a> {
    /// The key's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The key's hash.
    #[must_use]
    pub const fn hash(&self) -> KeyHash {
        self.hash
    }
}

/// The cache engine: one shard's handle of it.
///
/// Times are seconds on a clock of the caller's that starts above 0 and never goes back; an expiry of 0 is never.
///
/// A handle of a `Shared` store works from its first call on, until [`Store::rest`]. While it works, what others
/// remove is kept for it; so whoever has a handle rests once in each turn of an event loop, and before sleeping.
#[derive(Debug)]
pub struct Store<S: Sharing = Local> {
    core: Arc<Core<S>>,
    shard: usize,
    writer: Writer,
    /// The open segment of each place.
    heads: [Option<SegmentId>; PLACES],
    pins: Rc<Pins>,
    /// Between the first call and [`Store::rest`].
    is_working: bool,
    /// Records are being read over several steps, some of which may make room.
    is_reading: bool,
    /// The call's time.
    now_s: u32,
    leaving: evict::Leaving,
    /// An extent on its way out of it.
    extent: Option<extent::ExtentCopy>,
    /// What emptying has cost in this call, in bytes that can be copied in the time.
    work: Cell<usize>,
    /// Bytes of segments that writes have still to look at, because it was too much for those that it fell to.
    owed: usize,
    /// See [`Store::set_bar`].
    bar: u64,
    /// What emptying may cost in this call before the bar rises.
    grace: usize,
    admission: admit::Admission,
    /// Bytes that can be written before segments have to be emptied again.
    countdown: usize,
    /// Bytes that may still be copied only to fill holes: as many as are written.
    copy_credit: isize,
    sweep: expire::Sweep,
    observed: observe::Observed,
    /// Segments that will be free as soon as other shards have rested.
    waiting: usize,
    /// How many items there were lately, and how many writes ago that is looked up again.
    items: Cell<usize>,
    writes_to_count: Cell<u32>,
    search: slots::Search,
    /// Which part of the segments is looked at next for one to empty.
    victim_turn: usize,
    /// The number of the segment from which on one that may leave is looked for next.
    look_from: Cell<usize>,
    resizing: resize::Resizing,
    /// CAS values of a sequence of the shard's own that no item has yet: the next one, and where they end.
    fresh: Cell<[u64; 2]>,
    patience: Patience,
    untold: untold::Untold,
    /// Somebody wants to know the CAS value of the next item stored, and what that was.
    wants_cas: bool,
    told: Option<Told>,
}

/// An item of the index that is neither expired nor flushed.
#[derive(Debug, Clone, Copy)]
struct Found {
    slot: Slot,
    location: Location,
}

impl Store<Local> {
    /// Opens a store. Memory becomes resident as it is used.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    #[expect(clippy::arc_with_non_send_sync, reason = "the same type as where several shards have it")]
    pub fn open(config: &Config) -> io::Result<Self> {
        Ok(Self::of(Arc::new(Core::open(config, 1)?), 0))
    }

    /// Opens the store that was left in kept memory, or an empty one where there was none.
    ///
    /// # Errors
    /// [`KeptError`].
    #[expect(clippy::arc_with_non_send_sync, reason = "the same type as where several shards have it")]
    pub fn open_kept(config: &Config, kept: &Kept) -> Result<Self, KeptError> {
        Ok(Self::of(Arc::new(Core::open_kept(config, 1, kept)?), 0))
    }
}

impl<S: Sharing> Store<S> {
    fn of(core: Arc<Core<S>>, shard: usize) -> Self {
        Self {
            shard,
            writer: core.arena.writer(),
            heads: [None; PLACES],
            pins: Rc::new(Pins::new::<S>(&core.arena)),
            is_working: false,
            is_reading: false,
            now_s: 0,
            leaving: evict::Leaving::default(),
            extent: None,
            work: Cell::new(0),
            owed: 0,
            bar: 0,
            grace: 0,
            admission: admit::Admission::default(),
            countdown: 0,
            copy_credit: 0,
            sweep: expire::Sweep::default(),
            observed: observe::Observed::default(),
            waiting: 0,
            items: Cell::new(0),
            writes_to_count: Cell::new(0),
            search: slots::Search::default(),
            victim_turn: 0,
            look_from: Cell::new(0),
            resizing: resize::Resizing::default(),
            fresh: Cell::new([0; 2]),
            patience: Patience::default(),
            untold: untold::Untold::default(),
            wants_cas: false,
            told: None,
            core,
        }
    }

    /// Begins a call.
    #[inline]
    fn begin(&mut self, now_s: u32) {
        between_steps();
        self.now_s = now_s;
        if S::IS_SHARED && !self.is_working {
            self.is_working = true;
            self.core.arena.epochs().enter(self.shard);
        }
    }

    /// The shard has nothing to do for a while, or a turn of its loop is over: what others removed while it worked
    /// need not be kept for it any longer. The next call begins to work again.
    ///
    /// Ends the process where a panic has left a change half made, and was contained.
    #[inline]
    pub fn rest(&mut self) {
        assert_whole();
        if S::IS_SHARED && self.is_working {
            self.is_working = false;
            self.tell_dead();
            self.core.arena.epochs().rest(self.shard);
        }
    }

    /// Tells the segments what this handle has made garbage in them since it rested, before it matters how much that
    /// is. For checks: [`Store::verify`] of one handle counts what another has yet to tell as alive.
    #[inline]
    pub fn tell_dead(&self) {
        if S::IS_SHARED {
            self.untold.tell(&self.core.segments);
        }
    }

    /// The handle holds nothing of what it has read in this call.
    fn refresh(&self) {
        if S::IS_SHARED && self.is_working && !self.is_reading {
            self.core.arena.epochs().enter(self.shard);
        }
    }

    #[inline]
    fn counters(&self) -> &Counters {
        &self.core.counters[self.shard]
    }

    /// How many items there are: exactly where there is one shard, else as of some writes ago.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "items are in memory")]
    fn items(&self) -> usize {
        if S::IS_SHARED { self.items.get() } else { self.core.counters[0].items.get() as usize }
    }

    /// Beside so many writes or removals: looks now and then how many items there are.
    #[inline]
    fn count_items(&self, changes: usize) {
        if !S::IS_SHARED {
            return;
        }
        if self.writes_to_count.get() == 0 {
            self.items.set(self.core.count_items());
            let writes = (self.items.get() / COUNT_SHARE).min(WRITES_PER_COUNT);
            self.writes_to_count.set(to_u32(writes) + 1);
        }
        self.writes_to_count.set(self.writes_to_count.get().saturating_sub(to_u32(changes)));
    }

    /// `bytes` as a key; `None` where they are none or too many.
    #[inline]
    #[must_use]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Option<Key<'a>> {
        if bytes.is_empty() || bytes.len() > KEY_MAX_BYTES {
            return None;
        }
        Some(Key { bytes, hash: self.core.hasher.hash(bytes), hint: Hint::NONE })
    }

    /// The same with a hash that this store gave for these bytes before.
    #[inline]
    #[must_use]
    pub fn key_with_hash<'a>(&self, bytes: &'a [u8], hash: KeyHash) -> Option<Key<'a>> {
        debug_assert!(self.core.hasher.hash(bytes) == hash, "the hash of another key");
        (!bytes.is_empty() && bytes.len() <= KEY_MAX_BYTES).then_some(Key { bytes, hash, hint: Hint::NONE })
    }

    /// Counters and sizes, of all shards.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = &*self.core;
        let Totals { stats: counted, last_eviction } = core.totals();
        Stats {
            limit_bytes: core.limit_bytes() as u64,
            index_bytes: core.index.bytes() as u64,
            index_buckets: core.index.buckets() as u64,
            index_moving: core.index.is_moving(),
            segment_bytes: core.sizes.segment_bytes as u64,
            segments: core.segments.resident() as u64,
            segments_free: core.segments.free() as u64,
            ghost_bytes: core.ghosts.bytes() as u64,
            pins: core.arena.pins(),
            // For how many seconds the item evicted last had not been used.
            evicted_age_s: last_eviction & u64::from(u32::MAX),
            ..counted
        }
    }

    /// Sets the counters that only grow to zero, of all shards, not those of what is there.
    pub fn reset_stats(&mut self) {
        *self.core.reset_at.lock() = self.core.counted();
        self.core.counters.iter().for_each(|counters| counters.last_eviction.set(0));
    }

    /// Removes an item that is dead by time or flush. Its buckets are locked.
    #[cold]
    #[inline(never)]
    fn reclaim(&self, found: Found) {
        mm_base::mark!("expired or flushed item removed");
        self.counters().reclaimed.add(1);
        if self.core.index.mark(found.slot) & mark::FETCHED == 0 {
            self.counters().expired_unfetched.add(1);
        }
        let mut next = Some(found.location);
        while let Some(location) = next {
            let record = self.core.arena.record(location);
            let bytes = self.core.arena.rounded(record.bytes());
            next = record.next();
            self.core.segments.get(self.core.arena.segment_of(location)).add_expired::<S>(to_u32(bytes));
            self.counters().expired_bytes.add(bytes as u64);
        }
        self.remove(found);
    }

    /// Takes an item out of the index and makes its records garbage. Its buckets are locked.
    fn remove(&self, found: Found) {
        self.core.index.remove(found.slot);
        self.counters().items.subtract(1);
        self.resizing.count_removal();
        self.bury(found.location);
    }

    /// Makes the records of an item garbage that nobody finds any more: the item's own and its extents.
    #[inline(always)]
    fn bury(&self, location: Location) {
        debug_assert!(self.is_found_nowhere(location), "garbage that is still found");
        let record = self.core.arena.record(location);
        let layout = record.layout();
        self.counters().item_bytes.subtract((layout.key_len + record.total_len()) as u64);
        // First: until the item's own record counts as dead, who meets a live extent can look at its owner.
        if layout.flags & flag::CHAINED != 0 {
            self.bury_extents(record.next());
        }
        record.change_flags(flag::DEAD, 0);
        let bytes = to_u32(self.core.arena.rounded(layout.bytes()));
        self.core.segments.add_dead(self.core.arena.segment_of(location), bytes);
    }

    fn bury_record(&self, location: Location) {
        debug_assert!(self.is_found_nowhere(location), "garbage that is still found");
        let record = self.core.arena.record(location);
        record.change_flags(flag::DEAD, 0);
        let bytes = to_u32(self.core.arena.rounded(record.bytes()));
        self.core.segments.add_dead(self.core.arena.segment_of(location), bytes);
    }

    /// Bytes of a segment's records that are not dead, rounded to granules; 0 where it is not in use.
    #[inline]
    fn live_bytes(&self, id: SegmentId) -> usize {
        // In this order: what is dead was used before.
        let dead_bytes = self.core.segments.get(id).dead_bytes() as usize;
        self.core.arena.used(id).saturating_sub(dead_bytes)
    }

    /// Where a new record of `queue` with this expiry is appended.
    #[inline]
    fn place(&self, queue: Queue, expiry_s: u32) -> Place {
        Place::new(queue, expiry_s, self.now_s, self.core.sizes.ttl_groups)
    }

    /// Where the record that replaces one of the segment `old` is appended: one generation younger than that.
    #[inline]
    fn place_over(&self, old: &Segment, queue: Queue, expiry_s: u32) -> Place {
        Place { generation: old.generation().saturating_sub(1), ..self.place(queue, expiry_s) }
    }

    /// Tells the segment of the item at `location` that it has this expiry now.
    #[inline(always)]
    fn note_expiry(&self, location: Location, expiry_s: u32) {
        if expiry_s != 0 {
            self.note_some_expiry(location, expiry_s);
        }
    }

    fn note_some_expiry(&self, location: Location, expiry_s: u32) {
        let record = self.core.arena.record(location);
        let bytes = to_u32(record.layout().value_at()).saturating_add(to_u32(record.total_len()));
        let segment = self.core.arena.segment_of(location);
        self.core.segments.note_expiry(segment, expiry_s, bytes, self.tolerance());
    }

    /// What may be left of expired items in each segment: less than a hundredth of it, and the fewer items there are,
    /// the sooner they are all looked at.
    #[inline]
    fn tolerance(&self) -> Tolerance {
        let late_s = to_u32(self.items() / SWEEP_RECORDS_PER_S) + 1;
        let bytes = to_u32(self.core.sizes.segment_bytes / SWEEP_SHARE);
        Tolerance { bytes, late_s, now_s: self.now_s }
    }

    /// Bytes of key and value of the item at `location`.
    fn item_bytes(&self, location: Location) -> u64 {
        let record = self.core.arena.record(location);
        debug_assert_eq!(record.kind(), RecordKind::Item, "an item's own record");
        (record.layout().key_len + record.total_len()) as u64
    }

    /// The CAS value of the item at `location`: the stored one, or else made of where it stands. Sequences of segments
    /// are never used twice, so neither is a value, and what is written later into one segment gets a greater one.
    #[inline]
    fn cas_at(&self, location: Location) -> u64 {
        let record = self.core.arena.record(location);
        record.stored_cas().unwrap_or_else(|| self.derived_cas(location))
    }

    #[inline]
    fn derived_cas(&self, location: Location) -> u64 {
        let sequence = self.core.segments.get(self.core.arena.segment_of(location)).sequence();
        self.cas_of(sequence, self.core.arena.granule_in_segment(location))
    }

    #[inline]
    fn cas_of(&self, sequence: u64, granule: u32) -> u64 {
        (sequence * u64::from(self.core.arena.granules_per_segment()) + u64::from(granule)) * SUCCESSORS
    }

    /// The value that will be derived for the next record of `segment`.
    #[inline]
    fn next_derived_cas(&self, segment: SegmentId) -> u64 {
        self.cas_of(self.core.segments.get(segment).sequence(), self.core.arena.next_granule(segment))
    }

    /// A CAS value of no place that is greater than that of `old`.
    ///
    /// A sequence that no segment has got is as many values. A shard uses one up before it takes another: the count of
    /// sequences is one for all shards. If `old` is beyond, it has successors, which only that item's next values are.
    fn fresh_cas(&self, old: Option<Found>) -> u64 {
        let exceeded = old.map_or(0, |old| self.cas_at(old.location).wrapping_add(1));
        let [mut next, mut end] = self.fresh.get();
        let has_successor = !exceeded.is_multiple_of(SUCCESSORS);
        if next == end || (next < exceeded && !has_successor) {
            let sequence = self.core.segments.take_sequence();
            [next, end] = [self.cas_of(sequence, 0), self.cas_of(sequence + 1, 0)];
        }
        if next < exceeded {
            // A successor, or a client gave the old one.
            self.fresh.set([next, end]);
            return exceeded;
        }
        self.fresh.set([next + SUCCESSORS, end]);
        next
    }
}

impl<S: Sharing> Drop for Store<S> {
    /// What the handle had open is left to the others.
    fn drop(&mut self) {
        assert_whole();
        whole(|| {
            self.tell_dead();
            for full in std::mem::replace(&mut self.heads, [None; PLACES]).into_iter().flatten() {
                self.close_head(full);
            }
            if let Some(segment) = self.end_leaving() {
                self.core.segments.stay(segment);
            }
            self.give_up_sweep();
        });
        self.rest();
        if S::IS_SHARED {
            self.core.idle.lock().push(self.shard);
        }
    }
}
