//! The io_uring servers.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use rustix::net::{self, SendFlags};

use super::session;
use super::table::{Hash, Table};
use super::ways::{Order, UringWay};
use crate::floor::listener;
use crate::floor::ring::{Completion, Received, Ring};

/// What a connection has in a turn.
struct Place {
    index: usize,
    bytes: Received,
    hash: Option<Hash>,
}

struct Turn<'a> {
    table: &'a Table,
    way: UringWay,
    ring: Ring,
    streams: Vec<Option<OwnedFd>>,
    places: Vec<Place>,
}

/// Serves until the process is killed.
///
/// # Errors
/// The kernel refuses io_uring, the port cannot be used, or the ring itself failed.
pub(super) fn serve(port: u16, table: &Table, way: UringWay) -> Result<Infallible, String> {
    let ring = Ring::new(way.ring, &[])?;
    let listener = listener::listen(port)?;
    let mut turn = Turn { table, way, ring, streams: Vec::new(), places: Vec::new() };
    turn.ring.accept(&listener)?;
    let mut completions = Vec::new();
    loop {
        turn.ring.wait(&mut completions)?;
        for completion in completions.drain(..) {
            match completion {
                Completion::Accepted(stream) => {
                    listener::no_delay(&stream);
                    turn.ring.receive(&stream, true)?;
                    listener::insert(&mut turn.streams, listener::index(&stream), stream);
                }
                Completion::AcceptEnded => turn.ring.accept(&listener)?,
                Completion::Received { index, bytes, more } => turn.received(index, bytes, more)?,
                Completion::NoBuffer(index) => turn.receive_again(index)?,
                Completion::Sent { whole: true, .. } => {}
                Completion::Ended(index) | Completion::Sent { index, whole: false } => turn.close(index),
            }
        }
        turn.finish()?;
    }
}

impl Turn<'_> {
    fn received(&mut self, index: usize, bytes: Received, more: bool) -> Result<(), String> {
        if !more {
            self.receive_again(index)?;
        }
        let place = Place { index, bytes, hash: None };
        if self.way.order == Order::OneByOne {
            return self.run(place);
        }
        self.places.push(place);
        Ok(())
    }

    fn receive_again(&mut self, index: usize) -> Result<(), String> {
        match self.streams.get(index) {
            Some(Some(stream)) => self.ring.receive(stream, false),
            _ => Ok(()),
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index).and_then(Option::take) {
            self.ring.forget(&stream);
        }
    }

    /// The stages after receiving, for all connections of the turn.
    fn finish(&mut self) -> Result<(), String> {
        let mut places = std::mem::take(&mut self.places);
        if self.way.order != Order::Unprepared {
            for place in &mut places {
                place.hash = Some(session::prepare(self.table, self.ring.bytes(&place.bytes)));
            }
            for hash in places.iter().filter_map(|place| place.hash) {
                self.table.prefetch_item(hash);
            }
        }
        for place in places.drain(..) {
            self.run(place)?;
        }
        self.places = places;
        Ok(())
    }

    /// Answers a connection; the answer leaves with the next wait unless it is to be sent at once.
    fn run(&mut self, place: Place) -> Result<(), String> {
        let output = self.ring.output();
        let (input, answers) = self.ring.input_and_output(&place.bytes, &output);
        let answers = &mut answers.bytes;
        session::run(self.table, place.hash, input, answers);
        let sent_at_once = match self.streams.get(place.index) {
            Some(Some(stream)) if self.way.send_at_once => {
                net::send(stream, answers, SendFlags::NOSIGNAL) == Ok(answers.len())
            }
            _ => false,
        };
        self.ring.recycle(place.bytes);
        match self.streams.get(place.index) {
            Some(Some(stream)) if !self.way.send_at_once => self.ring.send(stream, output),
            _ => {
                self.ring.discard(output);
                if self.way.send_at_once && !sent_at_once {
                    self.close(place.index);
                }
                Ok(())
            }
        }
    }
}
