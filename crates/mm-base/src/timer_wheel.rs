//! A hierarchical timer wheel with a resolution of one millisecond.
//!
//! Seven levels of 64 slots: a slot of level 0 holds the timers of one millisecond, a slot of each further level as
//! many as all of the level below. A timer lies on the level of the highest six-bit digit in which its deadline
//! differs from the wheel's time, so on every level only slots later than the wheel's own digit are occupied, and the
//! first occupied slot of the lowest occupied level comes before all others. Time moves from occupied slot to
//! occupied slot; a slot of a higher level is spread over the lower ones when its beginning is reached.
//!
//! A deadline that moves is only noted, and the timer stays in its slot. One that has moved later, as that of an idle
//! connection does with each request, is put where it belongs when its slot comes up. Those that have moved earlier are
//! on a list, with the least of their deadlines; when that has come all of them are put where they belong, before any
//! timer fires. Nothing here reads a clock.

#[cfg(test)]
mod tests;

const SLOT_BITS: u32 = 6;
const SLOTS: u32 = 1 << SLOT_BITS;
const LEVELS: u32 = 7;
const NONE: u32 = u32::MAX;
/// In place of the next of the hastened: it is none of them.
const UNHURRIED: u32 = u32::MAX - 1;
/// Room for all levels and slots, in powers of two, so that an index needs no check.
const LEVELS_ROOM: usize = (LEVELS as usize).next_power_of_two();
const PLACES: usize = LEVELS_ROOM * SLOTS as usize;

/// The latest deadline a wheel can hold, in milliseconds (139 years); later ones are moved to it.
pub const DEADLINE_MS_MAX: u64 = (1 << (SLOT_BITS * LEVELS)) - 1;

/// The most work one timer causes in its life: a move down from each level but the last, and its firing. Being moved
/// makes it begin anew, once however often it is moved before that comes up.
pub const STEPS_PER_TIMER_MAX: u32 = LEVELS;

/// Names one armed timer. It goes stale when the timer fires or is cancelled, and never names another one until
/// its place has been used 2^32 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// When the timer is due.
    deadline_ms: u64,
    /// The deadline that chose `place`; at most `deadline_ms`.
    placed_ms: u64,
    /// Neighbours in the slot's ring, or `next` in the list of free entries.
    previous: u32,
    next: u32,
    /// Neighbours in the list of those that have moved earlier, or [`UNHURRIED`] as the next.
    hastened_previous: u32,
    hastened_next: u32,
    generation: u32,
    /// level * SLOTS + slot.
    place: u32,
    /// None while the entry is free.
    value: Option<T>,
}

/// Timers that each carry a `T`. See the module's description.
#[derive(Debug)]
pub struct TimerWheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
    limit: usize,
    elapsed_ms: u64,
    /// One bit per slot that holds a timer.
    occupied: [u64; LEVELS_ROOM],
    /// The levels that have occupied slots.
    levels: u32,
    /// The slot of a higher level that is being spread over the lower ones; they are complete only when it is empty.
    /// NONE when there is no such slot.
    spreading: u32,
    /// The first entry of each slot's ring.
    heads: Box<[u32; PLACES]>,
    /// The first of those that have moved earlier and are not yet where they belong.
    hastened: u32,
    /// At most the earliest of their deadlines; `u64::MAX` when there are none.
    hastened_ms: u64,
}

