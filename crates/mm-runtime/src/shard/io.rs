//! What tasks share with the shard's driver: the driver itself, and who waits for which event.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use crate::driver::{Driver, Event, SourceId};
use crate::net::Direction;

/// A handle to a shard's driver, for what runs as a task. Clones are the same.
///
/// A task tries its call first; told that it would block, it leaves its waker here and returns. The driver is borrowed
/// for the call only, never while a task waits.
pub struct Io<D> {
    shared: Rc<Shared<D>>,
}

struct Shared<D> {
    driver: RefCell<D>,
    waiting: RefCell<Waiting>,
}

/// Who waits for sources of tasks. Most sources have one task, which waits for one thing at a time, so each has a place
/// for one waker; the rest are apart.
#[derive(Default)]
struct Waiting {
    /// By the index of the source.
    places: Vec<Place>,
    /// Those of another task than the one that the source's place has.
    others: BTreeMap<(SourceId, Direction), Waker>,
}

/// Who waits for one source.
#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    /// Which source, of those that have had this index; 0 is none.
    serial: u32,
    /// What the waker waits for.
    input: bool,
    output: bool,
}

/// What a source costs here.
#[cfg(test)]
pub(crate) const WAITING_BYTES: usize = size_of::<Place>();

impl Place {
    fn wants(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Input => &mut self.input,
            Direction::Output => &mut self.output,
        }
    }
}

impl Waiting {
    /// Notes who waits. Gives what that replaces, to be dropped when the table is free again.
    fn set(&mut self, source: SourceId, direction: Direction, waker: &Waker) -> [Option<Waker>; 2] {
        let index = source.index();
        if index >= self.places.len() {
            self.places.resize_with(index + 1, Place::default);
        }
        let place = &mut self.places[index];
        let mut replaced = [None, None];
        if place.serial != source.serial() {
            replaced[0] = std::mem::take(place).waker;
            place.serial = source.serial();
        }
        if !self.others.is_empty() {
            replaced[1] = self.others.remove(&(source, direction));
        }
        if place.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place.wants(direction) = true;
            return replaced;
        }
        *place.wants(direction) = false;
        if place.input || place.output {
            self.others.insert((source, direction), waker.clone());
        } else {
            *place.wants(direction) = true;
            let former = place.waker.replace(waker.clone());
            replaced[0] = replaced[0].take().or(former);
        }
        replaced
    }

    /// Who is to be woken.
    fn take(&mut self, source: SourceId, direction: Direction) -> Option<Waker> {
        let place = self.places.get_mut(source.index()).filter(|place| place.serial == source.serial())?;
        if !std::mem::take(place.wants(direction)) {
            return if self.others.is_empty() { None } else { self.others.remove(&(source, direction)) };
        }
        if place.input || place.output { place.waker.clone() } else { place.waker.take() }
    }
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
        self.wait(source, Direction::Input, waker);
    }

    /// Has `waker` woken when the source has room for output, or an error. It replaces another one.
    pub fn wake_when_writable(&self, source: SourceId, waker: &Waker) {
        self.wait(source, Direction::Output, waker);
    }

    /// Closes a source, and wakes those who wait for it, who will be told.
    pub fn close(&self, source: SourceId) {
        self.driver().close(source);
        self.wake_all(source);
    }

    /// Wakes those who wait for a source, for whatever.
    pub fn wake_all(&self, source: SourceId) {
        self.wake(source, Direction::Input);
        self.wake(source, Direction::Output);
    }

    /// Wakes those for whom this event is.
    pub(super) fn event(&self, event: &Event) {
        if event.readable {
            self.wake(event.source, Direction::Input);
        }
        if event.writable {
            self.wake(event.source, Direction::Output);
        }
    }

    fn wake(&self, source: SourceId, direction: Direction) {
        // Not while the table is borrowed: a wake may run a destructor that closes a source.
        let waker = self.shared.waiting.borrow_mut().take(source, direction);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self, source: SourceId, direction: Direction, waker: &Waker) {
        let replaced = self.shared.waiting.borrow_mut().set(source, direction, waker);
        drop(replaced);
    }
}

impl<D> fmt::Debug for Io<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}
