//! Storing whole values.

use super::{CAS_BYTES, Found, Key, Miss, Store};
use crate::index::{Full, mark};
use crate::memory::{Head, Location, SegmentId, flag};
use crate::narrow::to_u32;
use crate::segment::Queue;
use crate::sharing::Sharing;

/// How a value is stored, and what is stored beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Put {
    /// On what condition.
    pub mode: Mode,
    /// A number of the client's.
    pub client_flags: u32,
    /// When the item expires, in the store's seconds; 0 for never.
    pub expiry_s: u32,
    /// Whether the key was given in an encoded form.
    pub binary_key: bool,
    /// A CAS value to use instead of the store's own.
    pub cas: Option<u64>,
    /// Whether the item is marked stale from the start.
    pub stale: bool,
    /// Whether a reader counts as told to fetch a new value.
    pub win_sent: bool,
}

/// On what condition a value is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Always.
    #[default]
    Set,
    /// If the key is not there.
    Add,
    /// If the key is there.
    Replace,
    /// If the key is there: behind its value. Put stay.
    Append,
    /// If the key is there: before its value. Put stay.
    Prepend,
    /// If the item's CAS value is this one.
    Cas(u64),
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Stored,
    /// The mode's condition did not hold.
    NotStored,
    /// The item has another CAS value.
    Exists,
    /// No item to compare the CAS value with.
    NotFound,
}

/// Why a value cannot be stored whatever the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutError {
    /// The item would take more than half of the memory limit.
    TooLarge,
    /// There is no memory, and none can be made by eviction.
    NoMemory,
}

impl std::fmt::Display for PutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the value is too large for the memory limit",
            Self::NoMemory => "no memory is free and none can be made free by eviction",
        })
    }
}

impl std::error::Error for PutError {}

impl<S: Sharing> Store<S> {
    /// Stores a whole value.
    ///
    /// # Errors
    /// [`PutError`]; nothing is changed then.
    #[inline]
    pub fn put(&mut self, key: Key<'_>, put: &Put, value: &[u8], now_s: u32) -> Result<Outcome, PutError> {
        self.now_s = now_s;
        let head = Head { value_len: value.len(), ..head_of(key, put) };
        let record_bytes = head.layout().bytes() + CAS_BYTES;
        if matches!(put.mode, Mode::Append | Mode::Prepend) || record_bytes > self.sizes.record_max_bytes {
            return self.put_by_upload(key, put, value);
        }
        let mut old = self.find(key);
        if let Some(refusal) = self.refusal(put.mode, old) {
            return Ok(refusal);
        }
        if mm_base::canary!("stale read", 64) && old.is_ok() {
            return Ok(Outcome::Stored);
        }
        let queue = self.queue_for(key, old.ok());
        let place = self.place(queue, put.expiry_s);
        let segment = match self.open_with_room(place, record_bytes) {
            Some(segment) => segment,
            None => {
                let segment = self.make_room(place, record_bytes)?;
                // Eviction may have moved the old item, or removed it.
                old = self.find(key);
                if let Some(refusal) = self.refusal(put.mode, old) {
                    return Ok(refusal);
                }
                segment
            }
        };
        let location = self.append(segment, head, old.ok(), value);
        self.install(key, location, old.ok())?;
        self.keep_pace(record_bytes);
        Ok(Outcome::Stored)
    }

    /// Why `mode` does not let a value be stored over what `old` found, if it does not.
    pub(super) fn refusal(&self, mode: Mode, old: Result<Found, Miss>) -> Option<Outcome> {
        match (mode, old) {
            (Mode::Set, _) | (Mode::Add, Err(_)) => None,
            (Mode::Cas(_), Err(_)) => Some(Outcome::NotFound),
            (Mode::Cas(cas), Ok(found)) => (self.cas_at(found.location) != cas).then_some(Outcome::Exists),
            (Mode::Add, Ok(found)) => {
                let mark = self.index.mark(found.slot);
                if mark & mark::FREQUENCY < mark::FREQUENCY {
                    self.index.set_mark(found.slot, mark + 1);
                }
                Some(Outcome::NotStored)
            }
            (Mode::Replace | Mode::Append | Mode::Prepend, old) => old.is_err().then_some(Outcome::NotStored),
        }
    }

