//! One shard's handle of the store.

mod change;
mod evict;
mod expire;
mod observe;
mod read;
mod relocate;
mod sample;
mod scan;
mod space;
mod upload;
mod verify;
mod write;

use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::config::{Config, Sizes};
use crate::ghosts::Ghosts;
use crate::hash::{KeyHash, KeyHasher};
use crate::index::{Index, Slot};
use crate::limits::{KEY_MAX_BYTES, RESERVE_FACTOR, RESERVE_FROM_BYTES, SWEEP_RECORDS_PER_S, SWEEP_SHARE};
use crate::memory::{Arena, ArenaConfig, Location, Pins, Record, RecordKind, flag};
use crate::narrow::to_u32;
use crate::segment::{Place, QUEUES, Queue, Segments, TTL_GROUPS, Tolerance};
use crate::sharing::{Local, Sharing};
use crate::stats::Stats;

pub use change::{ArithmeticError, CasRule, Operation, State};
pub use observe::Evicted;
pub use read::{Item, Miss};
pub use sample::Looked;
pub use scan::Cursor;
pub use upload::Upload;
pub use verify::Broken;
pub use write::{Mode, Outcome, Put, PutError};

/// Room that a record may need beside what its attributes ask for: a CAS value.
const CAS_BYTES: usize = 8;

/// A key with its hash, of 1 to 250 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: KeyHash,
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

/// The cache engine.
///
/// Times are seconds on a clock of the caller's that starts above 0 and never goes back; an expiry of 0 is never.
#[derive(Debug)]
pub struct Store<S: Sharing = Local> {
    sizes: Sizes,
    evict: bool,
    hasher: KeyHasher,
    arena: Arena,
    index: Index,
    segments: Segments,
    /// The open segment of each place.
    heads: [Option<crate::memory::SegmentId>; QUEUES * TTL_GROUPS],
    pins: Rc<Pins>,
    /// Items of segments opened before this are flushed; 0 where no flush is being worked off.
    flushed_before: u64,
    /// The call's time.
    now_s: u32,
    ghosts: Ghosts,
    leaving: evict::Leaving,
    /// Bytes that can be written before segments have to be emptied again.
    countdown: usize,
    /// Bytes that may still be copied only to fill holes: as many as are written.
    copy_credit: isize,
    /// What the index wants to grow to; segments make room for it. 0 where it does not wait.
    wanted_index_bytes: usize,
    sweep: expire::Sweep,
    /// Dead bytes of all segments that were items which had expired.
    expired_bytes: usize,
    observed: observe::Observed,
    stats: Stats,
    sharing: PhantomData<S>,
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
    pub fn open(config: &Config) -> io::Result<Self> {
        if cfg!(target_pointer_width = "64") && config.limit_bytes >= RESERVE_FROM_BYTES {
            let reserving = Self::open_with(config, Sizes::new(config.limit_bytes, RESERVE_FACTOR));
            if reserving.is_ok() {
                return reserving;
            }
        }
        Self::open_with(config, Sizes::new(config.limit_bytes, 1))
    }

    fn open_with(config: &Config, sizes: Sizes) -> io::Result<Self> {
        let arena = Arena::new(ArenaConfig {
            segments: sizes.segments,
            segment_bytes: sizes.segment_bytes,
            granule_bytes: sizes.granule_bytes,
            huge_pages: sizes.huge_pages,
        })?;
        Ok(Self {
            sizes,
            evict: config.evict,
            hasher: KeyHasher::new(config.hash_seed),
            index: Index::new(sizes.items_max, sizes.huge_pages)?,
            segments: Segments::new(sizes.segments),
            heads: [None; QUEUES * TTL_GROUPS],
            pins: Rc::new(Pins::new(&arena)),
            flushed_before: 0,
            now_s: 0,
            ghosts: Ghosts::new(sizes.items_max, sizes.huge_pages)?,
            leaving: evict::Leaving::default(),
            countdown: 0,
            copy_credit: 0,
            wanted_index_bytes: 0,
            sweep: expire::Sweep::default(),
            expired_bytes: 0,
            observed: observe::Observed::default(),
            stats: Stats::default(),
            sharing: PhantomData,
            arena,
        })
    }
}

