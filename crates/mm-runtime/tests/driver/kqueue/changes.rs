//! What the driver asks of the kernel, and what it makes of rare answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use mm_base::slab::Key;
use mm_runtime::driver::kqueue::{Change, Filter, Found, Kqueue, Queue};
use mm_runtime::driver::readiness::{ReadinessDriver, System};
use mm_runtime::driver::{Driver, Event, Owner, Received, SourceId, Waker};
use mm_runtime::limits::CHANGES_MAX;
use mm_runtime::sys::socket::StreamOptions;
use rustix::event::Timespec;
use rustix::io::Errno;

/// A kernel that writes down what it is asked and answers what it has been told to.
#[derive(Clone, Default)]
struct Script(Rc<RefCell<Lines>>);

#[derive(Default)]
struct Lines {
    at_once: Vec<(RawFd, Filter)>,
    forgotten: Vec<(RawFd, Filter)>,
    exchanged: Vec<Vec<Change>>,
    answers: VecDeque<Result<Vec<Found>, Errno>>,
    refusals: VecDeque<Errno>,
}

impl Queue for Script {
    fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn waker(&self) -> Option<Waker> {
        Some(Waker::new(|| {}))
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, filter: Filter, _place: usize) -> Result<(), Errno> {
        self.0.borrow_mut().at_once.push((socket.as_raw_fd(), filter));
        Ok(())
    }

    fn forget(&mut self, socket: BorrowedFd<'_>, filter: Filter) -> Result<(), Errno> {
        let mut lines = self.0.borrow_mut();
        lines.forgotten.push((socket.as_raw_fd(), filter));
        lines.refusals.pop_front().map_or(Ok(()), Err)
    }

    fn exchange(
        &mut self,
        changes: &[Change],
        _timeout: Option<&Timespec>,
        found: &mut Vec<Found>,
    ) -> Result<(), Errno> {
        let mut lines = self.0.borrow_mut();
        lines.exchanged.push(changes.to_vec());
        found.extend(lines.answers.pop_front().unwrap_or(Ok(Vec::new()))?);
        Ok(())
    }
}

impl Script {
    fn answer(&self, answer: Result<Vec<Found>, Errno>) {
        self.0.borrow_mut().answers.push_back(answer);
    }

    fn last_changes(&self) -> Vec<Change> {
        self.0.borrow().exchanged.last().cloned().unwrap_or_default()
    }
}

struct World {
    script: Script,
    driver: ReadinessDriver<System<Kqueue<Script>>>,
}

impl World {
    fn new() -> Self {
        let script = Script::default();
        let kqueue = Kqueue::over(script.clone()).unwrap();
        let driver = ReadinessDriver::over(System::new(kqueue, StreamOptions::default()));
        Self { script, driver }
    }

    /// A stream, the number of its descriptor, and the other end.
    fn stream(&mut self) -> (SourceId, RawFd, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let number = near.as_raw_fd();
        let source = self.driver.add_stream(near.into(), Owner::Work(Key::from_u64(1))).unwrap();
        (source, number, far)
    }

    fn poll(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.driver.poll(Some(0), &mut events).unwrap();
        events
    }
}

#[test]
fn a_stream_is_watched_with_the_next_wait_and_only_then() {
    let mut world = World::new();
    let (source, socket, _far) = world.stream();
    world.poll();
    let place = source.index();
    let change = |filter| Change { socket, filter, place };
    assert_eq!(world.script.last_changes(), [change(Filter::Read), change(Filter::Write)]);
    world.poll();
    assert_eq!(world.script.last_changes(), []);
}

#[test]
fn changes_that_an_interrupted_wait_has_made_are_not_made_again() {
    let mut world = World::new();
    let (_source, _, _far) = world.stream();
    world.script.answer(Err(Errno::INTR));
    assert_eq!(world.poll(), []);
    assert_eq!(world.script.last_changes().len(), 2);
    world.poll();
    assert_eq!(world.script.last_changes(), []);
}