    /// Appends a record with its whole value to `segment`, which has room for it.
    fn append(
        &mut self,
        segment: SegmentId,
        mut head: Head<'_>,
        old: Option<Found>,
        value: &[u8],
    ) -> Location {
        if head.flags & flag::CAS == 0
            && let Some(old) = old
        {
            // The derived value must exceed the old item's; another queue's segment may be the younger one.
            if self.next_derived_cas(segment) <= self.cas_at(old.location) {
                head.flags |= flag::CAS;
                head.cas = self.fresh_cas(Some(old));
            }
        }
        head.last_access = self.segments.get(segment).encode_time(self.now_s);
        self.append_with_room(segment, &head, value)
    }

    /// Appends a record as `head` says.
    ///
    /// # Panics
    /// Where `segment` has no room.
    pub(super) fn append_with_room(&mut self, segment: SegmentId, head: &Head<'_>, value: &[u8]) -> Location {
        let Some(mut open) = self.arena.append_item(segment, head) else {
            unreachable!("room was made for this record");
        };
        self.arena.value_mut(&mut open).copy_from_slice(value);
        let location = self.arena.publish(open);
        let bytes = to_u32(self.arena.rounded(head.layout().bytes()));
        self.segments.get_mut(segment).live_bytes += bytes;
        self.note_expiry(location, head.expiry);
        location
    }

    /// Makes a published record the item of `key`, instead of the one that `old` found.
    pub(super) fn install(
        &mut self,
        key: Key<'_>,
        location: Location,
        old: Option<Found>,
    ) -> Result<(), PutError> {
        self.stats.item_bytes += self.item_bytes(location);
        match old {
            Some(old) => {
                self.bury(old.location);
                self.index.set_location(old.slot, location);
                // Storing again counts as a use.
                let frequency = self.index.mark(old.slot) & mark::FREQUENCY;
                self.index.set_mark(old.slot, (frequency + 1).min(mark::FREQUENCY));
            }
            None => self.insert(key, location)?,
        }
        self.stats.stored += 1;
        self.resize_step();
        Ok(())
    }

    fn insert(&mut self, key: Key<'_>, location: Location) -> Result<(), PutError> {
        loop {
            let (arena, hasher) = (&self.arena, &self.hasher);
            let hash_of = |at| hasher.hash(arena.record(at).key());
            match self.index.insert(key.hash, location, 0, hash_of) {
                Ok(_) => return Ok(()),
                Err(Full) if self.evict => self.evict_weakest(key),
                Err(Full) => {
                    self.stats.refused += 1;
                    self.bury(location);
                    return Err(PutError::NoMemory);
                }
            }
        }
    }

    /// Both buckets of `key` are full beyond help: the item in them that is worth least goes.
    fn evict_weakest(&mut self, key: Key<'_>) {
        mm_base::mark!("item evicted for want of a slot");
        let slot = self.index.weakest(key.hash);
        if let Some(location) = self.index.location(slot) {
            self.evict(Found { slot, location });
        }
    }

    /// Which queue an item of `key` goes to: that of the version before it, or main if it left the small queue lately.
    pub(super) fn queue_for(&mut self, key: Key<'_>, old: Option<Found>) -> Queue {
        match old {
            Some(old) => self.segments.get(self.arena.segment_of(old.location)).queue(),
            None if self.ghosts.take(key.hash) => Queue::Main,
            None => Queue::Small,
        }
    }
}

/// The head of a new item, without its value.
pub(super) fn head_of<'a>(key: Key<'a>, put: &Put) -> Head<'a> {
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    let flags = bit(put.expiry_s != 0, flag::EXPIRES)
        | bit(put.client_flags != 0, flag::CLIENT_FLAGS)
        | bit(put.cas.is_some(), flag::CAS)
        | bit(put.binary_key, flag::BINARY_KEY)
        | bit(put.stale, flag::STALE)
        | bit(put.win_sent, flag::WIN_SENT);
    Head {
        key: key.bytes,
        flags,
        expiry: put.expiry_s,
        client_flags: put.client_flags,
        cas: put.cas.unwrap_or(0),
        ..Head::default()
    }
}
