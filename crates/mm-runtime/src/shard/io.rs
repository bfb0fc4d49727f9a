//! What tasks share with the shard's driver: the driver itself, and who waits for which event.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::hint::cold_path;
use std::rc::Rc;
use std::task::Waker;

use crate::driver::{Driver, Event, Owner, SourceId};
use crate::net::Direction;
use crate::task::raw;

/// A handle to a shard's driver, for what runs as a task. Clones are the same.
///
/// A task tries its call first; told that it would block, it leaves its waker here and returns. The driver is borrowed
/// for the call only, never while a task waits.
pub struct Io<D> {
    shared: Rc<Shared<D>>,
}

/// What is asked most often lies together: system calls leave nothing of it in the nearest cache.
#[repr(C)]
pub(crate) struct Shared<D> {
    waiting: RefCell<Waiting>,
    driver: RefCell<D>,
    /// Sources to be closed when the driver is free again, and whether by a reset; no more than it has.
    late: RefCell<Vec<(SourceId, bool)>>,
}

/// Who waits for sources of tasks. Most sources have one task, which waits for one thing at a time, so each has a place
/// for one waker; the rest are apart.
#[derive(Default)]
#[repr(C)]
struct Waiting {
    /// By the index of the source.
    places: Vec<Place>,
    /// Those of another task than the one that the source's place has.
    others: BTreeMap<(SourceId, Direction), Waker>,
}

/// Who waits for one source.
#[derive(Default)]
struct Place {
    /// Stays when it has been used, until another one takes its place or the source is closed.
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
    /// Notes who waits, where that is who waited for the source the last time.
    #[inline]
    fn set_again(&mut self, source: SourceId, direction: Direction, waker: &Waker) -> bool {
        let Some(place) = self.places.get_mut(source.index()) else { return false };
        let is_known = place.serial == source.serial()
            && place.waker.as_ref().is_some_and(|known| known.will_wake(waker))
            && self.others.is_empty();
        *place.wants(direction) |= is_known;
        is_known
    }

    /// Notes who waits. Gives what that replaces, to be dropped when the table is free again.
    #[cold]
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
        replaced[1] = self.others.remove(&(source, direction));
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

    /// Who is to be woken, of those who have the source's place; it keeps the waker for the next wait, which most often
    /// is the same task's.
    #[inline]
    fn take(&mut self, event: &Event) -> Option<&Waker> {
        let Event { source, readable, writable, .. } = *event;
        let place = self.places.get_mut(source.index()).filter(|place| place.serial == source.serial())?;
        let is_woken = place.input && readable || place.output && writable;
        place.input &= !readable;
        place.output &= !writable;
        place.waker.as_ref().filter(|_| is_woken)
    }

    /// A source is closed: gives the waker that its place has kept.
    fn forget(&mut self, source: SourceId) -> Option<Waker> {
        let place = self.places.get_mut(source.index()).filter(|place| place.serial == source.serial())?;
        std::mem::take(place).waker
    }
}

impl<D> Clone for Io<D> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<D: Driver> Io<D> {
    pub(super) fn new(driver: D) -> Self {
        let shared =
            Shared { driver: RefCell::new(driver), waiting: RefCell::default(), late: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }

    /// What all handles share.
    pub(crate) fn into_shared(self) -> Rc<Shared<D>> {
        self.shared
    }

    /// The driver. To be given back before anything else of the shard runs: at once, that is.
    pub fn driver(&self) -> RefMut<'_, D> {
        self.shared.driver()
    }

    /// Has `waker` woken by the source's next input, end, error, or connection to accept. It replaces another one.
    pub fn wake_when_readable(&self, source: SourceId, waker: &Waker) {
        self.shared.wait(source, Direction::Input, waker);
    }

    /// Has `waker` woken when the source has room for output, or an error. It replaces another one.
    pub fn wake_when_writable(&self, source: SourceId, waker: &Waker) {
        self.shared.wait(source, Direction::Output, waker);
    }

    /// Closes a source, and wakes those who wait for it, who will be told. In the midst of [`Work`](super::Work), which
    /// has the driver, the source is closed when that is done.
    pub fn close(&self, source: SourceId) {
        self.shared.close(source);
    }

    /// Wakes those who wait for a source, for whatever.
    pub fn wake_all(&self, source: SourceId) {
        self.shared.wake_all(source);
    }

    /// Wakes those for whom this event is.
    #[inline]
    pub(super) fn event(&self, event: &Event) {
        self.shared.event(event);
    }

    /// Closes what was to be closed while the driver was not free.
    #[inline]
    pub(super) fn close_late(&self) {
        if !self.shared.late.borrow().is_empty() {
            self.shared.close_late();
        }
    }
}

