//! The floor of a readiness server: level-triggered epoll, one read and one write for what is ready.

use std::convert::Infallible;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::{self, Errno};

use super::answer::{Answer, Carry};
use super::answers::{Answers, PARTS_MAX};
use super::listener;
use super::poll::Poll;
use crate::limits::{EVENTS_PER_WAIT, PENDING_BYTES, READ_BYTES};

/// A connection and what waits for it in either direction.
struct Connection {
    stream: OwnedFd,
    carry: Carry,
    /// Answers the socket did not take; while there are any, nothing is read.
    pending: Answers,
    /// How many of their bytes are sent.
    sent: usize,
}

/// The loop's state that is not a connection's.
struct Loop<'a, A> {
    poll: Poll,
    answer: &'a A,
    input: Vec<u8>,
    output: Answers,
}

/// Serves until the process is killed.
///
/// # Errors
/// The port cannot be used, or epoll itself failed.
pub(super) fn serve(port: u16, answer: &impl Answer) -> Result<Infallible, String> {
    let listener = listener::listen(port)?;
    let poll = Poll::new(EVENTS_PER_WAIT)?;
    poll.add(&listener, EventFlags::IN)?;
    let mut turn = Loop { poll, answer, input: vec![0; READ_BYTES], output: Answers::default() };
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let listener_index = listener::index(&listener);
    loop {
        for position in 0..turn.poll.wait(None)? {
            let index = turn.poll.ready(position).index;
            if index == listener_index {
                if let Some(stream) = listener::accept(listener.as_fd()) {
                    turn.poll.add(&stream, EventFlags::IN)?;
                    let (carry, pending) = (Carry::default(), Answers::default());
                    let connection = Connection { stream, carry, pending, sent: 0 };
                    listener::insert(&mut connections, listener::index(&connection.stream), connection);
                }
                continue;
            }
            let Some(Some(connection)) = connections.get_mut(index) else { continue };
            if !turn.serve_one(connection)? {
                connections[index] = None;
            }
        }
    }
}

impl<A: Answer> Loop<'_, A> {
    /// Serves a ready connection once. False: it is over.
    fn serve_one(&mut self, connection: &mut Connection) -> Result<bool, String> {
        if !connection.pending.is_empty() {
            return self.send_pending(connection);
        }
        let received = match io::read(&connection.stream, &mut self.input[..]) {
            Ok(0) => return Ok(false),
            Ok(received) => received,
            Err(error) => return Ok(error == Errno::AGAIN),
        };
        self.output.clear();
        if !connection.carry.answer(self.answer, &self.input[..received], &mut self.output) {
            return Ok(false);
        }
        if self.output.is_empty() {
            return Ok(true);
        }
        let shared = self.answer.shared();
        let sent = match write(&connection.stream, &self.output, shared, 0) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(_) => return Ok(false),
        };
        let left = self.output.len(shared.len()) - sent;
        if left > 0 {
            std::mem::swap(&mut connection.pending, &mut self.output);
            connection.sent = sent;
            self.poll.modify(&connection.stream, EventFlags::OUT)?;
        }
        Ok(left <= PENDING_BYTES)
    }

    /// Sends more of what a slow reader left. False: the connection is over.
    fn send_pending(&self, connection: &mut Connection) -> Result<bool, String> {
        let shared = self.answer.shared();
        match write(&connection.stream, &connection.pending, shared, connection.sent) {
            Ok(sent) => connection.sent += sent,
            Err(Errno::AGAIN) => return Ok(true),
            Err(_) => return Ok(false),
        }
        if connection.sent == connection.pending.len(shared.len()) {
            connection.pending.clear();
            self.poll.modify(&connection.stream, EventFlags::IN)?;
        }
        Ok(true)
    }
}

/// Writes what of some answers is not yet sent, as far as the socket takes it; gives how many bytes that were.
fn write(stream: &OwnedFd, answers: &Answers, shared: &[u8], sent: usize) -> io::Result<usize> {
    if !answers.has_shared() {
        return io::write(stream, &answers.bytes[sent..]);
    }
    let mut room = [IoSlice::new(&[]); PARTS_MAX];
    let count = answers.slices(shared, sent, &mut room);
    io::writev(stream, &room[..count])
}
