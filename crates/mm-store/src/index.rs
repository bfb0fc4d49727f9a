//! The index: from a key's hash to the location of its item.
//!
//! Buckets of nine slots, two positions for each key (two-choice hashing with displacement). A position is the hash
//! scaled to the number of buckets, so the number can be anything (`geometry`); growth and shrink move a boundary
//! through the table bucket by bucket, in place (`resize`).
//!
//! Readers take no lock. Writers lock both buckets of a key; what moves items of other keys locks where they come
//! from and where they go. An item that moves stands in both places for a moment, and is counted, by its tag,
//! before it leaves the old one: a reader that has found nothing looks again if the count has changed meanwhile
//! (after MemC3: Fan et al., NSDI 2013, section 3.3).

mod ahead;
mod geometry;
mod held;
mod keep;
#[cfg(all(test, loom))]
mod models;
mod place;
mod resize;

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;

use crate::hash::KeyHash;
use crate::limits::{MIN_BUCKETS, MOVE_COUNTERS};
use crate::memory::{Bucket, Ground, Location, SLOTS, Table};
use crate::narrow::to_u32;
use crate::primitive::{AtomicU32, Ordering, fence};
use crate::sharing::{Exclusive, Sharing};
use crate::whole::is_changing;
pub(crate) use ahead::Hint;
use geometry::Layout;
pub(crate) use resize::{Lost, Unmoved};

/// Bytes of a bucket.
pub(crate) const BUCKET_BYTES: usize = size_of::<Bucket>();

/// Bits of a slot's mark.
pub(crate) mod mark {
    /// How often the item was read lately, 0 to 3.
    pub(crate) const FREQUENCY: u8 = 3;
    /// The item was read since it was stored.
    pub(crate) const FETCHED: u8 = 1 << 2;
    /// The item is in the main queue because its key came back, and its turn there has not come yet.
    pub(crate) const RETURNED: u8 = 1 << 3;
}

/// A slot of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    position: u32,
    number: u32,
}

impl Slot {
    #[inline]
    const fn new(position: usize, number: usize) -> Self {
        Self { position: to_u32(position), number: to_u32(number) }
    }

    /// Of its bucket.
    #[inline]
    const fn position(self) -> usize {
        self.position as usize
    }

    /// Within its bucket.
    #[inline]
    const fn number(self) -> usize {
        self.number as usize
    }
}

/// A slot with its bucket at hand, and what stood in it when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat<'a> {
    bucket: &'a Bucket,
    pub(crate) slot: Slot,
    pub(crate) location: Location,
}

impl Seat<'_> {
    /// As [`Index::note_read`].
    #[inline(always)]
    pub(crate) fn note_read(self) -> u8 {
        note_read(self.bucket, self.slot.number())
    }

    /// As [`Index::replace`].
    #[inline(always)]
    pub(crate) fn replace(self, location: Location) {
        replace(self.bucket, self.slot.number(), location);
    }
}

/// For how long a shard waits for a bucket that others have too: for as many pauses as it has locked that one in a row.
/// Where several shards want one bucket all the time, each is to have it many times in a row, because to pass its cache
/// lines on takes longer than what is done under the lock.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    position: Cell<u32>,
    times: Cell<u32>,
}

/// The most of that: some microseconds.
const PATIENCE_MAX: u32 = if cfg!(loom) { 1 } else { 256 };

impl Patience {
    /// Pauses for the bucket at `position`, which is about to be locked.
    #[inline(always)]
    fn pauses(&self, position: u32) -> u32 {
        let times = if self.position.replace(position) == position { self.times.get() } else { 0 };
        self.times.set((times + 1).min(PATIENCE_MAX));
        times
    }
}

/// No slot can be had for an insertion, not even by displacing others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Other shards had buckets that were needed for it.
    pub(crate) was_busy: bool,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy)]
struct Contents {
    tag: u16,
    location: u32,
    mark: u8,
    is_seen: bool,
}

/// The buckets of a key, locked. Ends by [`Index::unlock`].
#[derive(Debug)]
#[must_use = "others wait for these buckets"]
pub(crate) struct Locked {
    positions: [usize; 2],
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Index<S: Sharing> {
    table: Table<Bucket>,
    layout: Layout,
    /// Who has this may change the layout.
    mover: S::Exclusive<()>,
    /// How many items of a tag have moved to another bucket; a tag has the counter of its lower bits.
    moves: Box<[AtomicU32]>,
    /// How often in a row a bucket could not be moved because its items found no slots.
    stuck: AtomicU32,
    sharing: PhantomData<S>,
}

impl<S: Sharing> Index<S> {
    /// An index with address space for `max_items` items.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(crate) fn new(max_items: usize, huge_pages: bool, ground: &mut Ground<'_>) -> io::Result<Self> {
        let buckets = (max_items / SLOTS + 1).max(MIN_BUCKETS) * 10 / 7;
        Ok(Self::with(Table::reserve(buckets, huge_pages, ground)?, MIN_BUCKETS))
    }

