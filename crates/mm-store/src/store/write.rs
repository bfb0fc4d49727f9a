//! Storing whole values.

use super::slots::Search;
use super::{CAS_BYTES, Found, Key, Miss, Mode, Store};
use crate::index::{Locked, Seat};
use crate::memory::{Head, Location, Record, SegmentId, flag};
use crate::narrow::to_u32;
use crate::segment::{Place, Queue};
use crate::sharing::Sharing;
use crate::whole::whole;

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

impl Put {
    /// Always, without anything beside the value.
    pub const PLAIN: Self = Self {
        mode: Mode::Set,
        client_flags: 0,
        expiry_s: 0,
        binary_key: false,
        cas: None,
        stale: false,
        win_sent: false,
    };
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
    /// There is no memory, and none can be made by eviction; or, of a long value to be joined with another, others have
    /// stored the item so often meanwhile that it was given up.
    NoMemory,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// Room at this place.
    OfRoom(Place),
    /// Slots of the index, of which there will be more.
    OfSlots,
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
    pub fn put(&mut self, key: Key<'_>, put: &Put, value: &[u8], now_s: u32) -> Result<Outcome, PutError> {
        whole(|| self.put_in_place(key, put, value, now_s))
    }

    /// The same for a value that is always stored, without client flags, and never expires: the common case, compiled
    /// by itself where it is called.
    ///
    /// # Errors
    /// [`PutError`]; nothing is changed then.
    #[inline(always)]
    pub fn set(&mut self, key: Key<'_>, value: &[u8], now_s: u32) -> Result<Outcome, PutError> {
        whole(|| self.put_in_place(key, &Put::PLAIN, value, now_s))
    }

    #[inline(always)]
    fn put_in_place(
        &mut self,
        key: Key<'_>,
        put: &Put,
        value: &[u8],
        now_s: u32,
    ) -> Result<Outcome, PutError> {
        self.begin(now_s);
        let head = Head { value_len: value.len(), ..head_of(key, put) };
        let record_bytes = head.layout().bytes() + CAS_BYTES;
        if put.mode.joins() || record_bytes > self.core.sizes.record_max_bytes {
            return self.put_by_upload(key, put, value);
        }
        if mm_base::canary!("stale read", 64) && self.find(key).is_ok() {
            return Ok(Outcome::Stored);
        }
        if put.mode == Mode::Set
            && let Some((locked, seat, old)) = self.core.lock_hinted(key, &self.patience)
        {
            let is_done = self.overwrite((seat, old), (&head, value));
            self.core.index.unlock(locked);
            if is_done {
                self.bury_overwritten(seat.location, old, value.len());
                self.after_overwrite(record_bytes);
                return Ok(Outcome::Stored);
            }
        }
        self.put_with_care((key, put), value)
    }

