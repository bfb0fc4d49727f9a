//! The lists that tasks are on: ready ones by priority, and all unfinished ones.
//!
//! Tasks that are about to write are held back a little, for several to write one after another: the code and data of
//! the kernel that a send needs are then fetched once for all of them, and so are those of the receives before.
//!
//! They link the tasks' headers, so putting a task on a list allocates nothing. All on the owner's thread.

use std::cell::Cell;
use std::hint::cold_path;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::{DONE, HELD, Header, Local, Priority, QUEUED, RESUMED, Task};
use crate::limits::{LOWER_FIRST_EVERY, WRITER_HELD_FOR};

/// A first-in first-out queue of tasks through their headers.
#[derive(Debug, Default)]
struct Queue {
    first: Cell<Option<NonNull<Header>>>,
    /// None when the queue is empty.
    last: Cell<Option<NonNull<Header>>>,
}

impl Queue {
    /// Puts a task at the end. True: it is the first.
    #[inline]
    fn push(&self, header: NonNull<Header>, task: &Header) -> bool {
        task.next.set(None);
        if let Some(last) = self.last.replace(Some(header)) {
            // SAFETY: the last of a queue is queued, hence alive.
            unsafe { last.as_ref() }.next.set(Some(header));
            false
        } else {
            self.first.set(Some(header));
            true
        }
    }
}

/// The queue whose tasks may be held back.
const NORMAL: usize = Priority::Normal as usize;

/// Some tasks are held. Two bits, so that whoever chooses sees more than one whatever else is ready: who holds none
/// pays nothing for it.
const HOLDS: u8 = 0b1100_0000;

/// The run queues, one for each priority.
#[derive(Debug, Default)]
pub(crate) struct RunQueues {
    queues: [Queue; Priority::COUNT],
    /// Tasks of normal priority that are about to write.
    held: Queue,
    /// Tasks of that priority that have been chosen since the first of them is held.
    held_for: Cell<u32>,
    /// How often a task has been held, for who counts polls.
    holds: Cell<u32>,
    /// A bit for each queue that has a task, that of the highest priority lowest, and [`HOLDS`].
    ready: Cell<u8>,
    /// Choices between several priorities.
    choices: Cell<u32>,
}

impl RunQueues {
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.get() == 0
    }

    /// Takes the first unfinished task of the highest priority that has one; every so often, of a lower one. The list
    /// of all tasks holds the reference; finishing the task gives it up.
    #[inline]
    pub(crate) fn pop(&self) -> Option<ManuallyDrop<Task>> {
        loop {
            let ready = self.ready.get();
            let index = if ready & ready.wrapping_sub(1) == 0 {
                ready.trailing_zeros()
            } else {
                cold_path();
                self.choose()
            };
            let queue = self.queues.get(index as usize)?;
            let header = queue.first.get()?;
            // SAFETY: a queued task is alive: unfinished it has the reference of the list of all tasks, and finished it
            // has kept that one for the queue.
            let task = unsafe { header.as_ref() };
            let next = task.next.get();
            queue.first.set(next);
            if next.is_none() {
                queue.last.set(None);
                self.ready.set(self.ready.get() & !(1 << index));
            }
            let state = task.state.get();
            let left = state & !(QUEUED | HELD | RESUMED);
            task.state.set(left);
            if state & (DONE | HELD) == 0 {
                return Some(ManuallyDrop::new(Task { header, not_send: PhantomData }));
            }
            if state & DONE == 0 {
                task.state.set(left | RESUMED);
                return Some(ManuallyDrop::new(Task { header, not_send: PhantomData }));
            }
            cold_path();
            // SAFETY: the reference that was kept for the queue.
            unsafe { super::release(header) };
        }
    }

    /// Holds the task that is being polled back until some others, or all that are ready, have been polled. False: it
    /// is to go on at once, since nobody else is ready, or it was held before this poll: who never has to wait would
    /// keep all others from the queue's end.
    #[inline]
    pub(super) fn hold(&self, header: NonNull<Header>) -> bool {
        // SAFETY: it is being polled, hence alive.
        let task = unsafe { header.as_ref() };
        let state = task.state.get();
        let is_usual = state & (QUEUED | RESUMED) == 0 && task.priority.get() as usize == NORMAL;
        if !is_usual || self.queues[NORMAL].first.get().is_none() {
            return false;
        }
        task.state.set(state | QUEUED | HELD);
        self.holds.set(self.holds.get() + 1);
        self.ready.set(self.ready.get() | HOLDS);
        self.held.push(header, task);
        true
    }

    /// Has those who are held polled next, of their priority.
    fn let_go(&self) {
        let (Some(first), Some(last)) = (self.held.first.take(), self.held.last.take()) else { return };
        let queue = &self.queues[NORMAL];
        let next = queue.first.replace(Some(first));
        if next.is_none() {
            queue.last.set(Some(last));
        }
        // SAFETY: it is queued, hence alive.
        unsafe { last.as_ref() }.next.set(next);
        self.held_for.set(0);
        self.ready.set((self.ready.get() & !HOLDS) | 1 << NORMAL);
    }

    /// How often tasks have been held since the last call.
    pub(crate) fn take_holds(&self) -> u32 {
        self.holds.take()
    }

    /// Which queue is next, where several have a task or some tasks are held.
    fn choose(&self) -> u32 {
        let ready = self.ready.get();
        if ready & HOLDS == 0 {
            return self.choose_of(ready);
        }
        if self.held_for.get() == WRITER_HELD_FOR || ready & (1 << NORMAL) == 0 {
            self.let_go();
            return self.choose_of(self.ready.get());
        }
        let index = self.choose_of(ready & !HOLDS);
        self.held_for.set(self.held_for.get() + u32::from(index as usize == NORMAL));
        index
    }

    /// Which of the queues with these bits is next.
    fn choose_of(&self, ready: u8) -> u32 {
        if ready.is_power_of_two() {
            return ready.trailing_zeros();
        }
        let choices = self.choices.get().wrapping_add(1);
        self.choices.set(choices);
        if !choices.is_multiple_of(LOWER_FIRST_EVERY) {
            return ready.trailing_zeros();
        }
        // The lowest and the next below the highest by turns, which may be the same.
        if choices / LOWER_FIRST_EVERY % 2 == 1 {
            return u8::BITS - 1 - ready.leading_zeros();
        }
        (ready & (ready - 1)).trailing_zeros()
    }
}

