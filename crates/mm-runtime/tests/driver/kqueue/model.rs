//! What a kernel with kqueue does, on sockets of one that has none.
//!
//! A filter becomes active when something happens to its socket, not while something is so; an active filter whose
//! condition no longer holds is not reported; a reported one is active no more until something happens again
//! (`EV_CLEAR`). Adding a filter makes it active if its condition holds. Changes are made before the wait, and those
//! that fail are reported like events. Closing a descriptor takes its filters out, as deleting them does
//! (`EV_DELETE`). All of this is in the manual pages.
//!
//! That something has happened is learnt from an edge-triggered epoll with a duplicate of the socket for each filter,
//! so that input does not wake those who wait for room.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use mm_runtime::driver::Waker;
use mm_runtime::driver::kqueue::{Change, Filter, Found, Queue, WAKE};
use mm_runtime::limits::EVENTS_MAX;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A queue, and what the kernel knows of the process's sockets. Clones are the same.
#[derive(Clone)]
pub(super) struct Model {
    state: Rc<RefCell<State>>,
    user: Option<Arc<OwnedFd>>,
}

struct State {
    epoll: OwnedFd,
    /// Open sockets, by the number of their descriptor.
    sockets: HashMap<RawFd, OwnedFd>,
    filters: BTreeMap<(RawFd, Filter), Knote>,
    /// Which filter an event of epoll's is for, by a number that is never used again.
    serials: HashMap<u64, (RawFd, Filter)>,
    next_serial: u64,
    waits: u32,
}

/// A filter that has been added.
struct Knote {
    place: usize,
    active: bool,
    serial: u64,
    duplicate: OwnedFd,
}

/// The number of the user event.
const USER: u64 = u64::MAX;

/// Of so many waits one is interrupted by a signal.
const INTERRUPTED_EVERY: u32 = 5;

impl Model {
    pub(super) fn new(has_user_events: bool) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let user = has_user_events.then(|| {
            let user = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            epoll::add(&epoll, &user, EventData::new_u64(USER), EventFlags::IN | EventFlags::ET).unwrap();
            Arc::new(user)
        });
        let state = State {
            epoll,
            sockets: HashMap::new(),
            filters: BTreeMap::new(),
            serials: HashMap::new(),
            next_serial: 0,
            waits: 0,
        };
        Self { state: Rc::new(RefCell::new(state)), user }
    }

    /// The process has a new socket.
    pub(super) fn open(&self, socket: &OwnedFd) {
        self.state.borrow_mut().sockets.insert(socket.as_raw_fd(), socket.try_clone().unwrap());
    }

    /// The process closes a socket.
    pub(super) fn close(&self, socket: RawFd) {
        let mut state = self.state.borrow_mut();
        state.sockets.remove(&socket);
        state.filters.retain(|(of, _), _| *of != socket);
        state.serials.retain(|_, (of, _)| *of != socket);
    }

    /// The process gives a socket away that stays open. Nothing may watch it still.
    pub(super) fn give_away(&self, socket: RawFd) {
        let mut state = self.state.borrow_mut();
        state.sockets.remove(&socket);
        let watched: Vec<_> = state.filters.keys().filter(|(of, _)| *of == socket).collect();
        assert!(watched.is_empty(), "given away and watched still: {watched:?}");
    }
}

impl State {
    fn change(&mut self, change: Change) -> Result<(), Errno> {
        let Change { socket, filter, place } = change;
        if let Some(known) = self.filters.get_mut(&(socket, filter)) {
            known.place = place;
            return Ok(());
        }
        let duplicate = self.sockets.get(&socket).ok_or(Errno::BADF)?.try_clone().unwrap();
        let serial = self.next_serial;
        self.next_serial += 1;
        let flags = match filter {
            Filter::Read => EventFlags::IN | EventFlags::RDHUP,
            Filter::Write => EventFlags::OUT,
        };
        // It is ready at once if its condition holds.
        epoll::add(&self.epoll, &duplicate, EventData::new_u64(serial), flags | EventFlags::ET).unwrap();
        self.serials.insert(serial, (socket, filter));
        self.filters.insert((socket, filter), Knote { place, active: false, serial, duplicate });
        Ok(())
    }