    /// An index in `table`, of which `len` buckets are in use.
    fn with(table: Table<Bucket>, len: usize) -> Self {
        let counters = if S::IS_SHARED { MOVE_COUNTERS } else { 0 };
        Self {
            table,
            layout: Layout::new(len),
            mover: S::Exclusive::new(()),
            moves: (0..counters).map(|_| AtomicU32::new(0)).collect(),
            stuck: AtomicU32::new(0),
            sharing: PhantomData,
        }
    }

    /// Bytes of memory that the buckets take, or will take when the step under way is done.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets() * size_of::<Bucket>()
    }

    #[inline]
    fn positions(&self, hash: KeyHash) -> [usize; 2] {
        self.layout.load::<S>().positions(hash)
    }

    /// Calls `visit` with each location that may be the item of `hash`, until it returns true; that slot is the result.
    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, mut visit: impl FnMut(Location) -> bool) -> Option<Slot> {
        if !S::IS_SHARED {
            return self.find_once(hash, &mut visit);
        }
        let counter = self.move_counter(hash.tag());
        loop {
            let before = counter.load(Ordering::Acquire);
            if let Some(slot) = self.find_once(hash, &mut visit) {
                return Some(slot);
            }
            fence(Ordering::Acquire);
            if mm_base::canary!("move not noticed", 1) || counter.load(Ordering::Relaxed) == before {
                return None;
            }
        }
    }

    #[inline]
    fn find_once(&self, hash: KeyHash, visit: &mut impl FnMut(Location) -> bool) -> Option<Slot> {
        let (tag, geometry) = (hash.tag(), self.layout.load::<S>());
        for scaled_from in [hash.first(), hash.second()] {
            let position = geometry.position(scaled_from);
            let bucket = self.table.line(position);
            let mut hits = bucket.slots_with(tag);
            while hits != 0 {
                let number = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                if let Some(location) = Location::from_raw(bucket.location(number))
                    && visit(location)
                {
                    return Some(Slot::new(position, number));
                }
            }
        }
        None
    }

    /// What stands where the look ahead for a key had found something, for readers. `None` where another shard may
    /// have stored the key's item elsewhere before it takes it away from there.
    #[inline(always)]
    pub(crate) fn hinted(&self, hint: Hint) -> Option<Seat<'_>> {
        if S::IS_SHARED && self.is_moving() {
            return None;
        }
        self.at_hint(hint)
    }

    /// The same for who has locked the key's buckets.
    #[inline(always)]
    pub(crate) fn hinted_locked(&self, hint: Hint, locked: &Locked) -> Option<Seat<'_>> {
        if S::IS_SHARED && !locked.positions.contains(&hint.slot().position()) {
            return None;
        }
        self.at_hint(hint)
    }

    #[inline(always)]
    fn at_hint(&self, hint: Hint) -> Option<Seat<'_>> {
        let slot = hint.slot();
        let bucket = self.table.get(slot.position())?;
        let location = Location::from_raw(bucket.location_if_any(slot.number())?)?;
        Some(Seat { bucket, slot, location })
    }

    /// `slot`, in which `location` stood, with its bucket.
    pub(crate) fn seat(&self, slot: Slot, location: Location) -> Seat<'_> {
        Seat { bucket: self.table.line(slot.position()), slot, location }
    }

    #[inline]
    fn move_counter(&self, tag: u16) -> &AtomicU32 {
        &self.moves[usize::from(tag) % MOVE_COUNTERS]
    }

    /// Locks the buckets of `hash`: until they are unlocked nobody else changes, adds or moves its item.
    #[inline]
    pub(crate) fn lock(&self, hash: KeyHash) -> Locked {
        debug_assert!(cfg!(test) || is_changing(), "a panic would leave this locked");
        if !S::IS_SHARED {
            return Locked { positions: [0; 2] };
        }
        loop {
            let positions = self.positions(hash);
            let [low, high] = [positions[0].min(positions[1]), positions[0].max(positions[1])];
            // One order for all, so that no two wait for each other.
            self.table.line(low).lock();
            if high != low {
                self.table.line(high).lock();
            }
            let locked = Locked { positions };
            if self.positions(hash) == positions {
                return locked;
            }
            self.unlock(locked);
        }
    }

    /// Locks the bucket in which the look ahead for a key found something, and no other. That is enough to put another
    /// item of the key in the place of one that stands there then: whatever moves items has the buckets locked that
    /// they leave and go to, so none stands in two of them while one of the two is locked by somebody else.
    #[inline(always)]
    pub(crate) fn lock_hinted(&self, hint: Hint, patience: &Patience) -> Option<(Locked, Seat<'_>)> {
        debug_assert!(cfg!(test) || is_changing(), "a panic would leave this locked");
        // Memory that a shrink has given back is not to be touched by a lock.
        let seat = self.at_hint(hint)?;
        if !S::IS_SHARED {
            return Some((Locked { positions: [0; 2] }, seat));
        }
        seat.bucket.lock_after(patience.pauses(seat.slot.position));
        let locked = Locked { positions: [seat.slot.position(); 2] };
        match self.at_hint(hint) {
            Some(seat) => Some((locked, seat)),
            None => {
                self.unlock(locked);
                None
            }
        }
    }

    /// Ends what [`Index::lock`] or [`Index::lock_hinted`] began.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "consumed: it can be unlocked once")]
    pub(crate) fn unlock(&self, locked: Locked) {
        if !S::IS_SHARED {
            return;
        }
        let [first, second] = locked.positions;
        self.table.line(first).unlock();
        if second != first {
            self.table.line(second).unlock();
        }
    }

    /// The location in `slot`.
    #[inline]
    pub(crate) fn location(&self, slot: Slot) -> Option<Location> {
        Location::from_raw(self.table.line(slot.position()).location(slot.number()))
    }

    /// Points `slot`, whose bucket is locked, to another location of the same key and value.
    #[inline]
    pub(crate) fn set_location(&self, slot: Slot, location: Location) {
        self.table.line(slot.position()).set_location(slot.number(), location.raw());
    }

    /// The mark of `slot`.
    #[inline]
    pub(crate) fn mark(&self, slot: Slot) -> u8 {
        self.table.line(slot.position()).mark(slot.number())
    }

    /// Sets the mark of `slot`.
    #[inline]
    pub(crate) fn set_mark(&self, slot: Slot, mark: u8) {
        self.table.line(slot.position()).set_mark(slot.number(), mark);
    }

    /// Puts another item of the same key at `location` in the place of the one in `slot`, whose bucket is locked.
    pub(crate) fn replace(&self, slot: Slot, location: Location) {
        replace(self.table.line(slot.position()), slot.number(), location);
    }

    /// Notes in the mark of `slot` that its item is read. Returns the mark before.
    pub(crate) fn note_read(&self, slot: Slot) -> u8 {
        note_read(self.table.line(slot.position()), slot.number())
    }

    /// Whether a client has seen the CAS value of the item in `slot`, which must not change then when the item moves.
    #[inline]
    pub(crate) fn is_seen(&self, slot: Slot) -> bool {
        self.table.line(slot.position()).is_seen(slot.number())
    }

    /// Sets whether a client has seen it. The bucket is locked.
    ///
    /// For a new value it is to be cleared before the location changes, so that a reader that meets the new
    /// location does not meet the old bit.
    #[inline]
    pub(crate) fn set_seen(&self, slot: Slot, is_seen: bool) {
        self.table.line(slot.position()).set_seen(slot.number(), is_seen);
    }

    /// Empties `slot`, whose bucket is locked.
    pub(crate) fn remove(&self, slot: Slot) {
        let bucket = self.table.line(slot.position());
        bucket.set_tag(slot.number(), 0);
        bucket.set_location(slot.number(), 0);
        bucket.set_mark(slot.number(), 0);
        bucket.set_seen(slot.number(), false);
    }

    fn contents(&self, slot: Slot) -> Contents {
        let bucket = self.table.line(slot.position());
        Contents {
            tag: bucket.tag(slot.number()),
            location: bucket.location(slot.number()),
            mark: bucket.mark(slot.number()),
            is_seen: bucket.is_seen(slot.number()),
        }
    }

    fn fill(&self, slot: Slot, contents: Contents) {
        let bucket = self.table.line(slot.position());
        bucket.set_seen(slot.number(), contents.is_seen);
        bucket.set_mark(slot.number(), contents.mark);
        bucket.set_location(slot.number(), contents.location);
        bucket.set_tag(slot.number(), contents.tag);
    }

    /// Says that an item of `tag` stands in a second place and is about to leave the first.
    fn count_move(&self, tag: u16) {
        if S::IS_SHARED {
            self.move_counter(tag).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Calls `visit` with every taken slot, for checks.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Slot, u16, Location)) {
        for position in 0..self.buckets() {
            let bucket = self.table.line(position);
            for number in 0..SLOTS {
                let tag = bucket.tag(number);
                if let Some(location) = Location::from_raw(bucket.location(number)) {
                    visit(Slot::new(position, number), tag, location);
                }
            }
        }
    }

    /// Whether an item of `hash` may stand in `slot`.
    pub(crate) fn belongs(&self, slot: Slot, hash: KeyHash) -> bool {
        self.positions(hash).contains(&slot.position())
    }
}

#[inline(always)]
fn replace(bucket: &Bucket, number: usize, location: Location) {
    // A reader that meets the new location must not meet the old item's bit.
    bucket.set_seen(number, false);
    bucket.set_location(number, location.raw());
    // Storing again counts as a use.
    let before = bucket.mark(number);
    let raised = ((before & mark::FREQUENCY) + 1).min(mark::FREQUENCY);
    if raised != before {
        bucket.set_mark(number, raised);
    }
}

#[inline(always)]
fn note_read(bucket: &Bucket, number: usize) -> u8 {
    let mark = bucket.mark(number);
    // What is read often is not written any more.
    if mark & (mark::FREQUENCY | mark::FETCHED) != mark::FREQUENCY | mark::FETCHED {
        let raised = (mark & mark::FREQUENCY) + 1;
        bucket.set_mark(number, mark & !mark::FREQUENCY | raised.min(mark::FREQUENCY) | mark::FETCHED);
    }
    mark
}
