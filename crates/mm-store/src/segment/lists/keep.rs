//! The segments kept over a restart.

use std::io;

use crate::primitive::{AtomicU32, Ordering};

use super::super::GENERATIONS;
use super::{Lists, QUEUES, Queue, Segments, State};
use crate::kept::{KeptError, Reading, Refused, Writing};
use crate::memory::{Arena, SegmentId};
use crate::narrow::to_u32;
use crate::sharing::{Exclusive, Sharing};

const ALL_QUEUES: [Queue; QUEUES] = [Queue::Small, Queue::Main];

impl<S: Sharing> Segments<S> {
    /// Writes down which segments there are, in which order, and what is known of each. False where one is still
    /// being written or emptied.
    #[must_use]
    pub(crate) fn save(&mut self, arena: &mut Arena, book: &mut Writing, digested: bool) -> bool {
        book.put(self.next_sequence());
        for queue in ALL_QUEUES {
            let ids = self.in_order(queue);
            book.put(ids.len() as u64);
            for id in ids {
                let segment = self.get(id);
                if segment.uploads() != 0 {
                    return false;
                }
                let digest = if digested { arena.digest(id) } else { 0 };
                book.put(id.index() as u64);
                book.put(segment.sequence());
                book.put(arena.used(id) as u64);
                book.put(digest);
                book.put(u64::from(segment.generation()));
                for cell in self.numbers(id) {
                    book.put(u64::from(cell.load(Ordering::Relaxed)));
                }
            }
        }
        let lists = self.lists.lock();
        // What was held is free: nobody reads any more.
        let free: Vec<SegmentId> = lists.free.iter().chain(&lists.held).copied().collect();
        book.put(free.len() as u64);
        free.iter().for_each(|id| book.put(id.index() as u64));
        let known = free.len() + lists.unused.len() + self.len(Queue::Small) + self.len(Queue::Main);
        known == self.table.len() - 1
    }

    /// What is known of a segment besides its sequence.
    fn numbers(&self, id: SegmentId) -> [&AtomicU32; 6] {
        let segment = self.get(id);
        [
            &self.opened(id).0,
            &segment.garbage.dead_bytes,
            &segment.garbage.expired_bytes,
            &segment.sweep_at_s,
            &segment.early_bytes,
            &segment.early_s,
        ]
    }

    /// The segments of a queue, the oldest first.
    fn in_order(&self, queue: Queue) -> Vec<SegmentId> {
        let lists = self.lists.lock();
        let oldest = lists.queues[queue.index()].oldest;
        std::iter::successors(oldest, |&id| lists.links[id.index()].next).collect()
    }

    /// Takes over the segments that a store has left in this arena's memory. Asks before each whether to `go_on`.
    ///
    /// # Errors
    /// They are not those that were left, or it is not to go on.
    pub(crate) fn restore(
        &mut self,
        arena: &mut Arena,
        book: &mut Reading<'_>,
        digested: bool,
        go_on: impl Fn() -> io::Result<()>,
    ) -> Result<(), KeptError> {
        let next_sequence = book.take()?;
        let mut is_known = vec![false; self.table.len()];
        is_known[0] = true;
        for queue in ALL_QUEUES {
            for _ in 0..book.take_size()? {
                go_on()?;
                let id = take_id(book, &mut is_known)?;
                let sequence = book.take()?;
                let (used, digest) = (book.take_size()?, book.take()?);
                if sequence >= next_sequence || !arena.restore(id, used) {
                    return Err(Refused::book().into());
                }
                let generation = u8::try_from(book.take()?).ok().filter(|number| *number < GENERATIONS);
                self.get(id).generation.store(generation.ok_or_else(Refused::book)?, Ordering::Relaxed);
                self.get(id).sequence.store(sequence, Ordering::Relaxed);
                self.get(id).set_state(State::Leaving(queue));
                if digested && arena.digest(id) != digest {
                    return Err(Refused::memory().into());
                }
                for cell in self.numbers(id) {
                    cell.store(book.take_u32()?, Ordering::Relaxed);
                }
                if self.get(id).dead_bytes() as usize > used {
                    return Err(Refused::book().into());
                }
                self.get(id).fill::<S>(to_u32(used));
                self.with(|lists| self.append(lists, id));
            }
        }
        for _ in 0..book.take_size()? {
            let id = take_id(book, &mut is_known)?;
            self.release(id);
        }
        let unused = is_known.iter().enumerate().skip(1).rev().filter(|(_, is_known)| !**is_known);
        let unused = unused.filter_map(|(number, _)| u32::try_from(number).ok()).map(SegmentId).collect();
        self.with(|lists: &mut Lists| lists.unused = unused);
        let opened = is_known.iter().rposition(|is_known| *is_known).map_or(0, |last| last + 1);
        self.counts.opened_below.store(opened, Ordering::Relaxed);
        self.next_sequence.store(next_sequence, Ordering::Relaxed);
        // How long segments have been here is not in the book: long.
        self.counts.drops.store(u32::MAX / 2, Ordering::Relaxed);
        Ok(())
    }
}

/// The next segment's number, which may be said once.
fn take_id(book: &mut Reading<'_>, is_known: &mut [bool]) -> Result<SegmentId, Refused> {
    let number = book.take_u32()?;
    let known = is_known.get_mut(number as usize).filter(|is_known| !**is_known).ok_or_else(Refused::book)?;
    *known = true;
    Ok(SegmentId(number))
}
