//! Values that arrive in pieces, and values longer than a record: reserve, fill, commit.

mod join;

use std::collections::VecDeque;

use super::relocate::{OPTIONS_BYTES, Rewrite};
use super::write::{Short, head_of};
use super::{Found, Key, Mode, Outcome, Put, PutError, Store};
use crate::index::{Hint, Locked};
use crate::limits::{
    GRACE_MAX_BYTES, GRACE_PER_OWN_BYTE, KEY_MAX_BYTES, MIN_EXTENT_BYTES, STEP_OWN_BYTES, WORK_PER_OWN_BYTE,
};
use crate::memory::{EXTENT_HEADER_BYTES, Head, Location, OpenRecord, SegmentId, flag};
use crate::segment::Place;
use crate::sharing::Sharing;
use crate::whole::whole;

/// A value on its way into the store. Ends by [`Store::commit`] or [`Store::abort`]; until then nobody sees it, and the
/// memory that it takes stays taken.
#[derive(Debug)]
#[must_use = "an upload that is neither committed nor aborted keeps its memory"]
pub struct Upload {
    head: OpenRecord,
    /// The extent being filled.
    tail: Option<OpenRecord>,
    /// Extents that were opened ahead.
    ahead: VecDeque<OpenRecord>,
    /// The last record of the chain.
    end: Location,
    mode: Mode,
    total_len: usize,
    /// Bytes of the pieces before the one being filled.
    done: usize,
    /// Bytes of the piece being filled.
    filled: usize,
    has_own_cas: bool,
    stale: Option<Stale>,
    /// What emptying segments for it may still cost before more than usual is asked of items.
    grace: usize,
}

/// What a value that is out of date from the start keeps of the item before it.
#[derive(Debug, Clone, Copy)]
struct Stale {
    expiry_s: u32,
    win_sent: bool,
}

impl Upload {
    /// Length of the whole value in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.total_len
    }

    /// Whether the value is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total_len == 0
    }

    /// Has the value stored on this condition, whatever it was before, and as one that is not out of date.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.stale = None;
    }

    /// Has the value stored as one that is out of date, which keeps the item's expiry and whether a reader was told to
    /// fetch a new one, if these and the CAS value are the item's then.
    pub const fn set_stale(&mut self, cas: u64, expiry_s: u32, win_sent: bool) {
        self.mode = Mode::CasAndState { cas, expiry_s, win_sent };
        self.stale = Some(Stale { expiry_s, win_sent });
    }

    /// Bytes that are still to come.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.total_len - self.done - self.filled
    }

    /// The record being filled: the last extent, or the item's own where the value is inside it.
    fn piece(&mut self) -> &mut OpenRecord {
        match &mut self.tail {
            Some(extent) => extent,
            None => &mut self.head,
        }
    }

    const fn piece_len(&self) -> usize {
        match &self.tail {
            Some(extent) => extent.value_len(),
            None => self.head.value_len(),
        }
    }
}