#[test]
fn a_closed_stream_leaves_no_change_for_the_next_of_its_number() {
    let mut world = World::new();
    let (first, number, _far) = world.stream();
    world.driver.close(first);
    let (second, _, _other) = world.stream();
    world.poll();
    let changes = world.script.last_changes();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| change.place == second.index()), "{number}: {changes:?}");
}

#[test]
fn a_released_stream_is_not_watched_here() {
    let mut world = World::new();
    let (watched, number, _far) = world.stream();
    world.poll();
    let (socket, _) = world.driver.release(watched).unwrap();
    assert_eq!(socket.as_raw_fd(), number);
    assert_eq!(world.script.0.borrow().forgotten, [(number, Filter::Read), (number, Filter::Write)]);
    let (unwatched, _, _other) = world.stream();
    world.script.0.borrow_mut().refusals.extend([Errno::NOENT; 2]);
    assert!(world.driver.release(unwatched).is_some(), "the kernel had not been told of it yet");
    world.poll();
    assert_eq!(world.script.last_changes(), []);
}

#[test]
fn a_stream_that_cannot_be_released_is_watched_still() {
    let mut world = World::new();
    let (source, socket, _far) = world.stream();
    world.poll();
    world.script.0.borrow_mut().refusals.push_back(Errno::NOMEM);
    assert!(world.driver.release(source).is_none());
    world.poll();
    let change = |filter| Change { socket, filter, place: source.index() };
    assert_eq!(world.script.last_changes(), [change(Filter::Read), change(Filter::Write)]);
    assert_eq!(world.driver.receive(source).unwrap(), Received::Blocked);
}

#[test]
fn what_does_not_fit_into_the_list_is_watched_at_once() {
    let mut world = World::new();
    let streams: Vec<_> = (0..CHANGES_MAX / 2 + 1).map(|_| world.stream()).collect();
    let last = streams.last().unwrap().1;
    assert_eq!(world.script.0.borrow().at_once, [(last, Filter::Read), (last, Filter::Write)]);
    world.poll();
    assert_eq!(world.script.last_changes().len(), CHANGES_MAX);
}

#[test]
fn a_stream_that_cannot_be_watched_is_broken() {
    let mut world = World::new();
    let (source, _, _far) = world.stream();
    let failed = Found::Failed { place: source.index(), error: Errno::NOMEM };
    world.script.answer(Ok(vec![failed]));
    let events = world.poll();
    assert!(events.iter().any(|event| event.source == source && event.readable && event.writable));
    assert_eq!(world.driver.receive(source).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn a_peer_that_had_gone_before_the_stream_was_watched_is_an_end() {
    let mut world = World::new();
    let (source, _, mut far) = world.stream();
    far.write_all(b"bye").unwrap();
    drop(far);
    world.script.answer(Ok(vec![Found::Failed { place: source.index(), error: Errno::PIPE }]));
    assert_eq!(world.poll().len(), 1);
    let Received::Bytes(span) = world.driver.receive(source).unwrap() else { panic!("the input is lost") };
    assert_eq!(world.driver.bytes(span), b"bye");
    assert_eq!(world.driver.receive(source).unwrap(), Received::End);
}

#[test]
fn the_end_is_not_forgotten_over_the_input_before_it() {
    let mut world = World::new();
    let (source, _, mut far) = world.stream();
    far.write_all(b"last").unwrap();
    drop(far);
    world.script.answer(Ok(vec![Found::Ready { filter: Filter::Read, place: source.index(), ended: true }]));
    world.poll();
    let Received::Bytes(_) = world.driver.receive(source).unwrap() else { panic!("the input is lost") };
    assert!(world.driver.may_have_input(source), "the kernel will not tell of the end again");
    assert_eq!(world.driver.receive(source).unwrap(), Received::End);
}

#[test]
fn what_is_found_of_nobody_is_dropped() {
    let mut world = World::new();
    world.script.answer(Ok(vec![Found::Ready { filter: Filter::Write, place: 7, ended: true }]));
    assert_eq!(world.poll(), []);
}
