//! Which segments are free, and the queues that sealed ones stand in.

mod find;
mod keep;
mod untouched;

use super::minima::{KEY_BYTES, Minima, NONE};
use super::{NEVER, Opened, Place, QUEUES, Queue, Segment, State, WEIGHTS};
use crate::memory::{SEGMENT_FILL_BYTES, SegmentId};
use crate::narrow::to_u32;
use crate::primitive::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sharing::{Apart, Exclusive, Sharing, add, take_next};

#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    oldest: Option<SegmentId>,
    newest: Option<SegmentId>,
}

/// A segment's neighbours in its queue.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    previous: Option<SegmentId>,
    next: Option<SegmentId>,
}

/// Bytes of book-keeping for each segment, those of the arena included.
pub(crate) const SEGMENT_BOOK_BYTES: usize = size_of::<Segment>()
    + size_of::<Opened>()
    + size_of::<Links>()
    + 3 * size_of::<SegmentId>()
    + 3 * KEY_BYTES
    + SEGMENT_FILL_BYTES;

/// What one shard at a time may change.
#[derive(Debug)]
struct Lists {
    links: Box<[Links]>,
    queues: [Ends; QUEUES],
    /// Free segments, a stack.
    free: Vec<SegmentId>,
    /// Segments that never had memory, or gave it back, a stack.
    unused: Vec<SegmentId>,
    /// Segments whose records left, but which pins or readers hold.
    held: Vec<SegmentId>,
}

/// How many segments there are of each kind, for those who only want to know that.
#[derive(Debug, Default)]
struct Counts {
    /// Items that the small queue gave up so far; it wraps.
    drops: AtomicU32,
    /// Segments from here on have never been opened.
    opened_below: AtomicUsize,
    /// Of these the ones below this were given away to be populated.
    populated_below: AtomicUsize,
    free: AtomicUsize,
    unused: AtomicUsize,
    held: AtomicUsize,
    lens: [AtomicUsize; QUEUES],
}

/// All segments. What every request reads of it stands apart from what changes.
#[derive(Debug)]
pub(crate) struct Segments<S: Sharing> {
    table: Box<[Segment]>,
    opened: Box<[Opened]>,
    lists: Apart<S::Exclusive<Lists>>,
    next_sequence: Apart<AtomicU64>,
    counts: Apart<Counts>,
    /// When to search those that are open or sealed, and that nobody searches now, for expired items.
    due: Minima,
    /// The sequences of those that have records.
    sequences: Minima,
    /// The weights of the sealed ones.
    weights: Minima,
    /// Bytes of a part of a segment by which weights are told, as a power of two.
    part: u32,
}

impl<S: Sharing> Segments<S> {
    /// `count` segments of so many bytes, without memory, numbered from 1.
    pub(crate) fn new(count: u32, segment_bytes: usize) -> Self {
        let slots = count as usize + 1;
        let lists = Lists {
            links: vec![Links::default(); slots].into(),
            queues: [Ends::default(); QUEUES],
            free: Vec::with_capacity(slots),
            unused: (1..=count).rev().map(SegmentId).collect(),
            held: Vec::with_capacity(slots),
        };
        Self {
            table: (0..slots).map(|_| Segment::default()).collect(),
            opened: (0..slots).map(|_| Opened::default()).collect(),
            lists: Apart(S::Exclusive::new(lists)),
            next_sequence: Apart(AtomicU64::new(1)),
            counts: Apart(Counts { unused: AtomicUsize::new(count as usize), ..Counts::default() }),
            due: Minima::new(slots),
            sequences: Minima::new(slots),
            weights: Minima::new(slots),
            part: (segment_bytes as u64 / WEIGHTS).ilog2(),
        }
    }

    /// The book-keeping of `id`.
    #[inline]
    pub(crate) fn get(&self, id: SegmentId) -> &Segment {
        &self.table[id.index()]
    }

    /// When `id` was opened.
    #[inline]
    pub(crate) fn opened(&self, id: SegmentId) -> &Opened {
        &self.opened[id.index()]
    }

