//! The memory of a log-structured store: items appended to segments, segments in two queues, holes where items died.

use std::collections::VecDeque;

use crate::trace::number::to_u32;

/// No segment.
const NONE: u32 = u32::MAX;

/// The two queues of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// New items.
    Small,
    /// Items that were read.
    Main,
}

/// Where an item is.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u32,
    slot: u32,
    bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Open,
    Sealed,
    /// Taken out of its queue to be emptied.
    Victim,
}

#[derive(Debug)]
struct Segment {
    objects: Vec<u32>,
    used_bytes: u64,
    live_bytes: u64,
    queue: Queue,
    state: State,
}

/// Segments, queues, and the place of every item.
///
/// An item larger than an eighth of a segment may run over its end, which stands for a chain of extents; the segment is
/// then charged what it holds.
#[derive(Debug)]
pub(crate) struct Log {
    segment_bytes: u64,
    segments: Vec<Segment>,
    free: Vec<u32>,
    sealed: [VecDeque<u32>; 2],
    open: Vec<u32>,
    groups: u8,
    queue_bytes: [u64; 2],
    places: Vec<Place>,
    live_items: u64,
}

impl Log {
    /// `groups` open segments per queue.
    pub(crate) fn new(objects: u32, segment_bytes: u64, groups: u8) -> Self {
        Self {
            segment_bytes,
            segments: Vec::new(),
            free: Vec::new(),
            sealed: [VecDeque::new(), VecDeque::new()],
            open: vec![NONE; 2 * usize::from(groups)],
            groups,
            queue_bytes: [0, 0],
            places: vec![Place { segment: NONE, slot: 0, bytes: 0 }; objects as usize],
            live_items: 0,
        }
    }

    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(crate) const fn live_items(&self) -> u64 {
        self.live_items
    }

    /// Bytes of all segments that are not free.
    pub(crate) const fn used_bytes(&self) -> u64 {
        self.queue_bytes[0] + self.queue_bytes[1]
    }

    /// Bytes of the segments of one queue.
    pub(crate) const fn queue_bytes(&self, queue: Queue) -> u64 {
        self.queue_bytes[queue as usize]
    }

    pub(crate) fn holds(&self, object: u32) -> bool {
        self.places[object as usize].segment != NONE
    }

    /// What the item takes; only for one that is there.
    pub(crate) fn bytes(&self, object: u32) -> u32 {
        self.places[object as usize].bytes
    }

    /// The queue of an item that is there.
    pub(crate) fn queue(&self, object: u32) -> Queue {
        self.segments[self.places[object as usize].segment as usize].queue
    }

    /// Appends an item that is not there.
    pub(crate) fn append(&mut self, queue: Queue, group: u8, object: u32, bytes: u32) {
        let id = self.open_for(queue, group, u64::from(bytes));
        let segment = &mut self.segments[id as usize];
        let charged = segment.used_bytes.max(self.segment_bytes);
        segment.used_bytes += u64::from(bytes);
        segment.live_bytes += u64::from(bytes);
        self.queue_bytes[queue as usize] += segment.used_bytes.max(self.segment_bytes) - charged;
        let slot = to_u32(segment.objects.len());
        segment.objects.push(object);
        self.places[object as usize] = Place { segment: id, slot, bytes };
        self.live_items += 1;
    }

    /// Turns an item that is there into a hole; a sealed segment of nothing but holes is freed.
    pub(crate) fn remove(&mut self, object: u32) {
        let place = &mut self.places[object as usize];
        let id = std::mem::replace(&mut place.segment, NONE);
        let bytes = u64::from(place.bytes);
        let segment = &mut self.segments[id as usize];
        segment.live_bytes -= bytes;
        let empty = segment.live_bytes == 0 && segment.state == State::Sealed;
        self.live_items -= 1;
        if empty {
            self.take(id);
            self.free(id);
        }
    }

    /// The sealed segments of a queue, the oldest first.
    pub(crate) fn sealed(&self, queue: Queue) -> impl Iterator<Item = u32> {
        self.sealed[queue as usize].iter().copied()
    }

    /// The sealed segment with the largest share of dead bytes, and this share in thousandths.
    pub(crate) fn deadest(&self) -> Option<(u32, u64)> {
        let share = |id: u32| {
            let segment = &self.segments[id as usize];
            1000 * (segment.used_bytes - segment.live_bytes) / segment.used_bytes.max(1)
        };
        let all = self.sealed.iter().flatten();
        all.map(|&id| (id, share(id))).max_by_key(|&(_, share)| share)
    }

    /// The live items of a segment, in the order in which they were appended.
    pub(crate) fn live(&self, id: u32) -> impl Iterator<Item = u32> {
        self.segments[id as usize].objects.iter().zip(0..).filter_map(move |(&object, slot)| {
            let place = &self.places[object as usize];
            (place.segment == id && place.slot == slot).then_some(object)
        })
    }

    pub(crate) fn live_bytes(&self, id: u32) -> u64 {
        self.segments[id as usize].live_bytes
    }

    pub(crate) fn queue_of(&self, id: u32) -> Queue {
        self.segments[id as usize].queue
    }

    /// Takes a sealed segment out of its queue, to be emptied and then freed.
    pub(crate) fn take(&mut self, id: u32) {
        let segment = &mut self.segments[id as usize];
        segment.state = State::Victim;
        let queue = &mut self.sealed[segment.queue as usize];
        if let Some(position) = queue.iter().position(|&other| other == id) {
            queue.remove(position);
        }
    }

    /// Gives a segment without live items back.
    pub(crate) fn free(&mut self, id: u32) {
        let segment = &mut self.segments[id as usize];
        self.queue_bytes[segment.queue as usize] -= segment.used_bytes.max(self.segment_bytes);
        segment.state = State::Free;
        self.free.push(id);
    }

    /// Closes every open segment.
    pub(crate) fn seal_all(&mut self) {
        for open in 0..self.open.len() {
            self.seal(open);
        }
    }

    fn open_for(&mut self, queue: Queue, group: u8, bytes: u64) -> u32 {
        let open = queue as usize * usize::from(self.groups) + usize::from(group);
        if let Some(segment) = self.segments.get(self.open[open] as usize) {
            let fits = segment.used_bytes + bytes <= self.segment_bytes;
            let runs_over = bytes * 8 > self.segment_bytes && segment.used_bytes < self.segment_bytes;
            if fits || runs_over {
                return self.open[open];
            }
            self.seal(open);
        }
        self.open[open] = self.allocate(queue);
        self.open[open]
    }

    fn allocate(&mut self, queue: Queue) -> u32 {
        let fresh = Segment { objects: Vec::new(), used_bytes: 0, live_bytes: 0, queue, state: State::Open };
        self.queue_bytes[queue as usize] += self.segment_bytes;
        if let Some(id) = self.free.pop() {
            self.segments[id as usize] = fresh;
            return id;
        }
        self.segments.push(fresh);
        to_u32(self.segments.len() - 1)
    }

    fn seal(&mut self, open: usize) {
        let id = std::mem::replace(&mut self.open[open], NONE);
        let Some(segment) = self.segments.get_mut(id as usize) else { return };
        segment.state = State::Sealed;
        let empty = segment.live_bytes == 0;
        self.sealed[segment.queue as usize].push_back(id);
        if empty {
            self.take(id);
            self.free(id);
        }
    }
}
