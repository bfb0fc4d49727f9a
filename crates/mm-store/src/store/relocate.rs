//! Moving records to another segment.

use super::{CAS_BYTES, Found, Store};
use crate::limits::KEY_MAX_BYTES;
use crate::memory::{Head, Location, SegmentId, flag};
use crate::segment::{Place, Queue};
use crate::sharing::Sharing;

/// What a rewritten item has that it had not before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewrite {
    /// Its expiry; 0 for none.
    pub(super) expiry_s: u32,
    /// Its CAS value, where it gets another one.
    pub(super) cas: Option<u64>,
    /// It is out of date from now on, and nobody was told to fetch a new value.
    pub(super) stale: bool,
}

/// Room that a rewritten record may need more than it had: an expiry and a CAS value.
pub(super) const OPTIONS_BYTES: usize = 4 + CAS_BYTES;

impl Rewrite {
    /// Changes the head of a copy.
    const fn apply(self, head: &mut Head<'_>) {
        head.expiry = self.expiry_s;
        head.flags = head.flags & !flag::EXPIRES | if self.expiry_s != 0 { flag::EXPIRES } else { 0 };
        if let Some(cas) = self.cas {
            head.flags |= flag::CAS;
            head.cas = cas;
        }
        if self.stale {
            head.flags = head.flags & !flag::WIN_SENT | flag::STALE;
        }
    }
}

impl<S: Sharing> Store<S> {
    /// Where the rest of a new item goes whose own record is at `location`.
    pub(super) fn place_of(&self, location: Location) -> Place {
        let queue = self.core.segments.get(self.core.arena.segment_of(location)).queue();
        self.place(queue, self.core.arena.record(location).expiry())
    }

    /// Where a copy goes of a record at `location` that belongs to an item with this expiry and will be of `queue`: one
    /// generation on. Records that are to expire soon are not told apart by generation.
    pub(super) fn place_of_copy(&self, location: Location, queue: Queue, expiry_s: u32) -> Place {
        let place = self.place(queue, expiry_s);
        let groups = self.core.sizes.ttl_groups;
        if self.core.sizes.generations == 1 || place.group != 0 && place.group != groups - 1 {
            return place;
        }
        let generation = self.core.segments.get(self.core.arena.segment_of(location)).generation() + 1;
        Place { generation: generation.min(self.core.sizes.generations - 1), ..place }
    }

    /// The segment for a copy of `bytes` at `place`: it may come out of the reserve. When that is used up, another
    /// place will do.
    pub(super) fn room_for_copy(&mut self, place: Place, bytes: usize) -> Option<SegmentId> {
        let room = self.open_with_room(place, bytes).or_else(|| self.instead_with_room(place, bytes));
        let room = room.or_else(|| self.open_head(place));
        room.or_else(|| self.any_with_room(place, bytes))
    }

    /// Copies an item's own record to the end of `queue`. Returns where it is then; `None` where there is no room.
    pub(super) fn move_item(&mut self, found: Found, queue: Queue) -> Option<Found> {
        let record = self.core.arena.record(found.location);
        let (expiry_s, cas, bytes) = (record.expiry(), None, record.bytes());
        let place = self.place_of_copy(found.location, queue, expiry_s);
        // It may need eight bytes more for its CAS value, which depends on where the copy will be.
        let segment = self.room_for_copy(place, bytes + CAS_BYTES)?;
        let location = self.rewrite_item(found, segment, Rewrite { expiry_s, cas, stale: false })?;
        self.count_moved(bytes);
        Some(Found { location, ..found })
    }