impl<T> TimerWheel<T> {
    /// An empty wheel at the time `now_ms` that holds at most `limit` timers.
    #[must_use]
    pub fn new(now_ms: u64, limit: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            len: 0,
            limit: limit.min(UNHURRIED as usize),
            elapsed_ms: now_ms.min(DEADLINE_MS_MAX),
            occupied: [0; LEVELS_ROOM],
            levels: 0,
            spreading: NONE,
            heads: Box::new([NONE; PLACES]),
            hastened: NONE,
            hastened_ms: u64::MAX,
        }
    }

    /// How many timers are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Arms a timer; a deadline that has passed is due at once.
    ///
    /// # Errors
    /// Gives `value` back when the wheel holds as many timers as its limit allows.
    pub fn insert(&mut self, deadline_ms: u64, value: T) -> Result<TimerId, T> {
        if self.len >= self.limit {
            return Err(value);
        }
        let index = self.allocate(value);
        self.len += 1;
        self.place(index, deadline_ms.min(DEADLINE_MS_MAX));
        Ok(TimerId { index, generation: self.entries[index as usize].generation })
    }

    /// Moves a timer to another deadline and says whether it was still armed. Only notes it.
    #[inline]
    pub fn rearm(&mut self, id: TimerId, deadline_ms: u64) -> bool {
        let Some(entry) = self.entries.get_mut(id.index as usize) else { return false };
        // A free entry has a generation that nobody has been told yet.
        if entry.generation != id.generation {
            return false;
        }
        let deadline_ms = deadline_ms.min(DEADLINE_MS_MAX);
        entry.deadline_ms = deadline_ms;
        if deadline_ms < entry.placed_ms {
            let is_new = entry.hastened_next == UNHURRIED;
            self.hastened_ms = self.hastened_ms.min(deadline_ms);
            if is_new {
                self.hasten(id.index);
            }
        }
        true
    }

    /// Takes a timer out; None when it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.value(id)?;
        self.unlink(id.index);
        self.release(id.index)
    }

    /// What an armed timer carries.
    pub fn get_mut(&mut self, id: TimerId) -> Option<&mut T> {
        self.value(id)
    }

    /// When the wheel wants to be asked next: never later than the earliest deadline, and earlier where timers wait
    /// on a higher level or have been moved. None when no timer is armed.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let (level, slot) = self.next_slot()?;
        Some(self.slot_start(level, slot).min(self.hastened_ms).max(self.elapsed_ms))
    }

    /// Moves time to `now_ms` and takes out one timer that is due, the earliest first; those of the same millisecond
    /// in the order in which they were armed, unless they were moved. Call it until it gives None.
    ///
    /// Each timer moved or taken out costs one from `budget`; at 0 it gives None with work perhaps left, which the
    /// next call goes on with. A time before an earlier call's counts as that one.
    pub fn pop_due(&mut self, now_ms: u64, budget: &mut u32) -> Option<T> {
        let now_ms = now_ms.min(DEADLINE_MS_MAX);
        while *budget > 0 {
            if self.hastened_ms <= now_ms {
                *budget -= 1;
                self.place_hastened();
                continue;
            }
            let Some((level, slot)) = self.next_slot() else {
                self.elapsed_ms = self.elapsed_ms.max(now_ms);
                return None;
            };
            let start_ms = self.slot_start(level, slot);
            if start_ms > now_ms {
                // All slots before this one are empty, so every timer's digits still place it rightly.
                self.elapsed_ms = self.elapsed_ms.max(now_ms);
                return None;
            }
            self.elapsed_ms = self.elapsed_ms.max(start_ms);
            self.spreading = if level > 0 { level * SLOTS + slot } else { NONE };
            *budget -= 1;
            let index = self.heads[(level * SLOTS + slot) as usize % PLACES];
            self.unlink(index);
            let deadline_ms = self.entries[index as usize].deadline_ms;
            if deadline_ms <= self.elapsed_ms {
                return self.release(index);
            }
            self.place(index, deadline_ms);
        }
        None
    }

    fn value(&mut self, id: TimerId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation == id.generation { entry.value.as_mut() } else { None }
    }

    fn allocate(&mut self, value: T) -> u32 {
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            self.free = entry.next;
            entry.value = Some(value);
            return index;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        self.entries.push(Entry {
            deadline_ms: 0,
            placed_ms: 0,
            previous: NONE,
            next: NONE,
            hastened_previous: NONE,
            hastened_next: UNHURRIED,
            generation: 0,
            place: 0,
            value: Some(value),
        });
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        if self.entries[index as usize].hastened_next != UNHURRIED {
            self.unhasten(index);
        }
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.value.take()
    }

    /// Puts an entry on the list of those that have moved earlier.
    fn hasten(&mut self, index: u32) {
        let first = std::mem::replace(&mut self.hastened, index);
        let entry = &mut self.entries[index as usize];
        (entry.hastened_previous, entry.hastened_next) = (NONE, first);
        if let Some(first) = self.entries.get_mut(first as usize) {
            first.hastened_previous = index;
        }
    }

    /// Takes an entry off that list.
    fn unhasten(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let next = std::mem::replace(&mut entry.hastened_next, UNHURRIED);
        let previous = entry.hastened_previous;
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.hastened_next = next,
            None => self.hastened = next,
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.hastened_previous = previous;
        }
        if self.hastened == NONE {
            self.hastened_ms = u64::MAX;
        }
    }

    /// Puts one of those that have moved earlier where it belongs.
    fn place_hastened(&mut self) {
        let index = self.hastened;
        self.unhasten(index);
        let entry = &self.entries[index as usize];
        let deadline_ms = entry.deadline_ms;
        // It may have moved later since, or its slot may have come up.
        if deadline_ms < entry.placed_ms {
            self.unlink(index);
            self.place(index, deadline_ms);
        }
    }

    /// Appends an entry to the slot its deadline belongs to.
    fn place(&mut self, index: u32, deadline_ms: u64) {
        self.link(index, place_of(self.elapsed_ms, deadline_ms.max(self.elapsed_ms)), deadline_ms);
    }

    /// Appends an entry to a slot.
    fn link(&mut self, index: u32, place: u32, deadline_ms: u64) {
        let head = self.heads[place as usize % PLACES];
        let last = if head == NONE {
            self.occupied[(place / SLOTS) as usize % LEVELS_ROOM] |= 1 << (place % SLOTS);
            self.levels |= 1 << (place / SLOTS);
            self.heads[place as usize % PLACES] = index;
            index
        } else {
            let last = std::mem::replace(&mut self.entries[head as usize].previous, index);
            self.entries[last as usize].next = index;
            last
        };
        let entry = &mut self.entries[index as usize];
        entry.deadline_ms = deadline_ms;
        entry.placed_ms = deadline_ms;
        entry.previous = last;
        entry.next = if head == NONE { index } else { head };
        entry.place = place;
    }

    /// Takes an entry out of its slot's ring.
    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (previous, next, place) = (entry.previous, entry.next, entry.place);
        if next == index {
            self.heads[place as usize % PLACES] = NONE;
            let slots = &mut self.occupied[(place / SLOTS) as usize % LEVELS_ROOM];
            *slots &= !(1 << (place % SLOTS));
            if *slots == 0 {
                self.levels &= !(1 << (place / SLOTS));
            }
            if self.spreading == place {
                self.spreading = NONE;
            }
            return;
        }
        self.entries[previous as usize].next = next;
        self.entries[next as usize].previous = previous;
        let head = &mut self.heads[place as usize % PLACES];
        if *head == index {
            *head = next;
        }
    }

    /// The slot to work on: the one being spread, else the first.
    fn next_slot(&self) -> Option<(u32, u32)> {
        if self.spreading == NONE {
            self.first_occupied()
        } else {
            Some((self.spreading / SLOTS, self.spreading % SLOTS))
        }
    }

    fn first_occupied(&self) -> Option<(u32, u32)> {
        let level = self.levels.trailing_zeros();
        let slots = self.occupied.get(level as usize)?;
        Some((level, slots.trailing_zeros()))
    }

    /// When a slot of the wheel's present turn begins.
    fn slot_start(&self, level: u32, slot: u32) -> u64 {
        let shift = level * SLOT_BITS;
        ((self.elapsed_ms >> shift >> SLOT_BITS << SLOT_BITS) | u64::from(slot)) << shift
    }
}

/// The slot of a deadline: on the level of the highest digit in which the two times differ, the deadline's digit there.
fn place_of(elapsed_ms: u64, deadline_ms: u64) -> u32 {
    let differing = (elapsed_ms ^ deadline_ms) | u64::from(SLOTS - 1);
    let level = (u64::BITS - 1 - differing.leading_zeros()) / SLOT_BITS;
    level * SLOTS + low_bits(deadline_ms >> (level * SLOT_BITS)) % SLOTS
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low_bits(number: u64) -> u32 {
    number as u32
}
