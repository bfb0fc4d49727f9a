//! What tasks share with the shard's driver: the driver itself, and who waits for which event.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use crate::driver::{Driver, Event, SourceId};

/// A handle to a shard's driver, for what runs as a task. Clones are the same.
///
/// A task tries its call first; told that it would block, it leaves its waker here and returns. The driver is borrowed
/// for the call only, never while a task waits.
pub struct Io<D> {
    shared: Rc<Shared<D>>,
}

struct Shared<D> {
    driver: RefCell<D>,
    /// By the index of the source.
    waiting: RefCell<Vec<Waiting>>,
}

/// Who waits for a source of a task.
#[derive(Default)]
struct Waiting {
    source: Option<SourceId>,
    readable: Option<Waker>,
    writable: Option<Waker>,
}

impl<D> Clone for Io<D> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<D: Driver> Io<D> {
    pub(super) fn new(driver: D) -> Self {
        let shared = Shared { driver: RefCell::new(driver), waiting: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }

    /// The driver. To be given back before anything else of the shard runs: at once, that is.
    pub fn driver(&self) -> RefMut<'_, D> {
        self.shared.driver.borrow_mut()
    }

    /// Has `waker` woken by the source's next input, end, error, or connection to accept. It replaces another one.
    pub fn wake_when_readable(&self, source: SourceId, waker: &Waker) {
        self.wait(source, |waiting| set(&mut waiting.readable, waker));
    }

    /// Has `waker` woken when the source has room for output, or an error. It replaces another one.
    pub fn wake_when_writable(&self, source: SourceId, waker: &Waker) {
        self.wait(source, |waiting| set(&mut waiting.writable, waker));
    }

    /// Closes a source, and wakes those who wait for it, who will be told.
    pub fn close(&self, source: SourceId) {
        self.driver().close(source);
        self.wake_all(source);
    }

    /// Wakes those who wait for a source, for whatever.
    pub fn wake_all(&self, source: SourceId) {
        self.wake(source, |waiting| waiting.readable.take());
        self.wake(source, |waiting| waiting.writable.take());
    }

    /// Wakes those for whom this event is.
    pub(super) fn event(&self, event: &Event) {
        if event.readable {
            self.wake(event.source, |waiting| waiting.readable.take());
        }
        if event.writable {
            self.wake(event.source, |waiting| waiting.writable.take());
        }
    }

    fn wake(&self, source: SourceId, take: impl FnOnce(&mut Waiting) -> Option<Waker>) {
        let mut waiting = self.shared.waiting.borrow_mut();
        let place = waiting.get_mut(source.index()).filter(|waiting| waiting.source == Some(source));
        let waker = place.and_then(take);
        // Not while the table is borrowed: a wake may run a destructor that closes a source.
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self, source: SourceId, set: impl FnOnce(&mut Waiting) -> Option<Waker>) {
        let mut waiting = self.shared.waiting.borrow_mut();
        let index = source.index();
        if index >= waiting.len() {
            waiting.resize_with(index + 1, Waiting::default);
        }
        let place = &mut waiting[index];
        let former = if place.source == Some(source) { None } else { Some(std::mem::take(place)) };
        place.source = Some(source);
        let replaced = set(place);
        drop(waiting);
        drop((former, replaced));
    }
}

/// Puts a waker in its place, unless one that does the same is there. Returns what it replaces, to be dropped later.
fn set(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        return None;
    }
    place.replace(waker.clone())
}

impl<D> fmt::Debug for Io<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}
