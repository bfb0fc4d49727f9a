//! What the store knows of each segment besides its records, and the queues that segments stand in.

mod lists;
mod minima;
#[cfg(all(test, loom))]
mod models;

use crate::narrow::to_u16;
use crate::primitive::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::sharing::{Sharing, add, lower, subtract, take_some};

pub(crate) use lists::{SEGMENT_BOOK_BYTES, Segments};

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

/// Generations of records: those written lately, those copied once to fill holes, and those copied more often. What
/// was copied lives long, what was overwritten does not; apart from each other they leave fewer holes to fill.
pub(crate) const GENERATIONS: u8 = 3;

/// How many places there are.
pub(crate) const PLACES: usize = QUEUES * TTL_GROUPS * GENERATIONS as usize;

/// Where a record is appended: each place has an open segment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: Queue,
    /// Group of times to live, below [`TTL_GROUPS`].
    pub(crate) group: u32,
    /// Below [`GENERATIONS`].
    pub(crate) generation: u8,
}

impl Place {
    /// The place in `queue` of a new item that expires at `expiry_s` (0: never), where there are `groups` groups.
    #[inline]
    pub(crate) fn new(queue: Queue, expiry_s: u32, now_s: u32, groups: u32) -> Self {
        if expiry_s == 0 {
            return Self { queue, group: 0, generation: 0 };
        }
        let quarters =
            (expiry_s.saturating_sub(now_s) / TTL_GROUP_S).checked_ilog2().map_or(0, |log| log / 2 + 1);
        Self { queue, group: (quarters + 1).min(groups - 1), generation: 0 }
    }

    /// A number for each place.
    pub(crate) const fn index(self) -> usize {
        (self.queue.index() * TTL_GROUPS + self.group as usize) * GENERATIONS as usize
            + self.generation as usize
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
    /// Its records are gone from the index; a pin or a shard that may be reading keeps it from being free.
    Held,
}

impl State {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Unused => 0,
            Self::Free => 1,
            Self::Held => 2,
            Self::Open(queue) => 4 | queue as u8,
            Self::Sealed(queue) => 6 | queue as u8,
            Self::Leaving(queue) => 8 | queue as u8,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        let queue = if byte & 1 == Queue::Small as u8 { Queue::Small } else { Queue::Main };
        match byte {
            0 => Self::Unused,
            1 => Self::Free,
            2 => Self::Held,
            4 | 5 => Self::Open(queue),
            6 | 7 => Self::Sealed(queue),
            _ => Self::Leaving(queue),
        }
    }

    /// Whether there are records to be looked at.
    pub(crate) const fn has_records(self) -> bool {
        matches!(self, Self::Open(_) | Self::Sealed(_) | Self::Leaving(_))
    }
}

/// What may be left of expired items in a segment that is not searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// So many bytes in each segment.
    pub(crate) bytes: u32,
    /// For so long.
    pub(crate) late_s: u32,
    /// What has expired by now, when it comes, stays until the second after the next: whoever asks at once is told
    /// that it has expired, not that there is nothing. (The clock may go on right after it has come.)
    pub(crate) now_s: u32,
}

/// How heavy a segment is, by what lives in it, is told in parts of its size: so many.
pub(crate) const WEIGHTS: u64 = 16;

/// An expiry later than all others.
pub(crate) const NEVER: u32 = u32::MAX;

/// One segment's book-keeping, which every shard may read, in cache lines of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
pub(crate) struct Segment {
    state: AtomicU8,
    generation: AtomicU8,
    sequence: AtomicU64,
    garbage: Garbage,
    sweep_at_s: AtomicU32,
    early_bytes: AtomicU32,
    early_s: AtomicU32,
    /// The second in which the last search of it began, or one before which none is to begin.
    searched_s: AtomicU32,
    uploads: AtomicU32,
    /// See [`Segment::wait_for_dead`]; one more than these bytes, 0 where it does not.
    waits_from: AtomicU32,
    /// [`Segments::stay_of`] counts from here.
    sealed_at: AtomicU32,
    is_searched: AtomicBool,
}

/// What is written whenever a record dies, by any shard; apart from what a shard reads that appends to the segment.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Garbage {
    dead_bytes: AtomicU32,
    /// Bytes of the segment's records when it was sealed; 0 before.
    filled: AtomicU32,
    expired_bytes: AtomicU32,
}

impl Segment {
    /// What it is doing.
    #[inline]
    pub(crate) fn state(&self) -> State {
        State::from_byte(self.state.load(Ordering::Acquire))
    }

