//! Finding items: ahead of a call and in it.

use mm_base::short::equal;

use super::core::Core;
use super::{Found, Key, Miss, Store};
use crate::hash::KeyHash;
use crate::index::{Hint, Locked, Patience, Seat};
use crate::memory::{Location, Record, flag};
use crate::sharing::Sharing;
use crate::whole::whole;

impl<S: Sharing> Store<S> {
    /// First step of a look-up: brings the key's index buckets near. No other effect.
    #[inline]
    pub fn prefetch_index(&self, hash: KeyHash) {
        let _hint = self.core.index.prefetch(hash);
    }

    /// Second step of a look-up, some time after the first: brings the item near. No other effect.
    #[inline]
    pub fn prefetch_item(&self, hash: KeyHash) {
        let index = &self.core.index;
        if let Some((_, location)) = index.look_ahead(hash, index.prefetch(hash)) {
            self.core.arena.prefetch(location);
        }
    }

    /// [`Store::key`] and [`Store::prefetch_index`] in one, with a key that remembers where the buckets are.
    #[inline(always)]
    #[must_use]
    pub fn key_ahead<'a>(&self, bytes: &'a [u8]) -> Option<Key<'a>> {
        let mut key = self.key(bytes)?;
        key.hint = self.core.index.prefetch(key.hash);
        Some(key)
    }

    /// [`Store::key_ahead`] for a key that is about to be stored: where other shards write its buckets too, their
    /// processors are asked to let go of them at once, and not a second time when one of the two is locked.
    #[inline(always)]
    #[must_use]
    pub fn key_ahead_to_write<'a>(&self, bytes: &'a [u8]) -> Option<Key<'a>> {
        let mut key = self.key(bytes)?;
        key.hint = self.core.index.prefetch_buckets_to_write(key.hash);
        Some(key)
    }

    /// [`Store::prefetch_item`] for a key of [`Store::key_ahead`], which then remembers where its item stands: a call
    /// that is given it in the same turn need not search again.
    #[inline(always)]
    pub fn look_ahead(&self, key: &mut Key<'_>) {
        key.hint = match self.core.index.look_ahead(key.hash, key.hint) {
            Some((hint, location)) => {
                self.core.arena.prefetch(location);
                hint
            }
            None => Hint::NONE,
        };
    }

    /// The same for a key that is about to be stored: where other shards write its item too, their processors are asked
    /// to let go of it. Where there is none, it is to be known whether the key comes back.
    #[inline(always)]
    pub fn look_ahead_to_write(&self, key: &mut Key<'_>) {
        key.hint = match self.core.index.look_ahead(key.hash, key.hint) {
            Some((hint, location)) if S::IS_SHARED => {
                self.core.index.prefetch_to_write(hint);
                self.core.arena.prefetch_to_write(location);
                self.core.segments.prefetch_dead(self.core.arena.segment_of(location));
                hint
            }
            Some((hint, location)) => {
                self.core.arena.prefetch(location);
                hint
            }
            None => {
                self.core.ghosts.prefetch(key.hash);
                Hint::NONE
            }
        };
    }

    /// The live item of `key`.
    #[inline]
    pub(super) fn find(&self, key: Key<'_>) -> Result<Found, Miss> {
        let core = &*self.core;
        let Some((seat, record)) = core.look_up(key) else { return Err(Miss::Absent) };
        match core.death(seat.location, record, self.now_s) {
            None => Ok(seat.into()),
            Some(miss) => Err(miss),
        }
    }

    /// The same where the key's buckets are locked. One that is expired or flushed is removed on the way.
    #[inline(always)]
    pub(super) fn find_locked(&self, key: Key<'_>, locked: &Locked) -> Result<Found, Miss> {
        let Some((seat, _)) = self.core.look_up_locked(key, locked) else { return Err(Miss::Absent) };
        self.if_alive(seat.into())
    }

    /// What was found, if it is alive; else it is removed. Its buckets are locked.
    pub(super) fn if_alive(&self, found: Found) -> Result<Found, Miss> {
        let record = self.core.arena.record(found.location);
        let Some(miss) = self.core.death(found.location, record, self.now_s) else { return Ok(found) };
        self.reclaim(found);
        match miss {
            Miss::Flushed => self.counters().met_flushed.add(1),
            _ => self.counters().met_expired.add(1),
        }
        Err(miss)
    }

    /// A reader has found the item of a key dead: removes it, and does what of the index's shrink falls to that.
    #[cold]
    #[inline(never)]
    pub(super) fn reclaim_unlocked(&self, bytes: &[u8], hash: KeyHash, miss: Miss) -> Miss {
        whole(|| {
            let locked = self.core.index.lock(hash);
            let _removed = self.find_locked(Key { bytes, hash, hint: Hint::NONE }, &locked);
            self.core.index.unlock(locked);
            self.follow_removals();
        });
        miss
    }

    #[inline]
    pub(super) fn is_flushed(&self, location: Location) -> bool {
        self.core.is_flushed(location)
    }
}

