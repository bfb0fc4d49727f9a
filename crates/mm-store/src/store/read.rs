//! Reading items.

use mm_base::buffer::Pinned;

use super::{Found, Key, Store};
use crate::hash::KeyHash;
use crate::index::{Hint, mark};
use crate::memory::{Location, Record, flag};
use crate::segment::{Opened, Segment};
use crate::sharing::{Local, Sharing};
use crate::whole::whole;

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The key is not there.
    Absent,
    /// It was there until now: its time is over.
    Expired,
    /// It was there until now: everything of its age was flushed.
    Flushed,
}

/// A live item, borrowed from the store.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a, S: Sharing = Local> {
    store: &'a Store<S>,
    found: Found,
    record: Record<'a>,
    /// The mark byte as it was before this access.
    mark: u8,
    /// Last access as it was stored before this one.
    last_access: u16,
}

impl<'a, S: Sharing> Item<'a, S> {
    /// The item's key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.record.key()
    }

    /// Length of the value in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.record.total_len()
    }

    /// Whether the value is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value where it is in one piece, which it is up to an eighth of a segment.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        (self.record.flags() & flag::CHAINED == 0).then(|| self.record.item_value())
    }

    /// Whether the value is in one piece, of `bytes_max` at most, and there are no client flags.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(&self, bytes_max: usize) -> bool {
        self.record.flags() & (flag::CHAINED | flag::CLIENT_FLAGS) == 0
            && self.first_piece().len() <= bytes_max
    }

    /// The first piece of the value, which is all of it where it is in one.
    #[inline(always)]
    #[must_use]
    pub fn first_piece(&self) -> &'a [u8] {
        self.record.item_value()
    }

    /// The value's pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a, S> {
        let store = self.store;
        store.chain(self.found.location).map(|location| store.core.arena.record(location).value())
    }

    /// Pins the value's pieces, so that they stay as they are when the store goes on, and gives each to `each`.
    pub fn pin(&self, mut each: impl FnMut(Pinned)) {
        for location in self.store.chain(self.found.location) {
            if !self.store.core.arena.record(location).value().is_empty() {
                each(self.store.pins.pin(&self.store.core.arena, location));
            }
        }
    }

    /// The client's flags.
    #[inline]
    #[must_use]
    pub fn client_flags(&self) -> u32 {
        self.record.client_flags()
    }

    /// When the item expires, in the store's seconds; 0 for never.
    #[must_use]
    pub fn expiry_s(&self) -> u32 {
        self.record.expiry()
    }

    /// The item's CAS value: another one for each value that was ever stored. Asking for it makes the item keep it.
    #[must_use]
    pub fn cas(&self) -> u64 {
        self.shown_cas().unwrap_or_else(|| self.current_cas())
    }

    /// The same; `None` where another shard has stored another value or removed the item since it was found, so that it
    /// is to be read again.
    #[must_use]
    pub fn shown_cas(&self) -> Option<u64> {
        self.store.show_cas(self.found)
    }

    /// The CAS value as it is now, without making the item keep it: for comparisons with a value that a client has,
    /// and for dumps, which would otherwise make every item that moves later eight bytes larger.
    #[inline]
    #[must_use]
    pub fn current_cas(&self) -> u64 {
        self.store.cas_at(self.found.location)
    }

    /// Whether the item was read between its being stored and this access.
    #[must_use]
    pub const fn was_fetched(&self) -> bool {
        self.mark & mark::FETCHED != 0
    }

    /// When the item was last read or stored before this access, in the store's seconds.
    #[must_use]
    pub fn last_access_s(&self) -> u32 {
        self.store.opened_at(self.found.location).decode_time(self.last_access)
    }

    /// Whether the key was given in an encoded form.
    #[must_use]
    pub fn is_binary_key(&self) -> bool {
        self.record.flags() & flag::BINARY_KEY != 0
    }

    /// Whether the value was marked as out of date.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.record.flags() & flag::STALE != 0
    }

    /// Whether a reader was told to fetch a new value.
    #[must_use]
    pub fn is_win_sent(&self) -> bool {
        self.record.flags() & flag::WIN_SENT != 0
    }

    /// Notes that a reader is told to fetch a new value. True for one reader of an item, until it is marked stale
    /// again. `None` where another shard has stored another value or removed the item since it was found, so that it
    /// is to be read again.
    #[must_use]
    pub fn take_win(&self) -> Option<bool> {
        self.store.take_win(self.found)
    }

    /// Bytes that the item takes in its segments, without the index.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let arena = &self.store.core.arena;
        self.store.chain(self.found.location).map(|at| arena.rounded(arena.record(at).bytes())).sum()
    }
}

