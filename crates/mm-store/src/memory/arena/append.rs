//! Records at the end of what a segment holds.

use std::marker::PhantomData;
use std::ops::Range;

use mm_base::short::copy;

use super::{Arena, Location, OpenRecord, SegmentId, Writer};
use crate::memory::record::{EXTENT_HEADER_BYTES, Head, write_extent_header, write_head};
use crate::narrow::to_u32;
use crate::primitive::Ordering;

impl Arena {
    /// Appends an item's head and key; `None` where `segment` has no room.
    ///
    /// # Panics
    /// Where `writer` does not have `segment` open.
    #[inline]
    pub(crate) fn append_item(
        &self,
        writer: &mut Writer,
        segment: SegmentId,
        head: &Head<'_>,
    ) -> Option<OpenRecord> {
        self.assert_open(writer, segment);
        let layout = head.layout();
        let (offset, used) = self.room_at(segment, layout.bytes())?;
        // SAFETY: as in `append_whole`.
        unsafe { write_head(self.mapping.region.at(offset), head) };
        Some(self.open_record((segment, used.end), offset, layout.value_at(), head.value_len))
    }

    /// Appends an item with its whole value, which is published at once; `None` where `segment` has no room.
    ///
    /// # Panics
    /// Where `writer` does not have `segment` open, or the value has another length than `head` says.
    #[inline(always)]
    pub(crate) fn append_whole(
        &self,
        writer: &Writer,
        segment: SegmentId,
        head: &Head<'_>,
        value: &[u8],
    ) -> Option<Location> {
        self.assert_open(writer, segment);
        assert!(value.len() == head.value_len, "a value of another length");
        let layout = head.layout();
        let (offset, used) = self.room_at(segment, layout.bytes())?;
        let start = self.mapping.region.at(offset);
        // SAFETY: bytes behind `used` are the segment's writer's alone, and there is one, which is in the hands of this
        // thread; they are inside the region, because the record is inside its segment. The slice ends with this call,
        // before anybody sees that the bytes are used.
        unsafe {
            write_head(start, head);
            let room = std::slice::from_raw_parts_mut(start.add(layout.value_at()).as_ptr(), head.value_len);
            copy(room, value);
        }
        self.fills[segment.index()].used.store(to_u32(used.end), Ordering::Release);
        Some(self.location_at(offset))
    }

    /// Appends an extent for `len` bytes; `None` where `segment` has no room.
    ///
    /// # Panics
    /// Where `writer` does not have `segment` open.
    pub(crate) fn append_extent(
        &self,
        writer: &mut Writer,
        segment: SegmentId,
        len: usize,
    ) -> Option<OpenRecord> {
        self.assert_open(writer, segment);
        let (offset, used) = self.room_at(segment, EXTENT_HEADER_BYTES + len)?;
        write_extent_header(&self.mapping.region, offset, len);
        Some(self.open_record((segment, used.end), offset, EXTENT_HEADER_BYTES, len))
    }

    /// The largest extent that `segment` has room for, in bytes of value.
    pub(crate) fn extent_room(&self, segment: SegmentId) -> usize {
        self.room(segment).saturating_sub(EXTENT_HEADER_BYTES)
    }

    /// Where a record of `bytes` would begin, and how much of the segment is used before and after it.
    #[inline(always)]
    fn room_at(&self, segment: SegmentId, bytes: usize) -> Option<(usize, Range<usize>)> {
        let (used, taken) = (self.used(segment), self.rounded(bytes));
        let fits = taken <= self.config.segment_bytes - used;
        fits.then_some(((segment.index() << self.segment_shift) + used, used..used + taken))
    }

    /// Hands the bytes of a record out whose head is written.
    #[inline]
    fn open_record(
        &self,
        (segment, used): (SegmentId, usize),
        offset: usize,
        value_at: usize,
        value_len: usize,
    ) -> OpenRecord {
        let fill = &self.fills[segment.index()];
        fill.open.store(fill.open.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fill.used.store(to_u32(used), Ordering::Release);
        OpenRecord {
            arena: self.number,
            location: self.location_at(offset),
            value_at: offset + value_at,
            value_len,
            not_send: PhantomData,
        }
    }
}
