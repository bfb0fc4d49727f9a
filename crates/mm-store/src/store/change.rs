//! Changing items in place, removing them, flushing.

use super::relocate::{OPTIONS_BYTES, Rewrite};
use super::{Found, Item, Key, Miss, Mode, Put, PutError, Store};
use crate::memory::{Location, flag};
use crate::segment::{PLACES, Place};
use crate::sharing::Sharing;
use crate::whole::whole;

/// What a change has to do with CAS values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CasRule {
    /// The item must have this one.
    pub compare: Option<u64>,
    /// The item gets this one instead of the store's own.
    pub assign: Option<u64>,
}

/// Why an item is not removed or marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteError {
    /// There is none.
    Miss(Miss),
    /// It has another CAS value.
    Exists,
}

/// What is changed where an item is written anew.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    /// It must have this CAS value.
    compare: Option<u64>,
    /// Its expiry (0: never), where it changes.
    expiry_s: Option<u32>,
    cas: NewCas,
    /// It is marked as out of date, its win as not sent.
    stale: bool,
    /// It counts as read.
    is_use: bool,
}

/// The CAS value of an item that is written anew.
#[derive(Debug, Clone, Copy, Default)]
enum NewCas {
    #[default]
    Same,
    Fresh,
    Given(u64),
}

/// What a reader of an item notes at the moment at which it finds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// The item keeps the CAS value that it has.
    pub cas: bool,
    /// The reader is told to fetch a new value, if nobody was.
    pub win: bool,
}

impl<S: Sharing> Store<S> {
    /// Removes an item, if it has the CAS value `cas` where one is given.
    ///
    /// # Errors
    /// Why it is not removed.
    pub fn delete(&mut self, key: Key<'_>, cas: Option<u64>, now_s: u32) -> Result<(), DeleteError> {
        self.begin(now_s);
        whole(|| {
            let deleted = self.remove_key(key, cas);
            self.follow_removals();
            deleted
        })
    }

    fn remove_key(&self, key: Key<'_>, cas: Option<u64>) -> Result<(), DeleteError> {
        let locked = self.core.index.lock(key.hash);
        let deleted = match self.find_locked(key, &locked) {
            Ok(found) if cas.is_some_and(|cas| cas != self.cas_at(found.location)) => {
                Err(DeleteError::Exists)
            }
            Ok(found) => {
                self.remove(found);
                Ok(())
            }
            Err(miss) => Err(DeleteError::Miss(miss)),
        };
        self.core.index.unlock(locked);
        deleted
    }

    /// Changes when an item expires, and notes that it was read. Its CAS value stays.
    ///
    /// # Errors
    /// Why there is no item; no memory for it where it had no expiry before and has to be written anew.
    pub fn touch(&mut self, key: Key<'_>, expiry_s: u32, now_s: u32) -> Result<Result<(), PutError>, Miss> {
        self.begin(now_s);
        let is_done = whole(|| {
            let locked = self.core.index.lock(key.hash);
            let is_done = self.find_locked(key, &locked).map(|found| {
                let is_done = self.touch_in_place(found, expiry_s);
                if is_done {
                    let _read = self.read(found);
                }
                is_done
            });
            self.core.index.unlock(locked);
            if is_done != Ok(false) {
                self.follow_removals();
            }
            is_done
        });
        if is_done? {
            return Ok(Ok(()));
        }
        // The record has no room for an expiry, or no use for it any more: it is written anew, CAS value kept.
        let change = Change { expiry_s: Some(expiry_s), is_use: true, ..Change::default() };
        match self.rewrite(key, &change) {
            Ok(done) => Ok(done),
            Err(DeleteError::Miss(miss)) => Err(miss),
            Err(DeleteError::Exists) => unreachable!("nothing was compared"),
        }
    }

    fn touch_in_place(&self, found: Found, expiry_s: u32) -> bool {
        let record = self.core.arena.record(found.location);
        if record.flags() & flag::EXPIRES != 0 && expiry_s != 0 {
            record.set_expiry(expiry_s);
            self.note_expiry(found.location, expiry_s);
            return true;
        }
        expiry_s == record.expiry()
    }