impl<D: Driver> Shared<D> {
    /// See [`Io::driver`].
    #[inline]
    pub(crate) fn driver(&self) -> RefMut<'_, D> {
        self.driver.borrow_mut()
    }

    /// The driver, unless the shard's [`Work`](super::Work) has it: destructors run there, too.
    pub(crate) fn free_driver(&self) -> Option<RefMut<'_, D>> {
        self.driver.try_borrow_mut().ok()
    }

    /// See [`Io::close`].
    pub(crate) fn close(&self, source: SourceId) {
        self.end(source, false);
    }

    /// As [`close`](Self::close), with a reset if so asked.
    pub(crate) fn end(&self, source: SourceId, is_reset: bool) {
        match self.free_driver() {
            Some(mut driver) => end_source(&mut *driver, source, is_reset),
            None => self.late.borrow_mut().push((source, is_reset)),
        }
        self.wake_all(source);
        let kept = self.waiting.borrow_mut().forget(source);
        drop(kept);
    }

    #[cold]
    fn close_late(&self) {
        let late = self.late.take();
        let mut driver = self.driver();
        late.into_iter().for_each(|(source, is_reset)| end_source(&mut *driver, source, is_reset));
    }

    /// See [`Io::wake_all`].
    pub(crate) fn wake_all(&self, source: SourceId) {
        self.event(&Event { source, owner: Owner::Task, readable: true, writable: true });
    }

    #[inline]
    fn event(&self, event: &Event) {
        let mut waiting = self.waiting.borrow_mut();
        let is_done = waiting.take(event).is_none_or(raw::wake_here);
        if !is_done || !waiting.others.is_empty() {
            cold_path();
            let foreign = if is_done { None } else { waiting.places[event.source.index()].waker.clone() };
            wake_others(waiting, foreign, event);
        }
    }

    /// Has `waker` woken when the source is ready for `direction`. It replaces another one.
    #[inline]
    pub(crate) fn wait(&self, source: SourceId, direction: Direction, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.set_again(source, direction, waker) {
            cold_path();
            let replaced = waiting.set(source, direction, waker);
            // Not while the table is borrowed, as above.
            drop(waiting);
            drop(replaced);
        }
    }
}

fn end_source<D: Driver>(driver: &mut D, source: SourceId, is_reset: bool) {
    if is_reset {
        driver.reset(source);
    }
    driver.close(source);
}

/// Wakes those who are not tasks of this shard or have no place, and `foreign`.
#[cold]
fn wake_others(mut waiting: RefMut<'_, Waiting>, foreign: Option<Waker>, event: &Event) {
    let mut take = |is_woken: bool, direction| {
        is_woken.then(|| waiting.others.remove(&(event.source, direction))).flatten()
    };
    let others = [take(event.readable, Direction::Input), take(event.writable, Direction::Output)];
    // Not while the table is borrowed: such a wake may run a destructor that closes a source.
    drop(waiting);
    foreign.into_iter().chain(others.into_iter().flatten()).for_each(Waker::wake);
}

impl<D> fmt::Debug for Io<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use mm_base::slab::Key;

    use super::*;
    use crate::driver::DefaultDriver;
    use crate::sys::socket::StreamOptions;

    /// A waker that is no task's.
    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn new() -> (Arc<Self>, Waker) {
            let count = Arc::new(Self::default());
            (Arc::clone(&count), Waker::from(count))
        }

        /// How often it has been woken since the last time.
        fn take(&self) -> u32 {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    fn io() -> Io<DefaultDriver> {
        Io::new(DefaultDriver::new(StreamOptions::default()).unwrap())
    }

    fn source(place: u64, serial: u64) -> SourceId {
        SourceId(Key::from_u64(serial << 32 | place))
    }

    /// Input, room for output, or both.
    fn event(source: SourceId, [readable, writable]: [bool; 2]) -> Event {
        Event { source, owner: Owner::Task, readable, writable }
    }

    #[test]
    fn whoever_waits_is_woken_once_for_each_time() {
        let (io, one) = (io(), source(3, 1));
        let (count, waker) = Count::new();
        for _ in 0..3 {
            io.wake_when_readable(one, &waker);
            io.event(&event(one, [false, true]));
            io.event(&event(source(3, 2), [true, true]));
            assert_eq!(count.take(), 0);
            io.event(&event(one, [true, true]));
            io.event(&event(one, [true, true]));
            assert_eq!(count.take(), 1);
        }
    }

    #[test]
    fn two_may_wait_for_one_source_and_change_places() {
        let (io, one) = (io(), source(0, 7));
        let ((first, of_first), (second, of_second)) = (Count::new(), Count::new());
        for (reader, writer) in [(&of_first, &of_second), (&of_second, &of_first), (&of_first, &of_first)] {
            io.wake_when_readable(one, reader);
            io.wake_when_writable(one, writer);
            io.event(&event(one, [true, false]));
            let after_input = [first.take(), second.take()];
            io.event(&event(one, [false, true]));
            let after_output = [first.take(), second.take()];
            let of = |waker: &Waker| [&of_first, &of_second].map(|other| u32::from(waker.will_wake(other)));
            assert_eq!([after_input, after_output], [of(reader), of(writer)]);
        }
        io.wake_when_readable(one, &of_first);
        io.wake_when_writable(one, &of_second);
        io.event(&event(one, [true, true]));
        assert_eq!([first.take(), second.take()], [1, 1]);
    }

    #[test]
    fn a_source_that_is_closed_keeps_nobody() {
        let (io, one) = (io(), source(2, 5));
        let ((first, of_first), (second, of_second)) = (Count::new(), Count::new());
        io.wake_when_readable(one, &of_first);
        io.wake_when_writable(one, &of_second);
        io.close(one);
        assert_eq!([first.take(), second.take()], [1, 1]);
        io.wake_when_readable(source(2, 6), &of_first);
        io.event(&event(source(2, 6), [true, true]));
        io.close(source(2, 6));
        drop((of_first, of_second));
        assert_eq!(first.take(), 1);
        assert_eq!([&first, &second].map(Arc::strong_count), [1, 1]);
    }
}
