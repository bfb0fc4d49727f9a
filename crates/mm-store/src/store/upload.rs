//! Values that arrive in pieces, and values longer than a record: reserve, fill, commit.

use super::write::head_of;
use super::{Found, Key, Mode, Outcome, Put, PutError, Store};
use crate::limits::{KEY_MAX_BYTES, MIN_EXTENT_BYTES};
use crate::memory::{Head, Location, OpenRecord, flag};
use crate::narrow::to_u32;
use crate::segment::State;
use crate::sharing::Sharing;

/// A value on its way into the store. Ends by [`Store::commit`] or [`Store::abort`]; until then nobody sees it, and the
/// memory that it takes stays taken.
#[derive(Debug)]
#[must_use = "an upload that is neither committed nor aborted keeps its memory"]
pub struct Upload {
    head: OpenRecord,
    /// The extent being filled.
    tail: Option<OpenRecord>,
    mode: Mode,
    total_len: usize,
    /// Bytes of the pieces before the one being filled.
    done: usize,
    /// Bytes of the piece being filled.
    filled: usize,
    has_own_cas: bool,
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
        self.now_s = now_s;
        if len > self.sizes.limit_bytes / 2 {
            return Err(PutError::TooLarge);
        }
        let mut head = head_of(key, put);
        head.flags |= flag::CAS;
        head.value_len = len;
        if head.layout().bytes() > self.sizes.record_max_bytes {
            (head.value_len, head.total_len) = (0, len);
            head.flags |= flag::CHAINED;
        }
        let old = self.find(key).ok();
        let queue = self.queue_for(key, old);
        let bytes = head.layout().bytes();
        let segment = self.make_room(self.place(queue, put.expiry_s), bytes)?;
        head.last_access = self.segments.get(segment).encode_time(now_s);
        let inline_bytes = head.value_len;
        let head = self.open_for_upload(segment, &head)?;
        self.keep_pace(bytes - inline_bytes);
        let has_own_cas = put.cas.is_some();
        Ok(Upload { head, tail: None, mode: put.mode, total_len: len, done: 0, filled: 0, has_own_cas })
    }

    fn open_for_upload(
        &mut self,
        segment: crate::memory::SegmentId,
        head: &Head<'_>,
    ) -> Result<OpenRecord, PutError> {
        let open = self.arena.append_item(segment, head).ok_or(PutError::NoMemory)?;
        let bytes = to_u32(self.arena.rounded(head.layout().bytes()));
        let book = self.segments.get_mut(segment);
        book.live_bytes += bytes;
        book.uploads += 1;
        Ok(open)
    }

    /// Where the upload's next bytes go; empty when it is complete.
    ///
    /// # Errors
    /// [`PutError::NoMemory`]; the upload can then only be aborted.
    pub fn space<'a>(&'a mut self, upload: &'a mut Upload, now_s: u32) -> Result<&'a mut [u8], PutError> {
        self.now_s = now_s;
        if upload.filled == upload.piece_len() && upload.missing() != 0 {
            self.next_extent(upload)?;
        }
        let filled = upload.filled;
        Ok(&mut self.arena.value_mut(upload.piece())[filled..])
    }

    /// The next `len` bytes of the upload were written to its space.
    ///
    /// # Panics
    /// Where that is more than there was space.
    pub fn filled(&mut self, upload: &mut Upload, len: usize) {
        assert!(len <= upload.piece_len() - upload.filled, "more bytes than space");
        upload.filled += len;
        self.keep_pace(len);
    }

    fn next_extent(&mut self, upload: &mut Upload) -> Result<(), PutError> {
        mm_base::mark!("value goes on in an extent");
        let place = self.place_of_copy(upload.head.location());
        let wanted = upload.missing();
        let least = wanted.min(MIN_EXTENT_BYTES);
        let header = self.arena.rounded(least) - least + crate::memory::EXTENT_HEADER_BYTES;
        let segment = self.make_room(place, least + header)?;
        let len = wanted.min(self.arena.extent_room(segment));
        let extent = self.arena.append_extent(segment, len).ok_or(PutError::NoMemory)?;
        let bytes = self.arena.rounded(self.arena.record(extent.location()).bytes());
        let book = self.segments.get_mut(segment);
        book.live_bytes += to_u32(bytes);
        book.uploads += 1;
        let location = extent.location();
        let previous = match upload.tail.replace(extent) {
            Some(previous) => self.arena.publish(previous),
            None => upload.head.location(),
        };
        self.arena.record(previous).set_next(Some(location));
        upload.done += upload.filled;
        upload.filled = 0;
        Ok(())
    }

    /// Makes a complete upload the item of its key, if its mode's condition holds.
    ///
    /// # Errors
    /// [`PutError`]; nothing is changed then. An upload of which bytes are missing is given up: [`Outcome::NotStored`].
    pub fn commit(&mut self, upload: Upload, now_s: u32) -> Result<Outcome, PutError> {
        if upload.missing() != 0 {
            self.abort(upload);
            return Ok(Outcome::NotStored);
        }
        self.now_s = now_s;
        let mut bytes = [0; KEY_MAX_BYTES];
        let record = self.arena.record(upload.head.location());
        let bytes = &mut bytes[..record.layout().key_len];
        bytes.copy_from_slice(record.key());
        let key = Key { bytes, hash: self.hasher.hash(bytes) };
        if self.is_flushed(upload.head.location()) {
            return self.commit_after_flush(key, upload);
        }
        let old = self.find(key);
        if let Some(refusal) = self.refusal(upload.mode, old) {
            self.abort(upload);
            return Ok(refusal);
        }
        if matches!(upload.mode, Mode::Append | Mode::Prepend) {
            return self.join(key, upload);
        }
        self.finish(key, upload, old.ok())?;
        Ok(Outcome::Stored)
    }

    /// Makes an upload with all its bytes the item of `key`, instead of the one that `old` found.
    fn finish(&mut self, key: Key<'_>, upload: Upload, old: Option<Found>) -> Result<(), PutError> {
        if !upload.has_own_cas {
            let cas = self.fresh_cas(old);
            self.arena.set_cas(&upload.head, cas);
        }
        let location = self.close(upload);
        self.install(key, location, old)
    }

    /// The same for an upload begun before a flush and ended after it: its item is of the time after, so its own record
    /// is written anew.
    fn commit_after_flush(&mut self, key: Key<'_>, upload: Upload) -> Result<Outcome, PutError> {
        mm_base::mark!("upload ended after a flush");
        let (from, mode) = (upload.head.location(), upload.mode);
        let room = self.make_room(self.place_of_copy(from), self.arena.record(from).bytes());
        let old = self.find(key);
        let refusal = self.refusal(mode, old);
        let segment = match (room, refusal) {
            (Ok(segment), None) => segment,
            (room, refusal) => {
                self.abort(upload);
                return room.and_then(|_| refusal.ok_or(PutError::NoMemory));
            }
        };
        if matches!(mode, Mode::Append | Mode::Prepend) {
            return self.join(key, upload);
        }
        if !upload.has_own_cas {
            let cas = self.fresh_cas(old.ok());
            self.arena.set_cas(&upload.head, cas);
        }
        let from = self.close(upload);
        let location = self.copy_record(from, segment, key.bytes).ok_or(PutError::NoMemory)?;
        self.install(key, location, old.ok())?;
        Ok(Outcome::Stored)
    }

    /// Gives an upload up and its memory back.
    pub fn abort(&mut self, upload: Upload) {
        let location = self.close(upload);
        self.discard_chain(location);
    }

    /// Publishes the records of an upload. They are in no index yet.
    fn close(&mut self, upload: Upload) -> Location {
        if let Some(extent) = upload.tail {
            self.arena.publish(extent);
        }
        let location = self.arena.publish(upload.head);
        self.release_chain(location);
        let expiry_s = self.arena.record(location).expiry();
        self.note_expiry(location, expiry_s);
        let mut next = self.arena.record(location).next();
        while let Some(extent) = next {
            self.arena.record(extent).set_owner(location);
            next = self.arena.record(extent).next();
        }
        location
    }

    /// Stores the value of an item and that of an upload as one.
    fn join(&mut self, key: Key<'_>, upload: Upload) -> Result<Outcome, PutError> {
        mm_base::mark!("values joined");
        let is_append = upload.mode == Mode::Append;
        let own_cas = self.arena.record(upload.head.location()).stored_cas().filter(|_| upload.has_own_cas);
        let added = self.close(upload);
        self.hold_chain(added);
        let joined = self.join_values(key, added, (is_append, own_cas));
        self.release_chain(added);
        self.discard_chain(added);
        joined
    }

    fn join_values(
        &mut self,
        key: Key<'_>,
        added: Location,
        (is_append, own_cas): (bool, Option<u64>),
    ) -> Result<Outcome, PutError> {
        let Some(old) = self.find_to_hold(key) else { return Ok(Outcome::NotStored) };
        self.hold_chain(old.location);
        let joined = self.copy_joined(key, added, old.location, (is_append, own_cas));
        self.release_chain(old.location);
        self.finish(key, joined?, Some(old))?;
        Ok(Outcome::Stored)
    }

    /// The item of `key`, out of the segment that is being emptied, which cannot be held.
    fn find_to_hold(&mut self, key: Key<'_>) -> Option<Found> {
        loop {
            let found = self.find(key).ok()?;
            let leaving = self.leaving.segment;
            let is_leaving = |at| Some(self.arena.segment_of(at)) == leaving;
            if leaving.is_none() || !self.chain(found.location).any(is_leaving) {
                return Some(found);
            }
            let queue = self.segments.get(self.arena.segment_of(found.location)).queue();
            let is_whole = self.arena.record(found.location).next().is_none();
            if !(is_whole && self.move_item(found, queue)) {
                self.empty_some(self.sizes.segment_bytes);
            }
        }
    }

    fn copy_joined(
        &mut self,
        key: Key<'_>,
        added: Location,
        old: Location,
        (is_append, cas): (bool, Option<u64>),
    ) -> Result<Upload, PutError> {
        let put = Put { stale: false, win_sent: false, cas, ..self.put_of(old) };
        let len = self.arena.record(old).total_len() + self.arena.record(added).total_len();
        let mut upload = self.reserve(key, &put, len, self.now_s)?;
        let parts = if is_append { [old, added] } else { [added, old] };
        for part in parts {
            if let Err(error) = self.copy_chain(&mut upload, part) {
                self.abort(upload);
                return Err(error);
            }
        }
        Ok(upload)
    }

    fn copy_chain(&mut self, upload: &mut Upload, from: Location) -> Result<(), PutError> {
        let mut next = Some(from);
        while let Some(at) = next {
            let record = self.arena.record(at);
            let len = record.value().len();
            next = record.next();
            let mut copied = 0;
            while copied < len {
                let space = self.space(upload, self.now_s)?.len();
                let piece = space.min(len - copied);
                let filled = upload.filled;
                self.arena.copy_value(upload.piece(), filled, at, copied..copied + piece);
                self.filled(upload, piece);
                copied += piece;
            }
        }
        Ok(())
    }

    /// Keeps the segments of an item's records from being emptied.
    fn hold_chain(&mut self, location: Location) {
        self.for_chain(location, |segment| segment.uploads += 1);
    }

    fn release_chain(&mut self, location: Location) {
        self.for_chain(location, |segment| segment.uploads -= 1);
    }

    fn for_chain(&mut self, location: Location, mut change: impl FnMut(&mut crate::segment::Segment)) {
        let mut next = Some(location);
        while let Some(at) = next {
            let segment = self.arena.segment_of(at);
            debug_assert!(!matches!(self.segments.get(segment).state, State::Leaving(_)), "cannot be held");
            change(self.segments.get_mut(segment));
            next = self.arena.record(at).next();
        }
    }

    /// Makes the records of a value that is in no index garbage.
    fn discard_chain(&mut self, location: Location) {
        self.stats.item_bytes += self.item_bytes(location);
        self.bury(location);
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
            match self.space(&mut upload, self.now_s) {
                Ok(space) => {
                    let len = space.len().min(rest.len());
                    space[..len].copy_from_slice(&rest[..len]);
                    rest = &rest[len..];
                    self.filled(&mut upload, len);
                }
                Err(error) => {
                    self.abort(upload);
                    return Err(error);
                }
            }
        }
        self.commit(upload, self.now_s)
    }
}