    /// Writes a record over an item whose bucket is locked, where neither is out of the ordinary and there is room; the
    /// old one is to be buried then. False, and nothing is done, where it is not so.
    #[inline(always)]
    fn overwrite(&self, (seat, old): (Seat<'_>, Record<'_>), (head, value): (&Head<'_>, &[u8])) -> bool {
        let core = &*self.core;
        let has_cas = S::IS_SHARED && old.flags() & flag::CAS != 0;
        let unusual = if S::IS_SHARED { flag::CHAINED } else { flag::CHAINED | flag::CAS };
        let is_special =
            head.flags & (flag::CAS | flag::CHAINED) | old.flags() & unusual != 0 || self.wants_cas;
        if is_special || core.death(seat.location, old, self.now_s).is_some() {
            return false;
        }
        let old_book = core.segments.get(core.arena.segment_of(seat.location));
        let place = self.place_over(old_book, old_book.queue(), head.expiry);
        let Some(segment) = self.heads[place.index()] else { return false };
        let book = core.segments.get(segment);
        // What is appended after a flush belongs to the time after it.
        if S::IS_SHARED && book.sequence() < core.flushed_before() {
            return false;
        }
        let mut head = Head { last_access: core.segments.opened(segment).encode_time(self.now_s), ..*head };
        // Of records in one segment, and of segments, the later one has the greater CAS value.
        if has_cas || book.sequence() < old_book.sequence() {
            if !S::IS_SHARED {
                return false;
            }
            // Two shards that write one key by turns come here each time.
            if !self.will_exceed(segment, seat.location) {
                head.flags |= flag::CAS;
                head.cas = self.fresh_cas(Some(seat.into()));
            }
        }
        let Some(location) = core.arena.append_whole(&self.writer, segment, &head, value) else {
            return false;
        };
        self.note_expiry(location, head.expiry);
        seat.replace(location);
        true
    }

    /// Makes the record garbage that [`Store::overwrite`] has written over. Nobody finds it any more, so nothing need
    /// be locked; and as long as it is counted as live its segment stays.
    #[inline(always)]
    fn bury_overwritten(&self, location: Location, old: Record<'_>, value_len: usize) {
        debug_assert!(self.is_found_nowhere(location), "garbage that is still found");
        let core = &*self.core;
        old.change_flags(flag::DEAD, 0);
        let bytes = to_u32(core.arena.rounded(old.item_bytes()));
        let segment = core.arena.segment_of(location);
        if S::IS_SHARED {
            self.untold.add(&core.segments, segment, bytes);
        } else {
            core.segments.add_dead(segment, bytes);
        }
        let counters = self.counters();
        counters.item_bytes.add((value_len as u64).wrapping_sub(old.layout().value_len as u64));
        counters.stored.add(1);
    }

    /// Stores a value that is not just written over an item.
    #[inline(never)]
    fn put_with_care(&mut self, (key, put): (Key<'_>, &Put), value: &[u8]) -> Result<Outcome, PutError> {
        let head = Head { value_len: value.len(), ..head_of(key, put) };
        let record_bytes = head.layout().bytes() + CAS_BYTES;
        let mut queue = None;
        loop {
            // Making room may move the old item, or remove it.
            let locked = self.core.index.lock(key.hash);
            let old = self.find_locked(key, &locked);
            let ended = match self.put_once((key, locked), old, (put.mode, &head, value), &mut queue) {
                Ok(ended) => ended,
                Err(short) => {
                    self.make_up_for(short, record_bytes)?;
                    continue;
                }
            };
            if old.is_ok() {
                // Where it was looked for a slot before, another shard has stored the key since.
                self.search = Search::default();
            }
            if ended == Ok(Outcome::Stored) {
                self.after_write(record_bytes);
            } else {
                // What was there may have been dead.
                self.follow_removals();
            }
            return ended;
        }
    }

    /// Stores a whole value that does not fit a record, or is joined with another.
    pub(super) fn put_by_upload(
        &mut self,
        key: Key<'_>,
        put: &Put,
        value: &[u8],
    ) -> Result<Outcome, PutError> {
        let old = self.find(key);
        if let Some(refusal) = self.refusal(put.mode, old) {
            return Ok(refusal);
        }
        let mut upload = self.reserve(key, put, value.len(), self.now_s)?;
        let mut rest = value;
        while !rest.is_empty() {
            match self.whole_space(&mut upload, self.now_s) {
                Ok(space) => {
                    let len = space.len().min(rest.len());
                    space[..len].copy_from_slice(&rest[..len]);
                    rest = &rest[len..];
                    self.fill_by(&mut upload, len, |store| store.keep_pace(len));
                }
                Err(error) => {
                    self.abort(upload);
                    return Err(error);
                }
            }
        }
        self.commit(upload, self.now_s)
    }

    /// Stores a value if `mode` lets it, and there is room, and unlocks the key's buckets.
    fn put_once(
        &mut self,
        (key, locked): (Key<'_>, Locked),
        old: Result<Found, Miss>,
        (mode, head, value): (Mode, &Head<'_>, &[u8]),
        queue: &mut Option<Queue>,
    ) -> Result<Result<Outcome, PutError>, Short> {
        let stored = match self.refusal(mode, old) {
            Some(refusal) => Ok(Ok(refusal)),
            None => self
                .try_store((key, &locked), old.ok(), (head, value), queue)
                .map(|stored| stored.map(|()| Outcome::Stored)),
        };
        self.core.index.unlock(locked);
        stored
    }

    /// Makes room where there was none for a record of `bytes`.
    pub(super) fn make_up_for(&mut self, short: Short, bytes: usize) -> Result<(), PutError> {
        match short {
            Short::OfRoom(place) => {
                let made = self.make_room(place, bytes).map(|_| ());
                made.inspect_err(|_| self.search = Search::default())
            }
            Short::OfSlots => {
                self.help_to_resize();
                Ok(())
            }
        }
    }

    /// Stores a record of `key`, whose buckets are locked, if there is room. `queue` is what was found out about a
    /// key without an item in a try before.
    #[inline(always)]
    pub(super) fn try_store(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        old: Option<Found>,
        (head, value): (&Head<'_>, &[u8]),
        queue: &mut Option<Queue>,
    ) -> Result<Result<(), PutError>, Short> {
        if old.is_none()
            && let Err(refused) = self.look_for_slot(locked)?
        {
            return Ok(Err(refused));
        }
        let queue = match (old, *queue) {
            (None, Some(queue)) => queue,
            _ => *queue.insert(self.queue_for(key, old, key.bytes.len() + value.len())),
        };
        let place = match old {
            Some(old) => self.place_over(self.segment_at(old.location), queue, head.expiry),
            None => self.place(queue, head.expiry),
        };
        let record_bytes = head.layout().bytes() + CAS_BYTES;
        let segment = self.open_or_other(place, record_bytes).ok_or(Short::OfRoom(place))?;
        let location = self.append(segment, *head, old, value);
        self.counters().item_bytes.add((key.bytes.len() + value.len()) as u64);
        Ok(self.install((key, locked), location, old))
    }

    /// Beside a write of `bytes`: the share of the store's upkeep that falls to it.
    #[inline]
    pub(super) fn after_write(&mut self, bytes: usize) {
        self.count_items(1);
        self.resize_step();
        self.keep_pace(bytes);
    }

    /// The same where only the value of an item has changed: there are as many items as before, so that it is enough to
    /// help a growth or shrink that goes on, and to look now and then whether deletes have left the index too large.
    #[inline]
    fn after_overwrite(&mut self, bytes: usize) {
        if self.core.index.is_moving() || self.countdown <= bytes {
            self.resize_step();
        }
        self.keep_pace(bytes);
    }

    /// Appends a record with its whole value to `segment`, which has room for it.
    ///
    /// # Panics
    /// Where it has not.
    #[inline(always)]
    fn append(
        &mut self,
        segment: SegmentId,
        mut head: Head<'_>,
        old: Option<Found>,
        value: &[u8],
    ) -> Location {
        if head.flags & flag::CAS == 0
            && let Some(old) = old
            && !self.will_exceed(segment, old.location)
        {
            head.flags |= flag::CAS;
            head.cas = self.fresh_cas(Some(old));
        }
        head.last_access = self.core.segments.opened(segment).encode_time(self.now_s);
        let Some(location) = self.core.arena.append_whole(&self.writer, segment, &head, value) else {
            unreachable!("room was made for this record");
        };
        self.note_expiry(location, head.expiry);
        location
    }

    /// Whether the value that is derived for the next record of `segment` exceeds that of the item at `old`. Another
    /// queue's segment may be the younger one.
    #[inline(always)]
    pub(super) fn will_exceed(&self, segment: SegmentId, old: Location) -> bool {
        let core = &*self.core;
        let old_segment = core.segments.get(core.arena.segment_of(old));
        // Of records in one segment, and of segments, the later one has the greater value.
        let is_later = core.segments.get(segment).sequence() >= old_segment.sequence();
        let is_derived = core.arena.record(old).flags() & flag::CAS == 0;
        (is_later && is_derived) || self.next_derived_cas(segment) > self.cas_at(old)
    }

    /// Makes a published record the item of `key`, whose buckets are locked, instead of the one that `old` found.
    #[inline(always)]
    pub(super) fn install(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        location: Location,
        old: Option<Found>,
    ) -> Result<(), PutError> {
        match old {
            Some(old) => {
                self.core.index.replace(old.slot, location);
                self.bury(old.location);
            }
            None => self.insert((key, locked), location)?,
        }
        self.counters().stored.add(1);
        if self.wants_cas {
            self.tell(key, locked);
        }
        Ok(())
    }

    /// Has the next item that this handle stores tell its CAS value, which [`Store::told`] returns then. Looking at
    /// the item afterwards will not do where there are other shards: it may be another one already.
    pub fn ask_for_cas(&mut self) {
        self.wants_cas = true;
        self.told = None;
    }

    /// The CAS value of what was stored since [`Store::ask_for_cas`]; `None` if nothing was.
    pub fn told_cas(&mut self) -> Option<u64> {
        self.told().map(|told| told.cas)
    }

    /// The same with the length of the value, which another may have been part of.
    pub fn told(&mut self) -> Option<Told> {
        self.wants_cas = false;
        self.told.take()
    }

    /// Notes what the item of `key` is like, whose buckets are locked, for whoever asked for it.
    #[cold]
    fn tell(&mut self, key: Key<'_>, locked: &Locked) {
        // It is told even where a flush has come in between.
        if let Some((seat, _)) = self.core.look_up_locked(key, locked) {
            // The item has to keep it, as one that was looked at.
            self.core.index.set_seen(seat.slot, true);
            let len = self.core.arena.record(seat.location).total_len();
            self.told = Some(Told { cas: self.cas_at(seat.location), len });
        }
    }

    /// The queue for an item of so many bytes: that of its old version, main for one that main would have kept.
    #[inline(always)]
    pub(super) fn queue_for(&mut self, key: Key<'_>, old: Option<Found>, bytes: usize) -> Queue {
        match old {
            Some(old) => self.core.segments.get(self.core.arena.segment_of(old.location)).queue(),
            None => match self.core.ghosts.take(key.hash) {
                Some(age) if self.admission.comes_back(age, bytes as u64, self.mean_bytes()) => Queue::Main,
                _ => Queue::Small,
            },
        }
    }
}

/// What there is to know of an item that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its CAS value.
    pub cas: u64,
    /// The length of its value in bytes.
    pub len: usize,
}

/// The head of a new item, without its value.
#[inline(always)]
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