    fn delete(&mut self, socket: RawFd, filter: Filter) -> Result<(), Errno> {
        let knote = self.filters.remove(&(socket, filter)).ok_or(Errno::NOENT)?;
        epoll::delete(&self.epoll, &knote.duplicate).unwrap();
        self.serials.remove(&knote.serial);
        Ok(())
    }

    /// Waits until a filter becomes active; says whether the user event has happened.
    fn activate(&mut self, timeout: Option<&Timespec>) -> bool {
        let mut events = Vec::with_capacity(2 * EVENTS_MAX);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
        let mut user = false;
        for event in events {
            user |= event.data.u64() == USER;
            let filter = self.serials.get(&event.data.u64());
            if let Some(knote) = filter.and_then(|filter| self.filters.get_mut(filter)) {
                knote.active = true;
            }
        }
        user
    }

    /// Reports active filters whose condition holds.
    fn report(&mut self, room: usize, found: &mut Vec<Found>) {
        let mut reported = 0;
        for ((socket, filter), knote) in &mut self.filters {
            if reported == room {
                return;
            }
            if !std::mem::take(&mut knote.active) {
                continue;
            }
            let Some((holds, ended)) = condition(self.sockets[socket].as_fd(), *filter) else { continue };
            if holds {
                reported += 1;
                found.push(Found::Ready { filter: *filter, place: knote.place, ended });
            }
        }
    }
}

/// Whether a filter's condition holds, and whether the end has come.
fn condition(socket: BorrowedFd<'_>, filter: Filter) -> Option<(bool, bool)> {
    let wanted = match filter {
        Filter::Read => PollFlags::IN | PollFlags::RDHUP,
        Filter::Write => PollFlags::OUT,
    };
    let mut asked = [PollFd::from_borrowed_fd(socket, wanted)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    let is = asked[0].revents();
    let ended = is.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
    Some((!is.is_empty(), ended))
}

impl Queue for Model {
    fn new() -> io::Result<Self> {
        Ok(Self::new(true))
    }

    fn waker(&self) -> Option<Waker> {
        let user = Arc::clone(self.user.as_ref()?);
        Some(Waker::new(move || {
            rustix::io::write(&*user, &1_u64.to_ne_bytes()).unwrap();
        }))
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, filter: Filter, place: usize) -> Result<(), Errno> {
        let mut state = self.state.borrow_mut();
        let number = socket.as_raw_fd();
        state.sockets.entry(number).or_insert_with(|| socket.try_clone_to_owned().unwrap());
        state.change(Change { socket: number, filter, place })
    }

    fn forget(&mut self, socket: BorrowedFd<'_>, filter: Filter) -> Result<(), Errno> {
        self.state.borrow_mut().delete(socket.as_raw_fd(), filter)
    }

    fn exchange(
        &mut self,
        changes: &[Change],
        timeout: Option<&Timespec>,
        found: &mut Vec<Found>,
    ) -> Result<(), Errno> {
        let mut state = self.state.borrow_mut();
        for change in changes {
            if let Err(error) = state.change(*change) {
                found.push(Found::Failed { place: change.place, error });
            }
        }
        // First what is active already; only then a wait. One place is kept for the user event.
        let room = EVENTS_MAX - 1 - found.len();
        let before = found.len();
        let mut user = state.activate(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        state.report(room, found);
        if found.len() == before && !user {
            state.waits += 1;
            if state.waits.is_multiple_of(INTERRUPTED_EVERY) && found.is_empty() {
                return Err(Errno::INTR);
            }
            user = state.activate(timeout);
            state.report(room, found);
        }
        if user {
            found.push(Found::Ready { filter: Filter::Read, place: WAKE, ended: false });
        }
        Ok(())
    }
}