impl<S: Sharing> Store<S> {
    /// `bytes` as a key; `None` where they are none or too many.
    #[inline]
    #[must_use]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Option<Key<'a>> {
        if bytes.is_empty() || bytes.len() > KEY_MAX_BYTES {
            return None;
        }
        Some(Key { bytes, hash: self.hasher.hash(bytes) })
    }

    /// The same with a hash that this store gave for these bytes before.
    #[inline]
    #[must_use]
    pub fn key_with_hash<'a>(&self, bytes: &'a [u8], hash: KeyHash) -> Option<Key<'a>> {
        debug_assert!(self.hasher.hash(bytes) == hash, "the hash of another key");
        (!bytes.is_empty() && bytes.len() <= KEY_MAX_BYTES).then_some(Key { bytes, hash })
    }

    /// First step of a look-up: brings the key's index buckets near. No other effect.
    #[inline]
    pub fn prefetch_index(&self, hash: KeyHash) {
        self.index.prefetch(hash);
    }

    /// Second step of a look-up, some time after the first: brings the item near. No other effect.
    #[inline]
    pub fn prefetch_item(&self, hash: KeyHash) {
        let _visited_all = self.index.find(hash, |location| {
            self.arena.record(location).prefetch();
            false
        });
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            items: self.index.items() as u64,
            limit_bytes: self.sizes.limit_bytes as u64,
            index_bytes: self.index.bytes() as u64,
            index_buckets: self.index.buckets() as u64,
            index_moving: self.index.is_moving(),
            segment_bytes: self.sizes.segment_bytes as u64,
            segments: self.segments.resident() as u64,
            segments_free: self.segments.free() as u64,
            ghost_bytes: self.ghosts.bytes() as u64,
            pins: self.pins.len() as u64,
            ..self.stats
        }
    }

    /// Sets the counters that only grow to zero, not those of what is there.
    pub fn reset_stats(&mut self) {
        self.stats = Stats { item_bytes: self.stats.item_bytes, ..Stats::default() };
    }

    /// The slot and location of `key`'s item, whether expired or flushed or not.
    #[inline]
    fn look_up(&self, key: Key<'_>) -> Option<Found> {
        let mut found = None;
        let slot = self.index.find(key.hash, |location| {
            found = Some(location);
            self.arena.record(location).key() == key.bytes
        })?;
        found.map(|location| Found { slot, location })
    }

    /// The live item of `key`. One that is expired or flushed is removed on the way.
    #[inline]
    fn find(&mut self, key: Key<'_>) -> Result<Found, Miss> {
        let found = self.look_up(key).ok_or(Miss::Absent)?;
        let miss = if self.is_flushed(found.location) {
            Miss::Flushed
        } else if is_expired(self.arena.record(found.location), self.now_s) {
            Miss::Expired
        } else {
            return Ok(found);
        };
        self.reclaim(found);
        Err(miss)
    }

    /// When the item at `location` was last used, in the store's seconds.
    fn last_access_s(&self, location: Location) -> u32 {
        let segment = self.segments.get(self.arena.segment_of(location));
        segment.decode_time(self.arena.record(location).last_access())
    }

    #[inline]
    fn is_flushed(&self, location: Location) -> bool {
        self.flushed_before != 0
            && self.segments.get(self.arena.segment_of(location)).sequence < self.flushed_before
    }

    /// Removes an item that is dead by time or flush.
    fn reclaim(&mut self, found: Found) {
        mm_base::mark!("expired or flushed item removed");
        self.stats.reclaimed += 1;
        if self.index.mark(found.slot) & crate::index::mark::FETCHED == 0 {
            self.stats.expired_unfetched += 1;
        }
        let mut next = Some(found.location);
        while let Some(location) = next {
            let record = self.arena.record(location);
            let bytes = self.arena.rounded(record.bytes());
            next = record.next();
            self.segments.get_mut(self.arena.segment_of(location)).expired_bytes += to_u32(bytes);
            self.expired_bytes += bytes;
        }
        self.remove(found);
    }

    /// Takes an item out of the index and makes its records garbage.
    fn remove(&mut self, found: Found) {
        self.index.remove(found.slot);
        self.bury(found.location);
    }

    /// Makes the records of an item garbage: the item's own and its extents.
    fn bury(&mut self, location: Location) {
        self.stats.item_bytes -= self.item_bytes(location);
        let mut next = Some(location);
        while let Some(location) = next {
            let record = self.arena.record(location);
            record.change_flags(flag::DEAD, 0);
            let bytes = to_u32(self.arena.rounded(record.bytes()));
            next = record.next();
            let segment = self.arena.segment_of(location);
            self.segments.get_mut(segment).live_bytes -= bytes;
        }
    }

    /// Where a record of `queue` with this expiry is appended.
    #[inline]
    fn place(&self, queue: Queue, expiry_s: u32) -> Place {
        Place::new(queue, expiry_s, self.now_s, self.sizes.ttl_groups)
    }

    /// Tells the segment of the item at `location` that it has this expiry now.
    #[inline]
    fn note_expiry(&mut self, location: Location, expiry_s: u32) {
        if expiry_s == 0 {
            return;
        }
        let record = self.arena.record(location);
        let bytes = to_u32(record.layout().value_at()).saturating_add(to_u32(record.total_len()));
        let tolerance = self.tolerance();
        self.segments.get_mut(self.arena.segment_of(location)).note_expiry(expiry_s, bytes, tolerance);
    }

    /// What may be left of expired items in each segment: less than a hundredth of it, and the fewer items there are,
    /// the sooner they are all looked at.
    #[inline]
    fn tolerance(&self) -> Tolerance {
        let late_s = to_u32(self.index.items() / SWEEP_RECORDS_PER_S) + 1;
        Tolerance { bytes: to_u32(self.sizes.segment_bytes / SWEEP_SHARE), late_s }
    }

    /// Bytes of key and value of the item at `location`.
    fn item_bytes(&self, location: Location) -> u64 {
        let record = self.arena.record(location);
        debug_assert_eq!(record.kind(), RecordKind::Item, "an item's own record");
        (record.layout().key_len + record.total_len()) as u64
    }

    /// The CAS value of the item at `location`: the stored one, or else made of where it stands. Sequences of segments
    /// are never used twice, so neither is a value, and what is written later into one segment gets a greater one.
    #[inline]
    fn cas_at(&self, location: Location) -> u64 {
        let record = self.arena.record(location);
        record.stored_cas().unwrap_or_else(|| self.derived_cas(location))
    }

    #[inline]
    fn derived_cas(&self, location: Location) -> u64 {
        let sequence = self.segments.get(self.arena.segment_of(location)).sequence;
        self.cas_of(sequence, self.arena.granule_in_segment(location))
    }

    #[inline]
    fn cas_of(&self, sequence: u64, granule: u32) -> u64 {
        sequence * u64::from(self.arena.granules_per_segment()) + u64::from(granule)
    }

    /// The value that will be derived for the next record of `segment`.
    #[inline]
    fn next_derived_cas(&self, segment: crate::memory::SegmentId) -> u64 {
        self.cas_of(self.segments.get(segment).sequence, self.arena.next_granule(segment))
    }

    /// A CAS value of no place, greater than every derived one and than that of `old`.
    fn fresh_cas(&mut self, old: Option<Found>) -> u64 {
        let sequence = self.segments.take_sequence();
        let exceeded = old.map_or(0, |old| self.cas_at(old.location).wrapping_add(1));
        self.cas_of(sequence, 0).max(exceeded)
    }
}

/// Whether an item's time is over: at its very second it is.
#[inline]
fn is_expired(record: Record<'_>, now_s: u32) -> bool {
    record.flags() & flag::EXPIRES != 0 && record.expiry() <= now_s
}
