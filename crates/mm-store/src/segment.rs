//! What the store knows of each segment besides its records, and the queues that segments stand in.

use crate::memory::SegmentId;
use crate::narrow::{to_u16, to_u32};

/// The queues of segments, which are also the places where records are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// New items. Most of them leave from here.
    Small,
    /// Items that were read often enough while they were in the small queue, or came back soon after they had left it.
    Main,
}

/// How many queues there are.
pub(crate) const QUEUES: usize = 2;

impl Queue {
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Groups of times to live: none, then below 1, 4, 16 and 64 minutes, and longer. Items of a group die together.
pub(crate) const TTL_GROUPS: usize = 6;

/// A time to live in seconds below this is of the first group that has one; each further group reaches four times as
/// far.
const TTL_GROUP_S: u32 = 60;

/// Where a record is appended: each place has an open segment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: Queue,
    /// Group of times to live, below [`TTL_GROUPS`].
    group: u32,
}

impl Place {
    /// The place in `queue` of an item that expires at `expiry_s` (0: never), where there are `groups` groups.
    #[inline]
    pub(crate) fn new(queue: Queue, expiry_s: u32, now_s: u32, groups: u32) -> Self {
        if expiry_s == 0 {
            return Self { queue, group: 0 };
        }
        let quarters =
            (expiry_s.saturating_sub(now_s) / TTL_GROUP_S).checked_ilog2().map_or(0, |log| log / 2 + 1);
        Self { queue, group: (quarters + 1).min(groups - 1) }
    }

    /// A number for each place.
    pub(crate) const fn index(self) -> usize {
        self.queue.index() * TTL_GROUPS + self.group as usize
    }
}

/// What a segment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has no memory.
    Unused,
    /// It has memory and no records.
    Free,
    /// Records are being appended.
    Open(Queue),
    /// Full, and in a queue.
    Sealed(Queue),
    /// Taken out of its queue; its records are being looked at.
    Leaving(Queue),
    /// Its records are gone from the index; a pin keeps it from being free.
    Held,
}

/// What may be left of expired items in a segment that is not searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// So many bytes in each segment.
    pub(crate) bytes: u32,
    /// For so long.
    pub(crate) late_s: u32,
}

/// An expiry later than all others.
pub(crate) const NEVER: u32 = u32::MAX;

/// One segment's book-keeping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) state: State,
    /// When it was opened among all segments; never used twice.
    pub(crate) sequence: u64,
    /// When it was opened, in the store's seconds. Last accesses of its items count from here.
    pub(crate) opened_s: u32,
    /// Bytes of records that are not dead, rounded to granules.
    pub(crate) live_bytes: u32,
    /// Of the dead bytes those of items that had expired.
    pub(crate) expired_bytes: u32,
    /// When it is to be searched for expired items; [`NEVER`] where none of its items expires. Live items that expire
    /// earlier are few: [`Segment::note_expiry`].
    pub(crate) sweep_at_s: u32,
    /// Bytes of items that were found to expire before that since it was set, and the earliest of their expiries.
    early_bytes: u32,
    early_s: u32,
    /// Records of uploads under way. The segment does not leave its queue before they are done.
    pub(crate) uploads: u32,
    previous: Option<SegmentId>,
    next: Option<SegmentId>,
}

impl Segment {
    const UNUSED: Self = Self {
        state: State::Unused,
        sequence: 0,
        opened_s: 0,
        live_bytes: 0,
        expired_bytes: 0,
        sweep_at_s: NEVER,
        early_bytes: 0,
        early_s: NEVER,
        uploads: 0,
        previous: None,
        next: None,
    };

    /// The queue that its items belong to.
    pub(crate) const fn queue(&self) -> Queue {
        match self.state {
            State::Open(queue) | State::Sealed(queue) | State::Leaving(queue) => queue,
            State::Unused | State::Free | State::Held => Queue::Small,
        }
    }

