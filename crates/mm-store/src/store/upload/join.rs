//! Values that are put before or behind those of items: both are copied, to one record while the key's buckets are
//! locked, or, where that is too short, to an upload of its own.

use super::Upload;
use crate::index::Locked;
use crate::limits::{JOIN_TRIES, JOIN_TRIES_MAX};
use crate::memory::{Head, Location, flag};
use crate::primitive::yield_now;
use crate::sharing::Sharing;
use crate::store::write::{Short, head_of};
use crate::store::{CAS_BYTES, Found, Key, Mode, Outcome, Put, PutError, Store};
use crate::whole::between_steps;

/// What is put before or behind the value of an item.
#[derive(Debug, Clone, Copy)]
struct Added {
    /// Its first record, which is in no index.
    location: Location,
    mode: Mode,
    /// The CAS value that the item gets, where it is given.
    cas: Option<u64>,
}

/// Why two values are not joined while the key's buckets are locked.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    /// There is too little of something for a record of so many bytes.
    Short(Short, usize),
    /// No record is long enough for both.
    TooLong,
}

impl Added {
    /// Both values in the order in which they are joined.
    const fn in_order(self, old: Location) -> [Location; 2] {
        if self.mode.appends() { [old, self.location] } else { [self.location, old] }
    }
}

impl<S: Sharing> Store<S> {
    /// Stores the value of an item and that of an upload as one.
    ///
    /// Where others are faster, each of them has stored something, so that this goes on, [`JOIN_TRIES_MAX`] times at
    /// most.
    pub(super) fn join(&mut self, key: Key<'_>, upload: &Upload) -> Result<Outcome, PutError> {
        mm_base::mark!("values joined");
        let location = upload.head.location();
        let stored_cas = self.core.arena.record(location).stored_cas();
        let added = Added { location, mode: upload.mode, cas: stored_cas.filter(|_| upload.has_own_cas) };
        let mut tries = 0;
        loop {
            between_steps();
            let locked = self.core.index.lock(key.hash);
            let joined = self.join_in_record((key, &locked), added);
            self.core.index.unlock(locked);
            match joined {
                Ok((outcome, bytes)) => {
                    self.after_write(bytes);
                    return Ok(outcome);
                }
                Err(Obstacle::Short(short, bytes)) => {
                    self.make_up_for(short, bytes)?;
                    continue;
                }
                Err(Obstacle::TooLong) => {}
            }
            tries += 1;
            if let Some(outcome) = self.try_join_at_length(key, added, tries > JOIN_TRIES)? {
                return Ok(outcome);
            }
            if tries == JOIN_TRIES_MAX {
                return Err(PutError::NoMemory);
            }
            if S::IS_SHARED {
                yield_now();
            }
        }
    }

    /// Joins two values in one record, while the key's buckets are locked, so that nobody comes in between. Returns as
    /// well how many bytes that took.
    fn join_in_record(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        added: Added,
    ) -> Result<(Outcome, usize), Obstacle> {
        let old = self.find_locked(key, locked);
        if let Some(refusal) = self.refusal(added.mode, old) {
            return Ok((refusal, 0));
        }
        let Ok(old) = old else { return Ok((Outcome::NotStored, 0)) };
        let put = self.put_joined(old.location, added.cas);
        let value_len = self.total_len(old.location) + self.total_len(added.location);
        let mut head = Head { value_len, ..head_of(key, &put) };
        let bytes = head.layout().bytes() + CAS_BYTES;
        if bytes > self.core.sizes.record_max_bytes {
            return Err(Obstacle::TooLong);
        }
        let old_book = self.segment_at(old.location);
        let place = self.place_over(old_book, old_book.queue(), put.expiry_s);
        let room = self.open_or_other(place, bytes);
        let segment = room.ok_or(Obstacle::Short(Short::OfRoom(place), bytes))?;
        if added.cas.is_none() && !self.will_exceed(segment, old.location) {
            head.flags |= flag::CAS;
            head.cas = self.fresh_cas(Some(old));
        }
        head.last_access = self.core.segments.opened(segment).encode_time(self.now_s);
        let Some(mut record) = self.core.arena.append_item(&mut self.writer, segment, &head) else {
            unreachable!("there is room for this record");
        };
        let mut filled = 0;
        for part in added.in_order(old.location) {
            for piece in self.chain(part) {
                let len = self.core.arena.record(piece).value().len();
                self.core.arena.copy_value(&mut record, filled, piece, 0..len);
                filled += len;
            }
        }
        let now = Found { location: self.core.arena.publish(record), ..old };
        self.note_expiry(now.location, put.expiry_s);
        self.counters().item_bytes.add(self.item_bytes(now.location));
        let installed = self.install((key, locked), now.location, Some(old));
        debug_assert!(installed.is_ok(), "it has the slot of the old one");
        let is_gone = self.is_flushed_meanwhile(old, now);
        Ok((if is_gone { Outcome::NotStored } else { Outcome::Stored }, bytes))
    }