impl<S: Sharing> Store<S> {
    /// Begins to store a value of `len` bytes that comes in pieces. The mode's condition is looked at in the end.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn reserve(&mut self, key: Key<'_>, put: &Put, len: usize, now_s: u32) -> Result<Upload, PutError> {
        self.begin(now_s);
        if len > self.core.limit_bytes() / 2 || u32::try_from(len).is_err() {
            return Err(PutError::TooLarge);
        }
        whole(|| self.begin_upload(key, put, len))
    }

    fn begin_upload(&mut self, key: Key<'_>, put: &Put, len: usize) -> Result<Upload, PutError> {
        let mut head = head_of(key, put);
        head.flags |= flag::CAS;
        head.value_len = len;
        if head.layout().bytes() > self.core.sizes.record_max_bytes {
            (head.value_len, head.total_len) = (0, len);
            head.flags |= flag::CHAINED;
        }
        let old = self.find(key).ok();
        let queue = self.queue_for(key, old, key.bytes.len() + len);
        let bytes = head.layout().bytes();
        let segment = self.make_room(self.place(queue, put.expiry_s), bytes)?;
        head.last_access = self.core.segments.opened(segment).encode_time(self.now_s);
        let inline_bytes = head.value_len;
        let head = self.open_for_upload(segment, &head)?;
        self.keep_pace(bytes - inline_bytes);
        Ok(Upload {
            end: head.location(),
            head,
            tail: None,
            ahead: VecDeque::new(),
            mode: put.mode,
            total_len: len,
            done: 0,
            filled: 0,
            has_own_cas: put.cas.is_some(),
            stale: None,
            grace: len.saturating_mul(GRACE_PER_OWN_BYTE),
        })
    }

    fn open_for_upload(&mut self, segment: SegmentId, head: &Head<'_>) -> Result<OpenRecord, PutError> {
        let open = self.core.arena.append_item(&mut self.writer, segment, head).ok_or(PutError::NoMemory)?;
        self.core.segments.get(segment).add_upload::<S>();
        Ok(open)
    }

    /// Where the upload's next bytes go, some of them at least; empty when it is complete. `now_s` may be the time of
    /// the last call about the upload: where the store has been told a later one since, that holds.
    ///
    /// # Errors
    /// [`PutError::NoMemory`]; the upload can then only be aborted.
    pub fn space<'a>(&'a mut self, upload: &'a mut Upload, now_s: u32) -> Result<&'a mut [u8], PutError> {
        let most = self.piece_max();
        let space = self.whole_space(upload, now_s)?;
        let len = space.len().min(most);
        Ok(&mut space[..len])
    }

    /// The same, as much as there is in the piece being filled.
    pub(super) fn whole_space<'a>(
        &'a mut self,
        upload: &'a mut Upload,
        now_s: u32,
    ) -> Result<&'a mut [u8], PutError> {
        // A search that saw time go back would take what has expired for alive, and be done with it.
        self.begin(now_s.max(self.now_s));
        if upload.filled == upload.piece_len() && upload.missing() != 0 {
            whole(|| self.next_extent(upload))?;
        }
        let filled = upload.filled;
        Ok(&mut self.core.arena.value_mut(upload.piece())[filled..])
    }

    /// The next `len` bytes of the upload were written to its space.
    ///
    /// # Panics
    /// Where that is more than there was space.
    pub fn filled(&mut self, upload: &mut Upload, len: usize) {
        self.fill_by(upload, len, |store| store.keep_pace_with_piece(len));
    }

    /// Counts bytes that were written to the upload's space, and does the upkeep beside them.
    pub(super) fn fill_by(&mut self, upload: &mut Upload, len: usize, keep_pace: impl FnOnce(&mut Self)) {
        assert!(len <= upload.piece_len() - upload.filled, "more bytes than space");
        upload.filled += len;
        self.begin(self.now_s);
        whole(|| {
            self.with_grace(upload, len, |store| {
                store.resize_step();
                keep_pace(store);
            });
        });
    }

    /// Does a part of what an upload needs, of `bytes` of its own: room for it need not be made in haste.
    fn with_grace<T>(&mut self, upload: &mut Upload, bytes: usize, act: impl FnOnce(&mut Self) -> T) -> T {
        self.work.set(0);
        self.grace = upload.grace.min(GRACE_MAX_BYTES.max(WORK_PER_OWN_BYTE * bytes));
        let done = act(self);
        upload.grace = upload.grace.saturating_sub(self.work.get());
        self.grace = 0;
        done
    }

    fn next_extent(&mut self, upload: &mut Upload) -> Result<(), PutError> {
        mm_base::mark!("value goes on in an extent");
        let extent = match upload.ahead.pop_front() {
            Some(extent) => extent,
            None => self.open_extent(upload, upload.missing())?,
        };
        self.go_on_in(upload, extent);
        Ok(())
    }

    /// The upload's next bytes go to this extent of it.
    fn go_on_in(&self, upload: &mut Upload, extent: OpenRecord) {
        if let Some(previous) = upload.tail.replace(extent) {
            self.core.arena.publish(previous);
        }
        upload.done += upload.filled;
        upload.filled = 0;
    }

    /// Where the next extent of an upload goes that has `wanted` bytes to come, and what room it needs at least.
    fn extent_place(&self, upload: &Upload, wanted: usize) -> (Place, usize) {
        let least = wanted.min(MIN_EXTENT_BYTES);
        let header = self.core.arena.rounded(least) - least + EXTENT_HEADER_BYTES;
        (self.place_of(upload.head.location()), least + header)
    }

    /// The same, where the next byte of an upload is the first one of an extent that is not open yet.
    pub(super) fn opens_for(&self, upload: &Upload) -> Option<(Place, usize)> {
        let missing = upload.missing();
        let opens = missing != 0 && upload.filled == upload.piece_len() && upload.ahead.is_empty();
        opens.then(|| self.extent_place(upload, missing))
    }

    /// Opens an extent for up to `wanted` bytes at the end of the upload's chain.
    fn open_extent(&mut self, upload: &mut Upload, wanted: usize) -> Result<OpenRecord, PutError> {
        let (place, least) = self.extent_place(upload, wanted);
        let bytes = wanted.min(self.core.sizes.segment_bytes);
        let segment = self.with_grace(upload, bytes, |store| store.make_room(place, least))?;
        let len = wanted.min(self.core.arena.extent_room(segment));
        let extent =
            self.core.arena.append_extent(&mut self.writer, segment, len).ok_or(PutError::NoMemory)?;
        self.core.segments.get(segment).add_upload::<S>();
        self.core.arena.record(upload.end).set_next(Some(extent.location()));
        upload.end = extent.location();
        Ok(extent)
    }

    /// Opens all extents that the upload needs, so that nothing has to make room for it any more.
    fn open_extents(&mut self, upload: &mut Upload) -> Result<(), PutError> {
        let mut wanted = upload.total_len - upload.head.value_len();
        while wanted != 0 {
            let extent = self.open_extent(upload, wanted)?;
            wanted -= extent.value_len();
            upload.ahead.push_back(extent);
        }
        Ok(())
    }

    /// Makes a complete upload the item of its key, if its mode's condition holds.
    ///
    /// # Errors
    /// [`PutError`]; nothing is changed then. An upload of which bytes are missing is given up: [`Outcome::NotStored`].
    pub fn commit(&mut self, upload: Upload, now_s: u32) -> Result<Outcome, PutError> {
        self.try_commit(upload, now_s).unwrap_or_else(|(outcome, upload)| {
            self.abort(upload);
            Ok(outcome)
        })
    }

    /// The same, but the upload goes on where the mode's condition does not hold: it may be stored on another one.
    ///
    /// # Errors
    /// What would have been the outcome, and the upload.
    #[expect(clippy::result_large_err, reason = "the upload goes back to where it came from")]
    pub fn try_commit(
        &mut self,
        upload: Upload,
        now_s: u32,
    ) -> Result<Result<Outcome, PutError>, (Outcome, Upload)> {
        self.begin(now_s);
        if upload.missing() != 0 {
            self.abort(upload);
            return Ok(Ok(Outcome::NotStored));
        }
        whole(|| self.end_upload(upload))
    }

    /// Makes an upload with all its bytes an item, if it may become one.
    #[expect(clippy::result_large_err, reason = "as in `try_commit`")]
    fn end_upload(&mut self, upload: Upload) -> Result<Result<Outcome, PutError>, (Outcome, Upload)> {
        let mut bytes = [0; KEY_MAX_BYTES];
        let record = self.core.arena.record(upload.head.location());
        let bytes = &mut bytes[..record.layout().key_len];
        bytes.copy_from_slice(record.key());
        let key = Key { bytes, hash: self.core.hasher.hash(bytes), hint: Hint::NONE };
        if upload.mode.joins() {
            return match self.join(key, &upload) {
                Ok(outcome) if outcome != Outcome::Stored => Err((outcome, upload)),
                joined => {
                    self.abort(upload);
                    Ok(joined)
                }
            };
        }
        loop {
            let locked = self.core.index.lock(key.hash);
            let old = self.find_locked(key, &locked);
            let refusal = self.refusal(upload.mode, old);
            let needed = match refusal {
                None => self.needed_to_finish(&locked, &upload, old.is_ok()),
                Some(_) => Ok(None),
            };
            if refusal.is_none() && needed == Ok(None) {
                return Ok(self.finish((key, locked), upload, old.ok()).map(|()| Outcome::Stored));
            }
            self.core.index.unlock(locked);
            if let Some(refusal) = refusal {
                // What was there may have been dead.
                self.follow_removals();
                return Err((refusal, upload));
            }
            let made = match needed {
                Ok(Some((short, bytes))) => self.make_up_for(short, bytes),
                Ok(None) => Ok(()),
                Err(refused) => Err(refused),
            };
            if let Err(error) = made {
                self.abort(upload);
                return Ok(Err(error));
            }
        }
    }

    /// What is missing to make an upload the item of the key whose buckets are locked, and for how many bytes.
    fn needed_to_finish(
        &mut self,
        locked: &Locked,
        upload: &Upload,
        has_slot: bool,
    ) -> Result<Option<(Short, usize)>, PutError> {
        if !has_slot {
            match self.look_for_slot(locked) {
                Ok(found) => found?,
                Err(short) => return Ok(Some((short, 0))),
            }
        }
        Ok(self.room_to_finish(upload))
    }

    /// Where room for how many bytes is missing to finish an upload. The own record of one that was begun before a
    /// flush and ends after it is written anew, so that it is an item of the time after, and that of one which keeps
    /// what another item has.
    fn room_to_finish(&self, upload: &Upload) -> Option<(Short, usize)> {
        let at = upload.head.location();
        if upload.stale.is_none() && !self.is_flushed(at) {
            return None;
        }
        let copy = self.copy_of_upload(at, upload.stale);
        let (place, bytes) = (self.place_of_rewritten(at, copy), self.core.arena.record(at).bytes());
        let bytes = bytes + OPTIONS_BYTES;
        self.open_or_other(place, bytes).is_none().then_some((Short::OfRoom(place), bytes))
    }

    /// What the own record of an upload has when it is written anew.
    fn copy_of_upload(&self, at: Location, stale: Option<Stale>) -> Rewrite {
        let expiry_s = stale.map_or_else(|| self.core.arena.record(at).expiry(), |stale| stale.expiry_s);
        Rewrite { expiry_s, cas: None, stale: stale.is_some() }
    }

    /// Makes an upload with all its bytes the item of `key`, instead of the one that `old` found, and unlocks the key's
    /// buckets.
    fn finish(
        &mut self,
        (key, locked): (Key<'_>, Locked),
        upload: Upload,
        old: Option<Found>,
    ) -> Result<(), PutError> {
        if !upload.has_own_cas {
            let cas = self.fresh_cas(old);
            self.core.arena.set_cas(&upload.head, cas);
        }
        let (bytes, stale, is_joined) = (upload.total_len, upload.stale, upload.mode.joins());
        let first = self.publish(upload);
        let mut current = first;
        // One that was joined with an item goes with it, if a flush has just come.
        let is_flushed = !is_joined && self.is_flushed(first);
        if is_flushed {
            mm_base::mark!("upload ended after a flush");
        }
        if stale.is_some() || is_flushed {
            let copy = self.copy_of_upload(first, stale);
            // There was room. If there is none, another shard has flushed the store just now, and all this came before.
            current = self.copy_record((first, key.bytes), copy).unwrap_or(first);
            if stale.is_some_and(|stale| stale.win_sent) {
                self.core.arena.record(current).change_flags(flag::WIN_SENT, 0);
            }
        }
        self.counters().item_bytes.add(self.item_bytes(current));
        let installed = self.install((key, &locked), current, old);
        self.core.index.unlock(locked);
        // Only now: before, a segment that was emptied would have held a record that the index does not know.
        self.release_chain(first);
        self.count_items(1);
        self.resize_step();
        // That of its bytes was done when they came, or room was made for all that is joined.
        self.keep_pace_with_piece(bytes.min(STEP_OWN_BYTES));
        installed
    }

    /// Gives an upload up and its memory back.
    pub fn abort(&mut self, upload: Upload) {
        self.begin(self.now_s);
        whole(|| {
            let location = self.publish(upload);
            self.discard_chain(location);
            self.release_chain(location);
        });
    }

    /// Publishes the records of an upload. They are in no index yet, and their segments are kept.
    fn publish(&mut self, upload: Upload) -> Location {
        for extent in upload.tail.into_iter().chain(upload.ahead) {
            self.core.arena.publish(extent);
        }
        let location = self.core.arena.publish(upload.head);
        let expiry_s = self.core.arena.record(location).expiry();
        self.note_expiry(location, expiry_s);
        let mut next = self.core.arena.record(location).next();
        while let Some(extent) = next {
            self.core.arena.record(extent).set_owner(location);
            next = self.core.arena.record(extent).next();
        }
        location
    }

    /// The segments of an upload's records may be emptied again.
    fn release_chain(&self, location: Location) {
        let mut next = Some(location);
        while let Some(at) = next {
            next = self.core.arena.record(at).next();
            self.core.segments.get(self.core.arena.segment_of(at)).subtract_upload::<S>();
        }
    }

    /// Makes the records of a value that is in no index garbage.
    fn discard_chain(&mut self, location: Location) {
        self.counters().item_bytes.add(self.item_bytes(location));
        self.bury(location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn time_does_not_go_back_where_an_upload_was_waited_for() {
        let mut store = Store::<crate::Local>::open(&Config::new(1 << 20, 1)).unwrap();
        let key = store.key(b"key").unwrap();
        let mut upload = store.reserve(key, &Put::default(), 10, 5).unwrap();
        store.maintain(1, 20);
        assert_eq!(store.space(&mut upload, 5).map(|space| space.len()), Ok(10));
        assert_eq!(store.now_s, 20);
        assert_eq!(store.space(&mut upload, 21).map(|space| space.len()), Ok(10));
        assert_eq!(store.now_s, 21);
        store.abort(upload);
    }
}