    /// Whether it has items, and it is time to search it for expired ones.
    pub(crate) const fn is_due(&self, now_s: u32) -> bool {
        matches!(self.state, State::Open(_) | State::Sealed(_)) && self.sweep_at_s <= now_s
    }

    /// An item of `bytes` has an expiry now. Items that expire before the next search may wait for it up to
    /// `tolerance.late_s`, as long as they are not more than `tolerance.bytes`.
    #[inline]
    pub(crate) fn note_expiry(&mut self, expiry_s: u32, bytes: u32, tolerance: Tolerance) {
        if expiry_s >= self.sweep_at_s {
            return;
        }
        self.early_s = self.early_s.min(expiry_s);
        self.early_bytes = self.early_bytes.saturating_add(bytes);
        if self.early_bytes > tolerance.bytes {
            self.schedule_sweep(self.early_s);
        } else {
            self.sweep_at_s = self.sweep_at_s.min(expiry_s.saturating_add(tolerance.late_s));
        }
    }

    /// It is to be searched at `sweep_at_s`, if it was not to be earlier.
    pub(crate) fn schedule_sweep(&mut self, sweep_at_s: u32) {
        self.sweep_at_s = self.sweep_at_s.min(sweep_at_s);
        (self.early_bytes, self.early_s) = (0, NEVER);
    }

    /// `now_s` as an item of this segment keeps it in two bytes: exact seconds for nine hours, then steps of 64
    /// seconds, up to 24 days.
    pub(crate) const fn encode_time(&self, now_s: u32) -> u16 {
        let age = now_s.saturating_sub(self.opened_s);
        if age < 0x8000 {
            return to_u16(age as usize);
        }
        let steps = ((age - 0x8000) / 64) as usize;
        0x8000 | if steps < 0x7fff { to_u16(steps) } else { 0x7fff }
    }

