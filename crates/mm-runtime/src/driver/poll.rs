//! The driver on `poll`, which every Unix has.
//!
//! `poll` tells what is so, not what has changed, and has to be told each time what to look at. So only what has been
//! told to wait is looked at, and what has become ready is left out until it has to wait again: thus its events are
//! edges too. A wait costs time for each source that is open, which is why this driver is the last choice.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mm_base::slab::Key;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::readiness::{Bell, News, Outlook, Poller, ReadinessDriver, Role, Source, System, Table};
use super::{Event, Kind, Waker};
use crate::limits::EVENTS_MAX;

/// The driver on `poll`.
pub type PollDriver = ReadinessDriver<System<Poll>>;

/// What `poll` is asked about.
#[derive(Debug)]
pub struct Poll {
    bell: Bell,
    /// Memory for the sources looked at, between two waits empty.
    asked: Vec<PollFd<'static>>,
    keys: Vec<Key>,
    answers: Vec<(Key, News)>,
    /// The place in the answers after the last one that has become an event, for those left over to come first.
    first: usize,
}

impl Poller for Poll {
    const KIND: Kind = Kind::Poll;

    fn new() -> io::Result<Self> {
        let bell = Bell::new()?;
        Ok(Self { bell, asked: Vec::new(), keys: Vec::new(), answers: Vec::new(), first: 0 })
    }

    fn waker(&self) -> Waker {
        self.bell.waker()
    }

    fn watch(&mut self, _socket: &OwnedFd, _key: Key, _role: Role) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self, _socket: &OwnedFd, _key: Key) -> bool {
        // Each wait asks for those in the table.
        true
    }

    fn wait(
        &mut self,
        timeout: Option<&Timespec>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.ask(timeout, table)?;
        let count = self.answers.len();
        // The place to begin at is that of a source, so that news beyond the bound are told by the next wait.
        let begin = self.answers.partition_point(|(key, _)| key.index() < self.first);
        for (key, news) in self.answers.iter().cycle().skip(begin).take(count.min(EVENTS_MAX)) {
            table.tell(*key, *news, events);
            self.first = key.index() + 1;
        }
        Ok(())
    }
}

impl Poll {
    /// Makes the call and notes its answers, in the order of the sources' places.
    fn ask(&mut self, timeout: Option<&Timespec>, table: &Table<OwnedFd>) -> io::Result<()> {
        self.keys.clear();
        self.answers.clear();
        let mut asked = emptied(std::mem::take(&mut self.asked));
        asked.push(PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN));
        for (key, source) in table.iter() {
            let wanted = wanted(source);
            if !wanted.is_empty() {
                asked.push(PollFd::new(source.handle(), wanted));
                self.keys.push(key);
            }
        }
        let polled = poll(&mut asked, timeout);
        if polled.is_ok() {
            let answers = asked.iter().skip(1).zip(&self.keys);
            let answers = answers.filter(|(asked, _)| !asked.revents().is_empty());
            self.answers.extend(answers.map(|(asked, key)| (*key, news(asked.revents()))));
            if !asked[0].revents().is_empty() {
                self.bell.hush();
            }
        }
        self.asked = emptied(asked);
        match polled {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What to look for, which is what has been told to wait.
fn wanted(source: &Source<OwnedFd>) -> PollFlags {
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, source.awaits_input());
    wanted.set(PollFlags::OUT, source.awaits_room() && source.role() != Role::Listener);
    wanted
}

fn news(found: PollFlags) -> News {
    let failed = found.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    News {
        readable: failed || found.contains(PollFlags::IN),
        writable: failed || found.contains(PollFlags::OUT),
        // It would tell of the end again.
        outlook: Outlook::Open,
    }
}

/// The memory of a vector, for elements that borrow from elsewhere.
fn emptied<'b>(mut asked: Vec<PollFd<'_>>) -> Vec<PollFd<'b>> {
    asked.clear();
    // Collecting what has the same layout keeps the memory.
    asked.into_iter().map_while(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_do_not_allocate() {
        let poller = Poll::new().unwrap();
        let mut asked = Vec::with_capacity(100);
        asked.push(PollFd::new(&poller.bell, PollFlags::IN));
        let memory = asked.as_ptr();
        let asked: Vec<PollFd<'_>> = emptied(asked);
        assert_eq!((asked.as_ptr().addr(), asked.capacity(), asked.len()), (memory.addr(), 100, 0));
    }
}