    /// Every segment's number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SegmentId> + use<S> {
        (1..to_u32(self.table.len())).map(SegmentId)
    }

    /// How many segments have memory.
    #[inline]
    pub(crate) fn resident(&self) -> usize {
        self.table.len() - 1 - self.counts.unused.load(Ordering::Relaxed)
    }

    /// The same when whoever is opening one, or giving its memory back, has done so.
    pub(crate) fn resident_settled(&self) -> usize {
        self.with(|lists| self.table.len() - 1 - lists.unused.len())
    }

    /// How many segments are free.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.counts.free.load(Ordering::Relaxed)
    }

    /// How many segments are held.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.counts.held.load(Ordering::Relaxed)
    }

    /// How many segments `queue` has, those being filled left out.
    pub(crate) fn len(&self, queue: Queue) -> usize {
        self.counts.lens[queue.index()].load(Ordering::Relaxed)
    }

    /// A number that no segment has had or will have.
    pub(crate) fn take_sequence(&self) -> u64 {
        take_next::<S>(&self.next_sequence)
    }

    /// Stores the sequence that the next segment will have: who has opened that one has seen it stored.
    pub(crate) fn mark_next(&self, mark: &AtomicU64) {
        self.with(|_| mark.store(self.next_sequence(), Ordering::Release));
    }

    /// The sequence that the next segment will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.load(Ordering::Acquire)
    }

    /// The small queue has given up so many more items.
    pub(crate) fn count_drops(&self, drops: u32) {
        add::<S>(&self.counts.drops, drops);
    }

    /// How many items the small queue has given up since `id` was sealed.
    pub(crate) fn stay_of(&self, id: SegmentId) -> u32 {
        let sealed_at = self.get(id).sealed_at.load(Ordering::Relaxed);
        self.counts.drops.load(Ordering::Relaxed).wrapping_sub(sealed_at)
    }

    /// Sees to it that a segment is found by what it is now, after that has changed.
    fn put_in_order(&self, _lists: &Lists, id: SegmentId) {
        let keys = self.keys(id);
        [&self.due, &self.sequences, &self.weights]
            .into_iter()
            .zip(keys)
            .for_each(|(minima, key)| minima.set(id.index(), key));
    }

    /// By what a segment is found when it is due, by its sequence and by its weight.
    fn keys(&self, id: SegmentId) -> [u64; 3] {
        let segment = self.get(id);
        let state = segment.state();
        let is_sealed = matches!(state, State::Sealed(_));
        let is_due_some_time = (is_sealed || matches!(state, State::Open(_))) && !segment.is_searched();
        let due = Some(segment.due_s()).filter(|&at_s| is_due_some_time && at_s != NEVER);
        [
            due.map_or(NONE, u64::from),
            if state.has_records() { segment.sequence() } else { NONE },
            if is_sealed { u64::from(segment.weight(self.part)) } else { NONE },
        ]
    }

    fn with<R>(&self, change: impl FnOnce(&mut Lists) -> R) -> R {
        let mut lists = self.lists.lock();
        let result = change(&mut lists);
        self.counts.free.store(lists.free.len(), Ordering::Relaxed);
        self.counts.unused.store(lists.unused.len(), Ordering::Relaxed);
        self.counts.held.store(lists.held.len(), Ordering::Relaxed);
        result
    }

    /// Opens a free segment, or one without memory where fewer than `most` have some.
    pub(crate) fn open(&self, place: Place, most: impl FnOnce() -> usize, now_s: u32) -> Option<SegmentId> {
        self.with(|lists| {
            let id = match lists.free.pop() {
                Some(id) => id,
                None if self.table.len() - 1 - lists.unused.len() < most() => lists.unused.pop()?,
                None => return None,
            };
            let below = self.counts.opened_below.load(Ordering::Relaxed).max(id.index() + 1);
            self.counts.opened_below.store(below, Ordering::Release);
            self.opened(id).0.store(now_s, Ordering::Relaxed);
            self.get(id).open(place, self.take_sequence());
            self.put_in_order(lists, id);
            Some(id)
        })
    }

    /// An open segment is full, or is to be taken as such: it becomes the newest of its queue. It has records of so
    /// many bytes.
    pub(crate) fn seal(&self, id: SegmentId, filled: usize) {
        self.with(|lists| {
            self.get(id).fill::<S>(to_u32(filled));
            self.append(lists, id);
        });
    }

    fn append(&self, lists: &mut Lists, id: SegmentId) {
        let (State::Open(queue) | State::Leaving(queue)) = self.get(id).state() else { return };
        let ends = &mut lists.queues[queue.index()];
        lists.links[id.index()] = Links { previous: ends.newest, next: None };
        match ends.newest.replace(id) {
            Some(newest) => lists.links[newest.index()].next = Some(id),
            None => ends.oldest = Some(id),
        }
        self.change_len(queue, 1);
        self.get(id).sealed_at.store(self.counts.drops.load(Ordering::Relaxed), Ordering::Relaxed);
        self.get(id).set_state(State::Sealed(queue));
        self.put_in_order(lists, id);
    }

    /// Changed only by who has the lists.
    fn change_len(&self, queue: Queue, by: isize) {
        let len = &self.counts.lens[queue.index()];
        len.store(len.load(Ordering::Relaxed).wrapping_add_signed(by), Ordering::Relaxed);
    }

    /// Takes a sealed segment out of its queue, wherever it stands there. False where it is not sealed any more, or an
    /// upload has come to stand in it.
    pub(crate) fn leave(&self, id: SegmentId) -> bool {
        self.with(|lists| {
            let State::Sealed(queue) = self.get(id).state() else { return false };
            if self.get(id).uploads() != 0 {
                return false;
            }
            let Links { previous, next } = std::mem::take(&mut lists.links[id.index()]);
            match previous {
                Some(previous) => lists.links[previous.index()].next = next,
                None => lists.queues[queue.index()].oldest = next,
            }
            match next {
                Some(next) => lists.links[next.index()].previous = previous,
                None => lists.queues[queue.index()].newest = previous,
            }
            self.change_len(queue, -1);
            self.get(id).set_state(State::Leaving(queue));
            self.put_in_order(lists, id);
            true
        })
    }

    /// A segment that was being emptied keeps what is left in it: it becomes the newest of its queue.
    pub(crate) fn stay(&self, id: SegmentId) {
        if let State::Leaving(_) = self.get(id).state() {
            self.with(|lists| self.append(lists, id));
        }
    }

    /// How many turns [`Segments::sealed_among`] takes until all had theirs.
    pub(crate) fn turns(&self, window: usize) -> usize {
        self.counts.opened_below.load(Ordering::Acquire).div_ceil(window).max(1)
    }

    /// The sealed ones among `window` segments at most, in no order. Each `turn` has other segments, until all had
    /// theirs.
    pub(crate) fn sealed_among(
        &self,
        turn: usize,
        window: usize,
    ) -> impl Iterator<Item = (SegmentId, &Segment)> {
        let opened = &self.table[..self.counts.opened_below.load(Ordering::Acquire)];
        let windows = opened.len().div_ceil(window).max(1);
        let share = opened.len().div_ceil(windows);
        let first = (turn % windows * share).min(opened.len());
        let all = (first..opened.len()).zip(&opened[first..]).take(share);
        let all = all.map(|(number, segment)| (SegmentId(to_u32(number)), segment));
        all.filter(|(_, segment)| matches!(segment.state(), State::Sealed(_)))
    }

    /// A segment without records, memory kept.
    pub(crate) fn release(&self, id: SegmentId) {
        self.with(|lists| {
            self.get(id).set_state(State::Free);
            lists.free.push(id);
        });
    }

    /// A segment without records that somebody still holds.
    pub(crate) fn hold(&self, id: SegmentId) {
        self.with(|lists| {
            self.get(id).set_state(State::Held);
            self.put_in_order(lists, id);
            lists.held.push(id);
        });
    }

    /// A held segment for which `is_free` holds now; it is no longer in the list of held ones.
    pub(crate) fn take_held(&self, is_free: impl Fn(SegmentId) -> bool) -> Option<SegmentId> {
        if self.held() == 0 {
            return None;
        }
        self.with(|lists| {
            let at = lists.held.iter().position(|&id| is_free(id))?;
            Some(lists.held.swap_remove(at))
        })
    }

    /// How many held segments there are for which `is_it` holds.
    pub(crate) fn count_held(&self, is_it: impl Fn(SegmentId) -> bool) -> usize {
        if self.held() == 0 {
            return 0;
        }
        self.lists.lock().held.iter().filter(|&&id| is_it(id)).count()
    }

    /// Takes a free segment and gives it to `discard`, after which it has no memory.
    pub(crate) fn discard_free(&self, discard: impl FnOnce(SegmentId)) {
        self.with(|lists| {
            let Some(id) = lists.free.pop() else { return };
            discard(id);
            self.get(id).set_state(State::Unused);
            lists.unused.push(id);
        });
    }

    /// The oldest segment of `queue` for which `is_it` holds.
    pub(crate) fn oldest(&self, queue: Queue, is_it: impl Fn(SegmentId) -> bool) -> Option<SegmentId> {
        let lists = self.lists.lock();
        std::iter::successors(lists.queues[queue.index()].oldest, |&id| lists.links[id.index()].next)
            .find(|&id| is_it(id))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::sharing::Local;

    #[test]
    fn each_turn_has_its_part_of_the_sealed_segments() {
        let segments = Segments::<Local>::new(2500, 1 << 14);
        for _ in 0..2200 {
            let id =
                segments.open(Place { queue: Queue::Small, group: 0, generation: 0 }, || 2500, 1).unwrap();
            segments.seal(id, 1 << 14);
        }
        let mut seen: Vec<SegmentId> = Vec::new();
        for turn in 7..10 {
            let part: Vec<SegmentId> = segments.sealed_among(turn, 1000).map(|(id, _)| id).collect();
            assert!((700..=1000).contains(&part.len()), "{}", part.len());
            seen.extend(part);
        }
        seen.sort_unstable_by_key(|id| id.index());
        seen.dedup();
        assert_eq!(seen.len(), 2200);
        assert_eq!(segments.sealed_among(3, 5000).count(), 2200);
        assert_eq!((segments.turns(1000), segments.turns(5000)), (3, 1));
    }
}