/// The task that is being polled.
#[derive(Debug, Default)]
pub(crate) struct Polled(Cell<Option<NonNull<Header>>>);

impl Polled {
    /// Whether a task is being polled, or is having its destructors run.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    pub(super) fn get(&self) -> Option<NonNull<Header>> {
        self.0.get()
    }

    pub(super) fn set(&self, header: Option<NonNull<Header>>) {
        self.0.set(header);
    }

    /// After a panic: gives the task that was being polled to `end`.
    pub(crate) fn panicked(&self, end: impl FnOnce(&Task)) {
        if let Some(header) = self.0.take() {
            // Unfinished, so the list of all tasks holds a reference; finishing the task gives it up.
            end(&ManuallyDrop::new(Task { header, not_send: PhantomData }));
        }
    }
}

impl Local {
    /// Queues a task of this executor.
    pub(crate) fn queue(&self, task: &Task) {
        self.push(task.header);
    }

    /// Runs `body` with `task` as the one being polled.
    pub(crate) fn alone<R>(&self, task: &Task, body: impl FnOnce() -> R) -> R {
        let outer = self.polled.0.replace(Some(task.header));
        let result = body();
        self.polled.0.set(outer);
        result
    }

    /// Queues a task unless it is queued already or finished.
    #[inline]
    pub(super) fn push(&self, header: NonNull<Header>) {
        // SAFETY: called with a reference at hand, on the owner's thread.
        let task = unsafe { header.as_ref() };
        let state = task.state.get();
        if state & (QUEUED | DONE) != 0 {
            return;
        }
        task.state.set(state | QUEUED);
        let index = task.priority.get() as usize;
        if self.queues.queues[index].push(header, task) {
            self.queues.ready.set(self.queues.ready.get() | (1 << index));
        }
    }
}

/// All unfinished tasks of an executor; it holds a reference to each.
#[derive(Debug, Default)]
pub(crate) struct AllTasks {
    newest: Cell<Option<NonNull<Header>>>,
    len: Cell<usize>,
}

impl AllTasks {
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn add(&self, header: NonNull<Header>) {
        let older = self.newest.replace(Some(header));
        // SAFETY: just allocated.
        unsafe { header.as_ref() }.older.set(older);
        if let Some(older) = older {
            // SAFETY: on the list, hence alive.
            unsafe { older.as_ref() }.newer.set(Some(header));
        }
        self.len.set(self.len.get() + 1);
    }

    pub(super) fn remove(&self, header: NonNull<Header>) {
        // SAFETY: on the list, hence alive, like its neighbours.
        let task = unsafe { header.as_ref() };
        let (newer, older) = (task.newer.take(), task.older.take());
        match newer {
            // SAFETY: as above.
            Some(newer) => unsafe { newer.as_ref() }.older.set(older),
            None => self.newest.set(older),
        }
        if let Some(older) = older {
            // SAFETY: as above.
            unsafe { older.as_ref() }.newer.set(newer);
        }
        self.len.set(self.len.get() - 1);
    }

    pub(crate) fn newest(&self) -> Option<Task> {
        self.newest.get().map(share)
    }

    /// The task that was spawned before this one, of those that are not finished.
    pub(crate) fn older(task: &Task) -> Option<Task> {
        task.header().older.get().map(share)
    }
}

/// A new reference to a task of the list.
fn share(header: NonNull<Header>) -> Task {
    // On the list of all tasks, hence alive, and the forgotten reference stays the list's.
    let listed = ManuallyDrop::new(Task { header, not_send: PhantomData });
    Task::clone(&listed)
}