    /// Copies an item's own record to `segment` with changes that it may have had no room for. Returns where it is
    /// then; `None` where there is no room for the copy.
    pub(super) fn rewrite_item(
        &mut self,
        found: Found,
        segment: SegmentId,
        change: Rewrite,
    ) -> Option<Location> {
        let mut key = [0; KEY_MAX_BYTES];
        let record = self.core.arena.record(found.location);
        let key = &mut key[..record.layout().key_len];
        key.copy_from_slice(record.key());
        let mut head = self.head_of_copy(found, key);
        change.apply(&mut head);
        if head.flags & flag::CAS == 0 {
            let (old, new) = (self.derived_cas(found.location), self.next_derived_cas(segment));
            if new < old {
                head.flags |= flag::CAS;
                head.cas = old;
            }
        }
        let last_access_s = self.last_access_s(found.location);
        head.last_access = self.core.segments.opened(segment).encode_time(last_access_s);
        let mut open = self.core.arena.append_item(&mut self.writer, segment, &head)?;
        self.core.arena.copy_value(&mut open, 0, found.location, 0..head.value_len);
        let location = self.core.arena.publish(open);
        self.note_expiry(location, head.expiry);
        self.adopt_extents(found.location, location);
        self.core.index.set_location(found.slot, location);
        // Last: a segment in which nothing lives may be used again, and until now this record was found there.
        self.bury_record(found.location);
        Some(location)
    }

    /// Copies the published item record at `from`, which is in no index, to where it would be appended now with what is
    /// changed, if there is room.
    pub(super) fn copy_record(
        &mut self,
        (from, key): (Location, &[u8]),
        change: Rewrite,
    ) -> Option<Location> {
        let record = self.core.arena.record(from);
        let segment =
            self.open_or_other(self.place_of_rewritten(from, change), record.bytes() + OPTIONS_BYTES)?;
        let layout = record.layout();
        let mut head = Head {
            key,
            flags: layout.flags,
            expiry: 0,
            client_flags: record.client_flags(),
            cas: record.stored_cas().unwrap_or(0),
            value_len: layout.value_len,
            total_len: record.total_len(),
            last_access: self.core.segments.opened(segment).encode_time(self.now_s),
        };
        change.apply(&mut head);
        let mut open = self.core.arena.append_item(&mut self.writer, segment, &head)?;
        self.core.arena.copy_value(&mut open, 0, from, 0..head.value_len);
        let location = self.core.arena.publish(open);
        self.note_expiry(location, head.expiry);
        self.adopt_extents(from, location);
        self.bury_record(from);
        Some(location)
    }

    /// Where the record at `location` goes when it is written anew before it is in the index.
    pub(super) fn place_of_rewritten(&self, location: Location, change: Rewrite) -> Place {
        let queue = self.core.segments.get(self.core.arena.segment_of(location)).queue();
        self.place(queue, change.expiry_s)
    }

    fn count_moved(&mut self, bytes: usize) {
        mm_base::mark!("record moved");
        self.counters().moved.add(1);
        self.count_moved_bytes(bytes);
    }

    pub(super) fn count_moved_bytes(&mut self, bytes: usize) {
        self.count_work(bytes);
        self.counters().moved_bytes.add(bytes as u64);
        if self.leaving.compact {
            self.copy_credit = self.copy_credit.saturating_sub_unsigned(bytes);
        }
    }

    /// The head of an item's copy. A CAS value that a client has seen is kept.
    fn head_of_copy<'k>(&self, found: Found, key: &'k [u8]) -> Head<'k> {
        let record = self.core.arena.record(found.location);
        let layout = record.layout();
        let cas_seen = self.core.index.is_seen(found.slot);
        let cas = record.stored_cas().or_else(|| cas_seen.then(|| self.derived_cas(found.location)));
        Head {
            key,
            flags: layout.flags | if cas.is_some() { flag::CAS } else { 0 },
            expiry: record.expiry(),
            client_flags: record.client_flags(),
            cas: cas.unwrap_or(0),
            value_len: layout.value_len,
            total_len: record.total_len(),
            last_access: 0,
        }
    }

    /// Hangs the extents of the item at `from` behind its copy at `to`.
    fn adopt_extents(&mut self, from: Location, to: Location) {
        let first = self.core.arena.record(from).next();
        if first.is_none() {
            return;
        }
        self.core.arena.record(to).set_next(first);
        let mut next = first;
        while let Some(extent) = next {
            self.core.arena.record(extent).set_owner(to);
            next = self.core.arena.record(extent).next();
        }
    }
}
