//! The floor of a completion server: multishot accept and receive, one send per batch of requests, one kernel
//! entry per turn.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use super::answer::{Answer, Carry};
use super::listener;
use super::ring::{Completion, Output, Received, Ring, RingOptions};

/// A connection and its sends: one is under way at most, what comes meanwhile is gathered.
struct Connection {
    stream: OwnedFd,
    carry: Carry,
    sending: bool,
    gathered: Option<Output>,
}

/// Serves until the process is killed.
///
/// # Errors
/// The kernel refuses io_uring, the port cannot be used, or the ring itself failed.
pub(super) fn serve(port: u16, answer: &impl Answer) -> Result<Infallible, String> {
    let mut ring = Ring::new(RingOptions::default(), answer.shared())?;
    let listener = listener::listen(port)?;
    ring.accept(&listener)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut completions = Vec::new();
    loop {
        ring.wait(&mut completions)?;
        for completion in completions.drain(..) {
            match completion {
                Completion::Accepted(stream) => {
                    listener::no_delay(&stream);
                    ring.receive(&stream, true)?;
                    let connection =
                        Connection { stream, carry: Carry::default(), sending: false, gathered: None };
                    listener::insert(&mut connections, listener::index(&connection.stream), connection);
                }
                Completion::AcceptEnded => ring.accept(&listener)?,
                Completion::Received { index, bytes, more } => match connections.get_mut(index) {
                    Some(Some(connection)) => {
                        if !connection.received(&mut ring, answer, bytes)? {
                            close(&mut ring, &mut connections, index);
                        } else if !more {
                            ring.receive(&connection.stream, false)?;
                        }
                    }
                    _ => ring.recycle(bytes),
                },
                Completion::NoBuffer(index) => {
                    if let Some(Some(connection)) = connections.get(index) {
                        ring.receive(&connection.stream, false)?;
                    }
                }
                Completion::Sent { index, whole: true } => {
                    if let Some(Some(connection)) = connections.get_mut(index) {
                        connection.sending = false;
                        connection.send_gathered(&mut ring)?;
                    }
                }
                Completion::Ended(index) | Completion::Sent { index, whole: false } => {
                    close(&mut ring, &mut connections, index);
                }
            }
        }
    }
}

/// Closes a connection; a send still under way keeps the kernel's own reference.
fn close(ring: &mut Ring, connections: &mut [Option<Connection>], index: usize) {
    if let Some(Connection { gathered: Some(output), .. }) = connections.get_mut(index).and_then(Option::take)
    {
        ring.discard(output);
    }
}

impl Connection {
    /// Answers what came in. False: the connection is over.
    fn received(&mut self, ring: &mut Ring, answer: &impl Answer, bytes: Received) -> Result<bool, String> {
        let output = self.gathered.take().unwrap_or_else(|| ring.output());
        let (input, answers) = ring.input_and_output(&bytes, &output);
        let in_step = self.carry.answer(answer, input, answers);
        self.gathered = Some(output);
        ring.recycle(bytes);
        self.send_gathered(ring)?;
        Ok(in_step)
    }

    /// Sends what is gathered unless a send is still under way.
    fn send_gathered(&mut self, ring: &mut Ring) -> Result<(), String> {
        if self.sending {
            return Ok(());
        }
        match self.gathered.take() {
            Some(output) if !ring.is_empty(&output) => {
                self.sending = true;
                ring.send(&self.stream, output)
            }
            kept => {
                self.gathered = kept;
                Ok(())
            }
        }
    }
}
