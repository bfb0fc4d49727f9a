//! The open sources of a readiness driver, and what is known of each.

use std::hint::cold_path;
use std::io;

use mm_base::slab::{Key, Slab};
use rustix::io::Errno;

use crate::driver::{Event, Owner, SourceId};

/// What a source is there for, and so what there is to be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To accept connections.
    Listener,
    /// To receive and send bytes.
    Stream,
    /// To receive and send datagrams.
    Datagrams,
}

/// What a kernel has to tell of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// A receive or accept might succeed.
    pub readable: bool,
    /// A send might succeed.
    pub writable: bool,
    /// Whether there will be more.
    pub outlook: Outlook,
}

/// What news of a source are still to come. It only gets worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// Whatever happens will be told.
    #[default]
    Open,
    /// The peer has sent urgent data, which cuts a receive short that comes to its place: a short one does not make the
    /// source unreadable.
    Urgent,
    /// The peer has finished sending or the socket has failed, and nothing will tell of it again: a short receive does
    /// not make the source unreadable.
    HungUp,
    /// Nothing will be told any more, for want of resources.
    Deaf,
}

/// A source, and what is known of it.
#[derive(Debug)]
pub struct Source<H> {
    pub(super) handle: H,
    owner: Owner,
    role: Role,
    /// A receive or accept might succeed.
    pub(super) readable: bool,
    /// A send might succeed.
    pub(super) writable: bool,
    pub(super) outlook: Outlook,
}

impl<H> Source<H> {
    /// The socket or what takes its place.
    pub fn handle(&self) -> &H {
        &self.handle
    }

    /// The same, to be changed.
    pub fn handle_mut(&mut self) -> &mut H {
        &mut self.handle
    }

    /// What it is there for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether news that it can be read from is wanted: a call has been told to wait, or none has been made.
    #[must_use]
    pub fn awaits_input(&self) -> bool {
        !self.readable
    }

    /// Whether news that it can be written to is wanted: a call has been told to wait.
    #[must_use]
    pub fn awaits_room(&self) -> bool {
        !self.writable
    }

    /// What a call comes to that the kernel has refused: `blocked`, where it has to wait.
    #[cold]
    #[inline(never)]
    pub(super) fn failed<T>(&self, error: Errno, blocked: T) -> io::Result<T> {
        if error == Errno::AGAIN { self.blocked(blocked) } else { Err(error.into()) }
    }

    /// What a call comes to that has to wait: an error when there will be no news to wait for.
    #[cold]
    pub(super) fn blocked<T>(&self, outcome: T) -> io::Result<T> {
        if self.outlook == Outlook::Deaf { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(outcome) }
    }
}

/// The open sources of a driver, by key.
#[derive(Debug)]
pub struct Table<H> {
    sources: Slab<Source<H>>,
}

impl<H> Table<H> {
    pub(super) fn new() -> Self {
        Self { sources: Slab::new() }
    }

    pub(super) fn next_key(&self) -> Option<Key> {
        self.sources.next_key()
    }

    /// A new source, under [`next_key`](Self::next_key). Its output may be tried at once.
    pub(super) fn insert(&mut self, handle: H, owner: Owner, role: Role) -> Option<SourceId> {
        let source = Source { handle, owner, role, readable: false, writable: true, outlook: Outlook::Open };
        self.sources.insert(source).ok().map(SourceId)
    }

    #[inline]
    pub(super) fn get(&self, id: SourceId) -> Option<&Source<H>> {
        self.sources.get(id.0)
    }

    #[inline]
    pub(super) fn find(&mut self, id: SourceId) -> io::Result<&mut Source<H>> {
        let source = self.sources.get_mut(id.0);
        if source.is_none() {
            cold_path();
        }
        source.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(super) fn remove(&mut self, id: SourceId) -> Option<Source<H>> {
        self.sources.remove(id.0)
    }

    /// The number of places, taken or vacant.
    #[must_use]
    pub fn places(&self) -> usize {
        self.sources.places()
    }

    /// The key and source at a place, if one is there.
    pub fn at(&mut self, place: usize) -> Option<(Key, &mut Source<H>)> {
        let key = self.sources.key_at(place)?;
        Some((key, self.sources.get_mut(key)?))
    }

    /// All sources.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Source<H>)> {
        self.sources.iter()
    }

    /// Notes news of a source and makes an event of it. News of a source that has been closed are dropped.
    #[inline]
    pub fn tell(&mut self, key: Key, news: News, events: &mut Vec<Event>) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let News { readable, writable, outlook } = news;
        source.readable |= readable;
        source.writable |= writable;
        source.outlook = source.outlook.max(outlook);
        events.push(Event { source: SourceId(key), owner: source.owner, readable, writable });
    }
}
