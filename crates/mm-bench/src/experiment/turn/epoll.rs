//! The epoll servers.

use std::convert::Infallible;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::{self, Errno};
use rustix::net::{self, RecvFlags, SendFlags};
use rustix::time::Timespec;

use super::session;
use super::table::{Hash, Table};
use super::ways::{Calls, EpollWay, Order, Trigger};
use crate::floor::listener;
use crate::floor::poll::Poll;

/// Bytes a read may bring. Requests of the experiment are far shorter.
const READ_BYTES: usize = 16 << 10;

/// What a connection has in a turn.
struct Place {
    index: usize,
    input: Vec<u8>,
    received: usize,
    hash: Hash,
    output: Vec<u8>,
}

struct Turn<'a> {
    table: &'a Table,
    way: EpollWay,
    streams: Vec<Option<OwnedFd>>,
    places: Vec<Place>,
    used: usize,
}

/// Serves until the process is killed.
///
/// # Errors
/// The port cannot be used, or epoll itself failed.
pub(super) fn serve(port: u16, table: &Table, way: EpollWay) -> Result<Infallible, String> {
    let listener = listener::listen(port)?;
    let mut poll = Poll::new(way.events)?;
    poll.add(&listener, EventFlags::IN)?;
    let mut turn = Turn { table, way, streams: Vec::new(), places: Vec::new(), used: 0 };
    let listener_index = listener::index(&listener);
    loop {
        for position in 0..wait(&mut poll, way.looks)? {
            let index = poll.ready(position).index;
            if index != listener_index {
                turn.ready(index);
            } else if let Some(stream) = listener::accept(listener.as_fd()) {
                let edge = if way.trigger == Trigger::Level { EventFlags::empty() } else { EventFlags::ET };
                poll.add(&stream, EventFlags::IN | EventFlags::RDHUP | edge)?;
                let index = listener::index(&stream);
                listener::insert(&mut turn.streams, index, stream);
                if way.trigger != Trigger::Level {
                    // What came before the registration raises no edge of its own on every kernel.
                    turn.ready(index);
                }
            }
        }
        turn.finish();
    }
}

fn wait(poll: &mut Poll, looks: u32) -> Result<usize, String> {
    for _ in 0..looks {
        let count = poll.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if count > 0 {
            return Ok(count);
        }
    }
    poll.wait(None)
}

impl Turn<'_> {
    /// Receives for a connection; serves it at once where that is the way.
    fn ready(&mut self, index: usize) {
        let place = self.used;
        if place == self.places.len() {
            let (input, output) = (vec![0; READ_BYTES], Vec::new());
            self.places.push(Place { index, input, received: 0, hash: Hash::default(), output });
        }
        self.places[place].index = index;
        if !self.receive(place) {
            self.streams[index] = None;
            return;
        }
        if self.places[place].received == 0 {
            return;
        }
        if self.way.order == Order::OneByOne {
            self.run(place, false);
            self.send(place);
        } else {
            self.used += 1;
        }
    }

    /// Reads as the trigger demands. False: the connection is over.
    fn receive(&mut self, place: usize) -> bool {
        let place = &mut self.places[place];
        place.received = 0;
        let Some(Some(stream)) = self.streams.get(place.index) else { return true };
        loop {
            let room = &mut place.input[place.received..];
            let asked = room.len();
            let result = match self.way.calls {
                Calls::RecvSend => net::recv(stream, room, RecvFlags::DONTWAIT).map(|(length, _)| length),
                Calls::ReadWrite | Calls::Writev => io::read(stream, room),
            };
            match result {
                Ok(0) => return false,
                Ok(received) => {
                    place.received += received;
                    if self.way.trigger != Trigger::EdgeProbe && received < asked
                        || place.received == READ_BYTES
                    {
                        return true;
                    }
                }
                Err(error) => return error == Errno::AGAIN,
            }
        }
    }

    /// The stages after receiving, for all connections of the turn.
    fn finish(&mut self) {
        let used = std::mem::take(&mut self.used);
        let prepared = self.way.order != Order::Unprepared;
        if prepared {
            for place in &mut self.places[..used] {
                place.hash = session::prepare(self.table, &place.input[..place.received]);
            }
            for place in &self.places[..used] {
                self.table.prefetch_item(place.hash);
            }
        }
        for place in 0..used {
            self.run(place, prepared);
            if self.way.order == Order::StagedSendEach {
                self.send(place);
            }
        }
        if self.way.order != Order::StagedSendEach {
            for place in 0..used {
                self.send(place);
            }
        }
    }

    fn run(&mut self, place: usize, prepared: bool) {
        let place = &mut self.places[place];
        place.output.clear();
        let hash = prepared.then_some(place.hash);
        session::run(self.table, hash, &place.input[..place.received], &mut place.output);
    }

    /// Sends the answers; a client that does not read them is dropped.
    fn send(&mut self, place: usize) {
        let place = &self.places[place];
        let Some(Some(stream)) = self.streams.get(place.index) else { return };
        let bytes = place.output.as_slice();
        let sent = match self.way.calls {
            Calls::ReadWrite => io::write(stream, bytes),
            Calls::RecvSend => net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Calls::Writev => {
                let (head, tail) = bytes.split_at(bytes.len() / 2);
                io::writev(stream, &[IoSlice::new(head), IoSlice::new(tail)])
            }
        };
        if sent != Ok(bytes.len()) {
            self.streams[place.index] = None;
        }
    }
}