    fn set_state(&self, state: State) {
        self.state.store(state.to_byte(), Ordering::Release);
    }

    /// Begins a new life.
    fn open(&self, place: Place, sequence: u64) {
        let counts = [
            &self.garbage.dead_bytes,
            &self.garbage.filled,
            &self.garbage.expired_bytes,
            &self.early_bytes,
            &self.uploads,
            &self.waits_from,
        ];
        for cell in counts {
            cell.store(0, Ordering::Relaxed);
        }
        self.searched_s.store(0, Ordering::Relaxed);
        for cell in [&self.sweep_at_s, &self.early_s] {
            cell.store(NEVER, Ordering::Relaxed);
        }
        self.sequence.store(sequence, Ordering::Relaxed);
        self.is_searched.store(false, Ordering::Relaxed);
        self.generation.store(place.generation, Ordering::Relaxed);
        self.set_state(State::Open(place.queue));
    }

    /// Whether some shard is in the middle of searching it, so that it is not known when to search it again.
    pub(crate) fn is_searched(&self) -> bool {
        self.is_searched.load(Ordering::Relaxed)
    }

    /// When it was opened among all segments; never used twice.
    #[inline]
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// What it is doing since it was opened as the one of this sequence; `None` where it has been opened again.
    pub(crate) fn state_of(&self, sequence: u64) -> Option<State> {
        // In this order: who sees it open again sees by which sequence.
        let state = self.state();
        (self.sequence() == sequence).then_some(state)
    }

    /// Whether there are records in it since it was opened as the one of this sequence.
    pub(crate) fn has_records_of(&self, sequence: u64) -> bool {
        self.state_of(sequence).is_some_and(State::has_records)
    }

    /// Bytes of records that are dead, rounded to granules. Whoever sees them has seen the records leave the index.
    #[inline]
    pub(crate) fn dead_bytes(&self) -> u32 {
        self.garbage.dead_bytes.load(Ordering::Acquire)
    }

    /// More bytes are garbage now. Returns whether its weight has changed by that, where a part is so large a power of
    /// two.
    #[inline(always)]
    fn add_dead<S: Sharing>(&self, bytes: u32, part: u32) -> bool {
        let before = take_some::<S>(&self.garbage.dead_bytes, bytes);
        let filled = self.garbage.filled.load(Ordering::Relaxed);
        let weight = |dead: u32| filled.saturating_sub(dead).wrapping_sub(1) >> part;
        weight(before) != weight(before.wrapping_add(bytes))
    }

    /// Records of so many bytes will stay in it, and no more will come.
    fn fill<S: Sharing>(&self, bytes: u32) {
        self.garbage.filled.store(bytes, Ordering::Relaxed);
        // Of this and a count of more dead bytes the later one has seen the other.
        take_some::<S>(&self.garbage.dead_bytes, 0);
    }

    /// In how many parts, each of a power of two of bytes, what lives in it would have room, once it is filled.
    fn weight(&self, part: u32) -> u32 {
        self.garbage.filled.load(Ordering::Relaxed).saturating_sub(self.dead_bytes()).div_ceil(1 << part)
    }

    /// Of the dead bytes those of items that had expired.
    pub(crate) fn expired_bytes(&self) -> u32 {
        self.garbage.expired_bytes.load(Ordering::Relaxed)
    }

    /// More of them.
    pub(crate) fn add_expired<S: Sharing>(&self, bytes: u32) {
        add::<S>(&self.garbage.expired_bytes, bytes);
    }

    /// Records of uploads under way. The segment does not leave its queue before they are done.
    pub(crate) fn uploads(&self) -> u32 {
        self.uploads.load(Ordering::Acquire)
    }

    /// An upload has a record here.
    pub(crate) fn add_upload<S: Sharing>(&self) {
        add::<S>(&self.uploads, 1);
    }

    /// It has not any more.
    pub(crate) fn subtract_upload<S: Sharing>(&self) {
        subtract::<S>(&self.uploads, 1);
    }