impl<S: Sharing> Core<S> {
    /// Where `key`'s item stands, and its record, whether expired or flushed or not.
    #[inline(always)]
    pub(super) fn look_up(&self, key: Key<'_>) -> Option<(Seat<'_>, Record<'_>)> {
        self.confirm(key, self.index.hinted(key.hint))
    }

    /// The same for who has locked the key's buckets.
    #[inline(always)]
    pub(super) fn look_up_locked(&self, key: Key<'_>, locked: &Locked) -> Option<(Seat<'_>, Record<'_>)> {
        self.confirm(key, self.index.hinted_locked(key.hint, locked))
    }

    /// Locks the one bucket in which the look ahead has found `key`'s item, if that still stands there.
    #[inline(always)]
    pub(super) fn lock_hinted(
        &self,
        key: Key<'_>,
        patience: &Patience,
    ) -> Option<(Locked, Seat<'_>, Record<'_>)> {
        let (locked, seat) = self.index.lock_hinted(key.hint, patience)?;
        let record = self.arena.record(seat.location);
        if equal(record.key(), key.bytes) {
            return Some((locked, seat, record));
        }
        self.index.unlock(locked);
        None
    }

    /// What a hint has led to, if it is `key`'s item, or else what a search finds.
    #[inline(always)]
    fn confirm<'a>(&'a self, key: Key<'_>, hinted: Option<Seat<'a>>) -> Option<(Seat<'a>, Record<'a>)> {
        if let Some(seat) = hinted {
            let record = self.arena.record(seat.location);
            if equal(record.key(), key.bytes) {
                return Some((seat, record));
            }
        }
        let found = self.search(key.hash, key.bytes)?;
        Some((self.index.seat(found.slot, found.location), self.arena.record(found.location)))
    }

    /// Looks for the item of a key where no hint leads to it. Small results of a call that is seldom made.
    #[inline(never)]
    fn search(&self, hash: KeyHash, bytes: &[u8]) -> Option<Found> {
        let mut found = None;
        let slot = self.index.find(hash, |location| {
            found = Some(location);
            equal(self.arena.record(location).key(), bytes)
        })?;
        found.map(|location| Found { slot, location })
    }

    /// Why the item at `location` is dead by time or flush, if it is.
    #[inline(always)]
    pub(super) fn death(&self, location: Location, record: Record<'_>, now_s: u32) -> Option<Miss> {
        if self.is_flushed(location) {
            Some(Miss::Flushed)
        } else if is_expired(record, now_s) {
            Some(Miss::Expired)
        } else {
            None
        }
    }

    #[inline(always)]
    fn is_flushed(&self, location: Location) -> bool {
        let before = self.flushed_before();
        before != 0 && self.segments.get(self.arena.segment_of(location)).sequence() < before
    }
}

impl From<Seat<'_>> for Found {
    #[inline]
    fn from(seat: Seat<'_>) -> Self {
        Self { slot: seat.slot, location: seat.location }
    }
}

/// Whether an item's time is over: at its very second it is.
#[inline]
pub(super) fn is_expired(record: Record<'_>, now_s: u32) -> bool {
    if mm_base::canary!("expired item served", 16) {
        return false;
    }
    record.flags() & flag::EXPIRES != 0 && record.expiry() <= now_s
}