    /// The second that [`Segment::encode_time`] was given, or the one its step began with.
    pub(crate) const fn decode_time(&self, encoded: u16) -> u32 {
        let age = if encoded < 0x8000 { encoded as u32 } else { 0x8000 + (encoded as u32 & 0x7fff) * 64 };
        self.opened_s.saturating_add(age)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    oldest: Option<SegmentId>,
    newest: Option<SegmentId>,
    len: u32,
}

/// Bytes of book-keeping for each segment, those of the arena included.
pub(crate) const SEGMENT_BOOK_BYTES: usize = size_of::<Segment>() + 6 * size_of::<u32>();

/// All segments.
#[derive(Debug)]
pub(crate) struct Segments {
    table: Box<[Segment]>,
    queues: [Ends; QUEUES],
    /// Free segments, a stack.
    free: Vec<SegmentId>,
    /// Segments that never had memory, or gave it back, a stack.
    unused: Vec<SegmentId>,
    /// Segments held by pins after their records left.
    held: Vec<SegmentId>,
    next_sequence: u64,
    /// Segments from here on have never been opened.
    opened_below: usize,
}

impl Segments {
    /// `count` segments without memory, numbered from 1.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            table: vec![Segment::UNUSED; count as usize + 1].into(),
            queues: [Ends::default(); QUEUES],
            free: Vec::with_capacity(count as usize),
            unused: (1..=count).rev().map(SegmentId).collect(),
            held: Vec::with_capacity(count as usize),
            next_sequence: 1,
            opened_below: 0,
        }
    }

    /// The book-keeping of `id`.
    #[inline]
    pub(crate) fn get(&self, id: SegmentId) -> &Segment {
        &self.table[id.index()]
    }

    /// The book-keeping of `id`, for changing counters.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: SegmentId) -> &mut Segment {
        &mut self.table[id.index()]
    }

    /// Every segment's number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SegmentId> + use<> {
        (1..to_u32(self.table.len())).map(SegmentId)
    }

    /// How many segments have memory.
    pub(crate) fn resident(&self) -> usize {
        self.table.len() - 1 - self.unused.len()
    }

    /// How many segments are free.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// How many segments `queue` has, those being filled left out.
    pub(crate) const fn len(&self, queue: Queue) -> usize {
        self.queues[queue.index()].len as usize
    }

    /// A number that no segment has had or will have.
    pub(crate) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// The sequence that the next segment will have.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Opens a free segment, or one without memory where `may_grow`.
    pub(crate) fn open(&mut self, queue: Queue, may_grow: bool, now_s: u32) -> Option<SegmentId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if may_grow => self.unused.pop()?,
            None => return None,
        };
        let sequence = self.take_sequence();
        self.opened_below = self.opened_below.max(id.index() + 1);
        self.table[id.index()] =
            Segment { state: State::Open(queue), sequence, opened_s: now_s, ..Segment::UNUSED };
        Some(id)
    }

    /// An open segment is full: it becomes the newest of its queue.
    pub(crate) fn seal(&mut self, id: SegmentId) {
        let State::Open(queue) = self.get(id).state else { return };
        let newest = self.queues[queue.index()].newest;
        let segment = self.get_mut(id);
        segment.state = State::Sealed(queue);
        (segment.previous, segment.next) = (newest, None);
        match newest {
            Some(newest) => self.get_mut(newest).next = Some(id),
            None => self.queues[queue.index()].oldest = Some(id),
        }
        self.queues[queue.index()].newest = Some(id);
        self.queues[queue.index()].len += 1;
    }

    /// Takes a sealed segment out of its queue, wherever it stands there.
    pub(crate) fn leave(&mut self, id: SegmentId) {
        let State::Sealed(queue) = self.get(id).state else { return };
        let (previous, next) = (self.get(id).previous, self.get(id).next);
        match previous {
            Some(previous) => self.get_mut(previous).next = next,
            None => self.queues[queue.index()].oldest = next,
        }
        match next {
            Some(next) => self.get_mut(next).previous = previous,
            None => self.queues[queue.index()].newest = previous,
        }
        self.queues[queue.index()].len -= 1;
        let segment = self.get_mut(id);
        segment.state = State::Leaving(queue);
        (segment.previous, segment.next) = (None, None);
    }

    /// A segment that was being emptied keeps what is left in it: it becomes the newest of its queue.
    pub(crate) fn stay(&mut self, id: SegmentId) {
        if let State::Leaving(queue) = self.get(id).state {
            self.get_mut(id).state = State::Open(queue);
            self.seal(id);
        }
    }

    /// Every sealed segment, in no order.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (SegmentId, &Segment)> {
        let all = self.table[..self.opened_below]
            .iter()
            .enumerate()
            .map(|(number, segment)| (SegmentId(to_u32(number)), segment));
        all.filter(|(_, segment)| matches!(segment.state, State::Sealed(_)))
    }

    /// A segment without records, memory kept.
    pub(crate) fn release(&mut self, id: SegmentId) {
        self.get_mut(id).state = State::Free;
        self.free.push(id);
    }

    /// A segment without records that a pin still holds.
    pub(crate) fn hold(&mut self, id: SegmentId) {
        self.get_mut(id).state = State::Held;
        self.held.push(id);
    }

    /// A held segment for which `is_free` holds now; it is no longer in the list of held ones.
    pub(crate) fn take_held(&mut self, is_free: impl Fn(SegmentId) -> bool) -> Option<SegmentId> {
        let at = self.held.iter().position(|&id| is_free(id))?;
        Some(self.held.swap_remove(at))
    }

    /// A free segment whose memory is to be given back.
    pub(crate) fn take_free_to_discard(&mut self) -> Option<SegmentId> {
        let id = self.free.pop()?;
        self.get_mut(id).state = State::Unused;
        self.unused.push(id);
        Some(id)
    }

    /// The segments of `queue` from the oldest.
    pub(crate) fn oldest_first(&self, queue: Queue) -> impl Iterator<Item = SegmentId> + '_ {
        std::iter::successors(self.queues[queue.index()].oldest, |&id| self.get(id).next)
    }
}