    /// Reads an item, notes that it was read, and changes when it expires, at once. Returns as well when it was to
    /// expire before. Where there is no memory to keep the new time, the old one holds.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get_touching(
        &mut self,
        key: Key<'_>,
        expiry_s: u32,
        now_s: u32,
    ) -> Result<(Item<'_, S>, u32), Miss> {
        self.get_touching_noting(key, expiry_s, now_s, |_, _| Notes::default())
            .map(|(item, before_s, _)| (item, before_s))
    }

    /// The same, and notes in the same moment what `notes` says of the item and of when it was to expire before.
    /// Returns as well whether the reader is the one who is told to fetch a new value.
    ///
    /// # Errors
    /// Why there is no item.
    pub fn get_touching_noting(
        &mut self,
        key: Key<'_>,
        expiry_s: u32,
        now_s: u32,
        notes: impl Fn(&Item<'_, S>, u32) -> Notes,
    ) -> Result<(Item<'_, S>, u32, bool), Miss> {
        self.begin(now_s);
        whole(move || self.touch_noting(key, expiry_s, true, notes))
    }

    /// The same, but leaves no trace of the item's being read.
    ///
    /// # Errors
    /// Why there is no item.
    pub fn peek_touching_noting(
        &mut self,
        key: Key<'_>,
        expiry_s: u32,
        now_s: u32,
        notes: impl Fn(&Item<'_, S>, u32) -> Notes,
    ) -> Result<(Item<'_, S>, u32, bool), Miss> {
        self.begin(now_s);
        whole(move || self.touch_noting(key, expiry_s, false, notes))
    }

    fn touch_noting(
        &mut self,
        key: Key<'_>,
        expiry_s: u32,
        is_read: bool,
        notes: impl Fn(&Item<'_, S>, u32) -> Notes,
    ) -> Result<(Item<'_, S>, u32, bool), Miss> {
        let change = Change { expiry_s: Some(expiry_s), ..Change::default() };
        loop {
            let locked = self.core.index.lock(key.hash);
            let touched = self.find_locked(key, &locked).and_then(|found| {
                let before_s = self.core.arena.record(found.location).expiry();
                let touched = match self.touch_in_place(found, expiry_s) {
                    true => Ok((found, 0)),
                    false => self.try_rewrite(found, &change),
                };
                match touched {
                    Ok((now, _)) if self.is_flushed_meanwhile(found, now) => Err(Miss::Flushed),
                    touched => Ok((touched, before_s)),
                }
            });
            let noted = match touched {
                Ok((Ok((found, _)), before_s)) => self.note(found, |item| notes(item, before_s)),
                _ => false,
            };
            self.core.index.unlock(locked);
            if touched.is_err() {
                // What was found would not stand there any more.
                self.follow_removals();
            }
            match touched? {
                (Ok((found, bytes)), before_s) => {
                    // Its share of the upkeep is left to the next write: it could move the item that is shown.
                    self.countdown = self.countdown.saturating_sub(bytes);
                    return Ok((self.show(found, is_read), before_s, noted));
                }
                (Err((place, bytes)), _) => {
                    if self.make_room(place, bytes).is_err() {
                        return self.get_noting(key, is_read, notes);
                    }
                }
            }
        }
    }

    /// As [`Store::get_touching_noting`], without a new expiry.
    fn get_noting(
        &mut self,
        key: Key<'_>,
        is_read: bool,
        notes: impl Fn(&Item<'_, S>, u32) -> Notes,
    ) -> Result<(Item<'_, S>, u32, bool), Miss> {
        let locked = self.core.index.lock(key.hash);
        let found = self.find_locked(key, &locked);
        let noted = found.is_ok_and(|found| self.note(found, |item| notes(item, item.expiry_s())));
        self.core.index.unlock(locked);
        if found.is_err() {
            self.follow_removals();
        }
        let item = self.show(found?, is_read);
        Ok((item, item.expiry_s(), noted))
    }

    /// The item that was found, which is read or only looked at.
    fn show(&self, found: Found, is_read: bool) -> Item<'_, S> {
        if is_read { self.read(found) } else { self.item(found, self.core.arena.record(found.location)) }
    }

    /// Notes what `notes` says of the item that was found, whose buckets are locked. Returns whether its win is sent by
    /// this.
    fn note(&self, found: Found, notes: impl FnOnce(&Item<'_, S>) -> Notes) -> bool {
        let record = self.core.arena.record(found.location);
        let notes = notes(&self.item(found, record));
        if notes.cas {
            self.core.index.set_seen(found.slot, true);
        }
        let wins = notes.win && record.flags() & flag::WIN_SENT == 0;
        if wins {
            record.change_flags(flag::WIN_SENT, 0);
        }
        wins
    }

    /// Writes an item anew.
    fn rewrite(&mut self, key: Key<'_>, change: &Change) -> Result<Result<(), PutError>, DeleteError> {
        whole(|| self.write_anew(key, change))
    }

    fn write_anew(&mut self, key: Key<'_>, change: &Change) -> Result<Result<(), PutError>, DeleteError> {
        loop {
            let locked = self.core.index.lock(key.hash);
            let written = match self.find_locked(key, &locked) {
                Ok(found) if change.compare.is_some_and(|cas| cas != self.cas_at(found.location)) => {
                    Err(DeleteError::Exists)
                }
                Ok(found) => match self.try_rewrite(found, change) {
                    Ok((now, _)) if self.is_flushed_meanwhile(found, now) => {
                        Err(DeleteError::Miss(Miss::Flushed))
                    }
                    written => {
                        if let (Ok((now, _)), true) = (written, change.is_use) {
                            let _read = self.read(now);
                        }
                        Ok(written)
                    }
                },
                Err(miss) => Err(DeleteError::Miss(miss)),
            };
            self.core.index.unlock(locked);
            if written.is_err() {
                self.follow_removals();
            }
            match written? {
                Ok((_, bytes)) => {
                    self.after_write(bytes);
                    return Ok(Ok(()));
                }
                Err((place, bytes)) => {
                    if let Err(error) = self.make_room(place, bytes) {
                        return Ok(Err(error));
                    }
                }
            }
        }
    }

    /// Whether a flush by another shard has come between finding an item and writing it anew, whose buckets are locked:
    /// what is written to a segment that was opened after a flush would outlive it, so it is removed.
    pub(super) fn is_flushed_meanwhile(&mut self, before: Found, now: Found) -> bool {
        let is_flushed = S::IS_SHARED && self.is_flushed(before.location) && !self.is_flushed(now.location);
        if is_flushed {
            self.remove(now);
        }
        is_flushed
    }

    /// Writes the item that was found anew, if there is room; returns where it is now, and how many bytes that took.
    /// The error is the place where there is no room for how many bytes.
    fn try_rewrite(&mut self, found: Found, change: &Change) -> Result<(Found, usize), (Place, usize)> {
        let record = self.core.arena.record(found.location);
        let bytes = record.bytes() + OPTIONS_BYTES;
        let expiry_s = change.expiry_s.unwrap_or_else(|| record.expiry());
        let queue = self.core.segments.get(self.core.arena.segment_of(found.location)).queue();
        let place = self.place_over(self.segment_at(found.location), queue, expiry_s);
        let segment = self.open_or_other(place, bytes).ok_or((place, bytes))?;
        let cas = match change.cas {
            NewCas::Same => {
                self.core.index.set_seen(found.slot, true);
                None
            }
            NewCas::Fresh => Some(self.fresh_cas(Some(found))),
            NewCas::Given(cas) => Some(cas),
        };
        let rewrite = Rewrite { expiry_s, cas, stale: change.stale };
        let location = self.rewrite_item(found, segment, rewrite);
        debug_assert!(location.is_some(), "there is room");
        Ok((Found { location: location.unwrap_or(found.location), ..found }, bytes))
    }

    /// Notes that somebody was told to fetch a new value of the item that was found; false where somebody was before,
    /// `None` where it is no longer there.
    pub(super) fn take_win(&self, found: Found) -> Option<bool> {
        whole(|| self.send_win(found))
    }

    fn send_win(&self, found: Found) -> Option<bool> {
        let hash = self.core.hasher.hash(self.core.arena.record(found.location).key());
        let locked = self.core.index.lock(hash);
        let is_first = self.current(found, hash).map(|now| {
            let record = self.core.arena.record(now.location);
            let is_first = record.flags() & flag::WIN_SENT == 0;
            if is_first {
                record.change_flags(flag::WIN_SENT, 0);
            }
            is_first
        });
        self.core.index.unlock(locked);
        is_first
    }

    /// Marks an item as out of date under a new CAS value, its win as not sent, and changes its expiry where one is
    /// given. If `compare` is given, the item must have that CAS value.
    ///
    /// # Errors
    /// Why there is no such item; no memory to write it anew.
    pub fn mark_stale(
        &mut self,
        key: Key<'_>,
        expiry_s: Option<u32>,
        cas: CasRule,
        now_s: u32,
    ) -> Result<Result<(), PutError>, DeleteError> {
        self.begin(now_s);
        let CasRule { compare, assign } = cas;
        let cas = assign.map_or(NewCas::Fresh, NewCas::Given);
        self.rewrite(key, &Change { compare, expiry_s, cas, stale: true, is_use: false })
    }

    /// Removes every item stored up to now. The memory is free again as writes and [`Store::maintain`] work it off.
    pub fn flush_all(&mut self) {
        mm_base::mark!("flush");
        self.begin(self.now_s);
        whole(|| {
            for full in std::mem::replace(&mut self.heads, [None; PLACES]).into_iter().flatten() {
                self.close_head(full);
            }
            self.core.segments.mark_next(&self.core.flushed_before);
            self.finish_flush();
            self.countdown = 0;
        });
    }

    /// How to store the item at `location` again, its CAS value left out.
    pub(super) fn put_of(&self, location: Location) -> Put {
        let record = self.core.arena.record(location);
        let flags = record.flags();
        Put {
            mode: Mode::Set,
            client_flags: record.client_flags(),
            expiry_s: record.expiry(),
            binary_key: flags & flag::BINARY_KEY != 0,
            cas: None,
            stale: flags & flag::STALE != 0,
            win_sent: flags & flag::WIN_SENT != 0,
        }
    }
}
