//! Finding tasks, and services, that keep their shard too long.
//!
//! Reading a clock around every poll would cost more than the switch itself. So a shard only publishes what
//! it is polling, two plain stores, and some other thread's [`Watcher`] compares two looks. When it finds the
//! same poll still running after the limit, it says so, and leaves a note for the shard, which reports the
//! task when it has done polling for this turn.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use crate::task::Name;

/// What a shard's [`Work`](crate::shard::Work) is called among the tasks: no task's name has a slash.
const SERVICE: &str = "/service";

/// A task that kept its shard too long, or the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// The task's name; that of no task for the service.
    pub name: Name,
    /// For how long it had been running when it was last seen, in milliseconds; a lower bound.
    pub for_ms: u32,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.text() == SERVICE {
            return write!(f, "the service kept its shard for {} ms; have it do less at a time", self.for_ms);
        }
        write!(f, "the task {} kept its shard for {} ms; let it await more often", self.name, self.for_ms)
    }
}

/// In a cache line of its own, which another thread reads.
#[derive(Default)]
#[repr(align(64))]
struct Shared {
    /// How often something was begun; written by the shard alone.
    polls: AtomicU64,
    /// The name of the task that was polled last; 0 when the shard is not polling tasks.
    name: AtomicU16,
    /// Written by the watcher, taken back by the shard: how long a poll has lasted, and whose.
    suspected: AtomicU64,
}

type Hook = Box<dyn FnMut(Stalled)>;

/// The shard's side. What each poll needs comes last, to lie beside the rest of that.
#[repr(C)]
pub struct Stall {
    hook: RefCell<Option<Hook>>,
    reported: Cell<u64>,
    service: Name,
    /// How often the service was begun.
    services: Cell<u64>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stall").field("reported", &self.reported).finish_non_exhaustive()
    }
}

impl Stall {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
            hook: RefCell::new(None),
            reported: Cell::new(0),
            service: Name::new(SERVICE),
            services: Cell::new(0),
        }
    }

    /// What is called on the shard after a stall, in place of what was called before.
    pub fn set_hook(&self, hook: impl FnMut(Stalled) + 'static) {
        *self.hook.borrow_mut() = Some(Box::new(hook));
    }

    /// A watcher for another thread, which reports polls that last `limit_ms` or longer.
    #[must_use]
    pub fn watcher(&self, limit_ms: u32) -> Watcher {
        Watcher { shared: Arc::clone(&self.shared), limit_ms, polls: 0, since_ms: 0 }
    }

    pub(crate) fn polls(&self) -> u64 {
        self.shared.polls.load(Ordering::Relaxed).wrapping_sub(self.services.get())
    }

    /// Runs the shard's work, which may stall as well.
    #[inline]
    pub(crate) fn watch<R>(&self, work: impl FnOnce() -> R) -> R {
        self.services.set(self.services.get().wrapping_add(1));
        self.begin(self.service);
        let done = work();
        self.idle();
        done
    }

    pub(crate) fn reported(&self) -> u64 {
        self.reported.get()
    }

    #[inline]
    pub(crate) fn begin(&self, name: Name) {
        let shared = &*self.shared;
        shared.polls.store(shared.polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        shared.name.store(name.number(), Ordering::Relaxed);
    }

    /// The shard stops polling, or its work, for this turn.
    #[inline]
    pub(crate) fn idle(&self) {
        self.shared.name.store(0, Ordering::Relaxed);
        if self.shared.suspected.load(Ordering::Relaxed) != 0 {
            self.report();
        }
    }

    #[cold]
    fn report(&self) {
        let stalled = unpack(self.shared.suspected.swap(0, Ordering::Relaxed));
        self.reported.set(self.reported.get() + 1);
        if let Some(hook) = &mut *self.hook.borrow_mut() {
            hook(stalled);
        }
    }
}

fn pack(stalled: Stalled) -> u64 {
    u64::from(stalled.name.number()) << 32 | u64::from(stalled.for_ms)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
fn unpack(number: u64) -> Stalled {
    Stalled { name: Name::of_number((number >> 32) as u16), for_ms: number as u32 }
}

/// The watching side: look regularly, at least twice per limit.
pub struct Watcher {
    shared: Arc<Shared>,
    limit_ms: u32,
    polls: u64,
    since_ms: u64,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("limit_ms", &self.limit_ms).finish_non_exhaustive()
    }
}

impl Watcher {
    /// Looks at the time `now_ms`: a task that has been running since an earlier look, for the limit or
    /// longer.
    pub fn look(&mut self, now_ms: u64) -> Option<Stalled> {
        let polls = self.shared.polls.load(Ordering::Relaxed);
        let number = self.shared.name.load(Ordering::Relaxed);
        if number == 0 || polls != self.polls {
            self.polls = polls;
            self.since_ms = now_ms;
            return None;
        }
        let for_ms = u32::try_from(now_ms.saturating_sub(self.since_ms)).unwrap_or(u32::MAX);
        if for_ms < self.limit_ms.max(1) {
            return None;
        }
        let stalled = Stalled { name: Name::of_number(number), for_ms };
        self.shared.suspected.store(pack(stalled), Ordering::Relaxed);
        Some(stalled)
    }
}