    /// It was emptied when it had so many dead bytes, but others had still to be counted: it does not leave its queue
    /// again before some are.
    pub(crate) fn wait_for_dead(&self, dead_bytes: u32) {
        self.waits_from.store(dead_bytes.wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether it does so.
    pub(crate) fn is_waiting_for_dead(&self) -> bool {
        self.waits_from.load(Ordering::Relaxed) == self.dead_bytes().wrapping_add(1)
    }

    /// The queue that its items belong to.
    #[inline]
    pub(crate) fn queue(&self) -> Queue {
        match self.state() {
            State::Open(queue) | State::Sealed(queue) | State::Leaving(queue) => queue,
            State::Unused | State::Free | State::Held => Queue::Small,
        }
    }

    /// The generation of its records, below [`GENERATIONS`].
    #[inline]
    pub(crate) fn generation(&self) -> u8 {
        self.generation.load(Ordering::Relaxed)
    }

    /// When it is to be searched for expired items; [`NEVER`] where none of its items expires. Live items that expire
    /// earlier are few: [`Segment::note_expiry`].
    pub(crate) fn sweep_at_s(&self) -> u32 {
        self.sweep_at_s.load(Ordering::Relaxed)
    }

    /// When a search of it may begin: it is searched once a second at most, whatever is written there that has expired.
    fn due_s(&self) -> u32 {
        self.sweep_at_s().max(self.searched_s.load(Ordering::Relaxed).saturating_add(1))
    }

    /// An item of `bytes` has an expiry now. Items that expire before the next search may wait for it up to
    /// `tolerance.late_s`, as long as they are not more than `tolerance.bytes`. Returns whether that search is to be
    /// at another time than it was.
    #[inline]
    fn note_expiry<S: Sharing>(&self, expiry_s: u32, bytes: u32, tolerance: Tolerance) -> bool {
        if expiry_s >= self.sweep_at_s() {
            return false;
        }
        let before_s = self.due_s();
        // Once for each search, and only where that is not due: else items that expire in their time would wait as long
        // as there are such, second after second.
        let now_s = tolerance.now_s;
        if expiry_s <= now_s && before_s > now_s && self.early_s.load(Ordering::Relaxed) > now_s {
            self.searched_s.store(now_s.saturating_add(1), Ordering::Relaxed);
        }
        lower::<S>(&self.early_s, expiry_s);
        let early_bytes = self.early_bytes.load(Ordering::Relaxed).saturating_add(bytes);
        self.early_bytes.store(early_bytes, Ordering::Relaxed);
        if early_bytes > tolerance.bytes {
            self.schedule_sweep::<S>(self.early_s.load(Ordering::Relaxed));
        } else {
            lower::<S>(&self.sweep_at_s, expiry_s.saturating_add(tolerance.late_s));
        }
        self.due_s() != before_s
    }

    /// It is to be searched at `sweep_at_s`, if it was not to be earlier.
    fn schedule_sweep<S: Sharing>(&self, sweep_at_s: u32) {
        lower::<S>(&self.sweep_at_s, sweep_at_s);
        self.early_bytes.store(0, Ordering::Relaxed);
        self.early_s.store(NEVER, Ordering::Relaxed);
    }

    /// The search of it is over, and the next is due at `sweep_at_s`, or when something noted meanwhile asks for it.
    fn sweep_by<S: Sharing>(&self, sweep_at_s: u32) {
        lower::<S>(&self.sweep_at_s, sweep_at_s);
        self.is_searched.store(false, Ordering::Relaxed);
    }

    /// A search of it begins: what is noted from now on counts.
    fn begin_sweep(&self, now_s: u32) {
        self.is_searched.store(true, Ordering::Relaxed);
        self.searched_s.store(now_s, Ordering::Relaxed);
        self.sweep_at_s.store(NEVER, Ordering::Relaxed);
        self.early_bytes.store(0, Ordering::Relaxed);
        self.early_s.store(NEVER, Ordering::Relaxed);
    }
}

/// When a segment was opened, in the store's seconds. It stands apart from what others change about the segment,
/// because every reader of an item looks at it.
#[derive(Debug, Default)]
pub(crate) struct Opened(AtomicU32);

impl Opened {
    /// `now_s` as an item of the segment keeps it in two bytes: exact seconds for nine hours, then steps of 64
    /// seconds, up to 24 days.
    #[inline]
    pub(crate) fn encode_time(&self, now_s: u32) -> u16 {
        let age = now_s.saturating_sub(self.0.load(Ordering::Relaxed));
        if age < 0x8000 {
            return to_u16(age as usize);
        }
        let steps = ((age - 0x8000) / 64) as usize;
        0x8000 | if steps < 0x7fff { to_u16(steps) } else { 0x7fff }
    }

    /// The second that [`Opened::encode_time`] was given, or the one its step began with.
    #[inline]
    pub(crate) fn decode_time(&self, encoded: u16) -> u32 {
        let encoded = u32::from(encoded);
        let age = if encoded < 0x8000 { encoded } else { 0x8000 + (encoded & 0x7fff) * 64 };
        self.0.load(Ordering::Relaxed).saturating_add(age)
    }
}