impl<S: Sharing> Store<S> {
    /// Reads an item and notes that it was read.
    ///
    /// # Errors
    /// Why there is none.
    #[inline(always)]
    pub fn get(&mut self, key: Key<'_>, now_s: u32) -> Result<Item<'_, S>, Miss> {
        self.begin(now_s);
        let core = &*self.core;
        // Not as a result that holds either a miss or all of this: that is built in memory.
        let Some((seat, record)) = core.look_up(key) else { return Err(Miss::Absent) };
        if let Some(miss) = core.death(seat.location, record, now_s) {
            return Err(self.reclaim_unlocked(key.bytes, key.hash, miss));
        }
        let mark = seat.note_read();
        let last_access = record.last_access();
        let opened = core.segments.opened(core.arena.segment_of(seat.location));
        note_access(record, last_access, opened.encode_time(now_s));
        Ok(Item { store: self, found: seat.into(), record, mark, last_access })
    }

    /// The item that was found, which is read.
    pub(super) fn read(&self, found: Found) -> Item<'_, S> {
        let record = self.core.arena.record(found.location);
        let mark = self.core.index.note_read(found.slot);
        let last_access = record.last_access();
        note_access(record, last_access, self.opened_at(found.location).encode_time(self.now_s));
        Item { store: self, found, record, mark, last_access }
    }

    /// Reads an item and leaves no trace of it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn peek(&mut self, key: Key<'_>, now_s: u32) -> Result<Item<'_, S>, Miss> {
        self.begin(now_s);
        let Some((seat, record)) = self.core.look_up(key) else { return Err(Miss::Absent) };
        match self.core.death(seat.location, record, now_s) {
            None => Ok(self.item(seat.into(), record)),
            Some(miss) => Err(self.reclaim_unlocked(key.bytes, key.hash, miss)),
        }
    }

    /// The item that was found, untouched.
    #[inline]
    pub(super) fn item<'a>(&'a self, found: Found, record: Record<'a>) -> Item<'a, S> {
        let mark = self.core.index.mark(found.slot);
        Item { store: self, found, record, mark, last_access: record.last_access() }
    }

    /// When the item at `location` was last used, in the store's seconds.
    pub(super) fn last_access_s(&self, location: Location) -> u32 {
        self.opened_at(location).decode_time(self.core.arena.record(location).last_access())
    }

    fn opened_at(&self, location: Location) -> &Opened {
        self.core.segments.opened(self.core.arena.segment_of(location))
    }

    #[inline]
    pub(super) fn segment_at(&self, location: Location) -> &Segment {
        self.core.segments.get(self.core.arena.segment_of(location))
    }

    /// The CAS value of the item that was found, which it keeps from now on; `None` where it is no longer there.
    fn show_cas(&self, found: Found) -> Option<u64> {
        let index = &self.core.index;
        // Who meets the bit and the location after it has met that item's bit: for a new value the bit is cleared
        // first.
        if index.is_seen(found.slot) && index.location(found.slot) == Some(found.location) {
            return Some(self.cas_at(found.location));
        }
        let record = self.core.arena.record(found.location);
        if let Some(stored) = record.stored_cas() {
            return Some(stored);
        }
        let hash = self.core.hasher.hash(record.key());
        let now = whole(|| {
            let locked = index.lock(hash);
            let now = self.current(found, hash);
            if let Some(now) = now {
                index.set_seen(now.slot, true);
            }
            index.unlock(locked);
            now
        });
        now.map(|now| self.cas_at(now.location))
    }

    /// Where the item that was found is now; `None` where another value has been stored, or it was removed. Its
    /// buckets are locked.
    pub(super) fn current(&self, found: Found, hash: KeyHash) -> Option<Found> {
        let arena = &self.core.arena;
        if let Some(slot) = self.core.index.find(hash, |at| at == found.location) {
            return Some(Found { slot, ..found });
        }
        let before = arena.record(found.location);
        let (now, record) = self.core.look_up(Key { bytes: before.key(), hash, hint: Hint::NONE })?;
        // A copy differs in where it is, and may keep the CAS value that it had. One with another time to live may be a
        // new value of the same bytes, or may not: who asks reads it again.
        let is_copy = record.value() == before.value()
            && record.total_len() == before.total_len()
            && record.client_flags() == before.client_flags()
            && record.expiry() == before.expiry()
            && (record.flags() ^ before.flags()) & flag::STALE == 0
            && record.stored_cas().is_none_or(|cas| cas == self.cas_at(found.location));
        is_copy.then_some(now.into())
    }

    /// The records that hold the value of the item at `location`, in order.
    pub(super) fn chain(&self, location: Location) -> impl Iterator<Item = Location> + '_ {
        std::iter::successors(Some(location), |&at| self.core.arena.record(at).next())
    }
}

/// Stores the time of an access, unless it is so near the stored one that the difference is below an eighth of the age:
/// so a hot item's memory is written now and then, not at every read, and ages are right to an eighth.
#[inline]
fn note_access(record: Record<'_>, stored: u16, encoded: u16) {
    if u32::from(encoded) > u32::from(stored) + u32::from(stored / 8) {
        record.set_last_access(encoded);
    }
}