    /// Joins two values that no record is long enough for. Such a value is copied while others may change the item;
    /// where it `is_kept` from that, the others wait as long as the copy takes. `None` where they were faster.
    fn try_join_at_length(
        &mut self,
        key: Key<'_>,
        added: Added,
        is_kept: bool,
    ) -> Result<Option<Outcome>, PutError> {
        let before = self.find(key);
        if let Some(refusal) = self.refusal(added.mode, before) {
            return Ok(Some(refusal));
        }
        let Ok(before) = before else { return Ok(Some(Outcome::NotStored)) };
        let put = Put { mode: added.mode, ..self.put_joined(before.location, added.cas) };
        let len = self.total_len(before.location) + self.total_len(added.location);
        let mut upload = self.reserve(key, &put, len, self.now_s)?;
        if let Err(error) = self.open_extents(&mut upload) {
            self.abort(upload);
            return Err(error);
        }
        // From here on nothing is emptied, so what is found now can be read. Making room may have moved it.
        let mut copied = None;
        if !is_kept && let Some(old) = self.find(key).ok().filter(|&old| self.is_planned(old, added, &upload))
        {
            self.copy_both(&mut upload, old.location, added);
            copied = Some(old.location);
        }
        between_steps();
        let locked = self.core.index.lock(key.hash);
        // It may be in another slot by now.
        let now = self.find_locked(key, &locked).ok();
        let now = now.filter(|&now| match copied {
            Some(location) => now.location == location,
            None => is_kept && self.is_planned(now, added, &upload),
        });
        // What was reserved before a flush would be gone with it, and one that was stored since is not.
        let now = now.filter(|_| !self.is_flushed(upload.head.location()));
        let Some(now) = now else {
            self.core.index.unlock(locked);
            self.abort(upload);
            return Ok(None);
        };
        if copied.is_none() {
            self.copy_both(&mut upload, now.location, added);
        }
        self.keep_expiry(now.location, &upload);
        self.finish((key, locked), upload, Some(now))?;
        Ok(Some(Outcome::Stored))
    }

    /// Whether the item that was found is to be joined, and an upload is what its value and the other take.
    fn is_planned(&self, found: Found, added: Added, upload: &Upload) -> bool {
        let head = self.core.arena.record(upload.head.location());
        let (put, planned) =
            (self.put_joined(found.location, None), self.put_joined(upload.head.location(), None));
        let has_same_options = (put.expiry_s != 0) == (planned.expiry_s != 0)
            && Put { expiry_s: planned.expiry_s, ..put } == planned;
        has_same_options
            && added.mode.compared().is_none_or(|cas| cas == self.cas_at(found.location))
            && self.total_len(found.location) + self.total_len(added.location) == head.total_len()
    }

    fn copy_both(&mut self, upload: &mut Upload, old: Location, added: Added) {
        added.in_order(old).into_iter().for_each(|part| self.copy_chain(upload, part));
    }

    /// Has an upload expire as the item at `location` does, which may have been touched where it stands.
    fn keep_expiry(&self, location: Location, upload: &Upload) {
        let expiry_s = self.core.arena.record(location).expiry();
        if expiry_s != 0 {
            self.core.arena.record(upload.head.location()).set_expiry(expiry_s);
        }
    }

    /// How to store the item at `location` joined with another value.
    fn put_joined(&self, location: Location, cas: Option<u64>) -> Put {
        Put { stale: false, win_sent: false, cas, ..self.put_of(location) }
    }

    /// Copies the value of the item at `from` to an upload whose extents are open.
    ///
    /// # Panics
    /// Where they are not: buckets may be locked, so no room can be made for them.
    fn copy_chain(&mut self, upload: &mut Upload, from: Location) {
        let mut next = Some(from);
        while let Some(at) = next {
            let record = self.core.arena.record(at);
            let len = record.value().len();
            next = record.next();
            let mut copied = 0;
            while copied < len {
                if upload.filled == upload.piece_len() {
                    let extent = upload.ahead.pop_front().expect("all extents are open");
                    self.go_on_in(upload, extent);
                }
                let filled = upload.filled;
                let piece = (upload.piece_len() - filled).min(len - copied);
                self.core.arena.copy_value(upload.piece(), filled, at, copied..copied + piece);
                upload.filled += piece;
                copied += piece;
            }
        }
    }

    fn total_len(&self, location: Location) -> usize {
        self.core.arena.record(location).total_len()
    }
}
