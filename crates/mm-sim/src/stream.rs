//! A connection as both of its ends see it.

use std::collections::VecDeque;

use crate::op::{Op, What, Wire};

/// Bytes of requests that the server is done with and that are kept before they are dropped together.
const DONE_BYTES_MAX: usize = 64 * 1024;

/// What a client has asked for on one connection, and what it is to get.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Requests that have not been executed.
    pub(crate) ops: VecDeque<Op>,
    /// Bytes of requests from `base` on.
    requests: Vec<u8>,
    base: u64,
    /// Bytes that the network has taken.
    written: u64,
    /// Bytes that the server is done with.
    pub(crate) consumed: u64,
    /// What the server has answered and the client has not received.
    answers: VecDeque<u8>,
    /// Bytes of answers ever given, and received.
    answered: u64,
    received: u64,
    /// Calls of the run's history whose answers are whole when so many bytes are received.
    receipts: VecDeque<(u64, usize)>,
    /// The moment of the run's history in which requests are being made.
    pub(crate) moment: u64,
    /// How far the server has got with it.
    pub(crate) phase: Phase,
    /// It speaks the binary protocol.
    pub(crate) is_binary: bool,
    /// A quit has been executed.
    pub(crate) quit: bool,
    /// The client has let go of it. The server may still execute what was sent.
    pub(crate) abandoned: bool,
}

/// How far a server has got with a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Waiting,
    Served,
    Ended,
}

impl Stream {
    /// Whether the server has ever served it.
    pub(crate) fn was_served(&self) -> bool {
        self.phase != Phase::Waiting
    }

    /// Adds bytes of requests. Returns where they end.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> u64 {
        self.requests.extend_from_slice(bytes);
        self.base + self.requests.len() as u64
    }

    /// Adds a request that is done with when all bytes so far are.
    pub(crate) fn push(&mut self, what: What, wire: Wire) {
        let end = self.base + self.requests.len() as u64;
        self.ops.push_back(Op { what, wire, begun: self.moment, end });
    }

    /// Bytes that the network has not taken.
    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.requests[self.place(self.written)..]
    }

    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Whether everything asked for has been executed and answered, and the answers received.
    pub(crate) fn is_settled(&self) -> bool {
        let is_done = self.ops.iter().all(|op| matches!(op.what, What::Watch));
        is_done && self.answers.is_empty() && self.unwritten().is_empty()
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    pub(crate) fn answers_len(&self) -> usize {
        self.answers.len()
    }

    /// The server is done with these bytes, which must be the next that were sent.
    pub(crate) fn consume(&mut self, bytes: &[u8]) -> Result<(), String> {
        let start = self.place(self.consumed);
        let sent = &self.requests[start..self.place(self.written)];
        if !sent.starts_with(bytes) {
            let at = bytes.iter().zip(sent).position(|(got, sent)| got != sent);
            return Err(format!(
                "the service was given {} bytes from {} on that were not sent so (first difference: {at:?}, sent: {})",
                bytes.len(),
                self.consumed,
                sent.len()
            ));
        }
        self.skip(bytes.len());
        Ok(())
    }

    /// The server is done with so many bytes that went where nobody saw them.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
        let done = self.place(self.consumed);
        if done > DONE_BYTES_MAX {
            self.requests.drain(..done);
            self.base = self.consumed;
        }
    }

    /// The server is done with this request, or with this one and more.
    pub(crate) fn next_executed(&self) -> bool {
        self.ops.front().is_some_and(|op| op.end <= self.consumed)
    }

    /// Whether the server has been given more than was sent.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.consumed > self.written
    }

    /// The server has answered this.
    pub(crate) fn answer(&mut self, bytes: &[u8]) {
        self.answers.extend(bytes);
        self.answered += bytes.len() as u64;
    }

    /// A call of the run's history is over when its answer, which ends so many bytes before the last that was given,
    /// is received. One without an answer is over when the next answer comes.
    pub(crate) fn expect_receipt(&mut self, call: usize, bytes_behind: usize, has_answer: bool) {
        let end = self.answered - bytes_behind as u64 + u64::from(!has_answer);
        self.receipts.push_back((end, call));
    }

    /// All calls whose answers have not been received.
    pub(crate) fn take_receipts(&mut self) -> impl Iterator<Item = usize> {
        self.receipts.drain(..).map(|(_, call)| call)
    }

    /// The next call whose answer has been received.
    pub(crate) fn next_received(&mut self) -> Option<usize> {
        self.receipts.pop_front_if(|(end, _)| *end <= self.received).map(|(_, call)| call)
    }

    /// The client has received this, which must be the next that was answered.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > self.answers.len() {
            return Err(format!("{} bytes were received, {} were answered", bytes.len(), self.answers.len()));
        }
        self.received += bytes.len() as u64;
        match self.answers.drain(..bytes.len()).zip(bytes).position(|(due, &got)| due != got) {
            None => Ok(()),
            Some(at) => {
                Err(format!("byte {at} of {} received is not the one that was answered", bytes.len()))
            }
        }
    }

    fn place(&self, at: u64) -> usize {
        usize::try_from(at - self.base).unwrap_or(usize::MAX)
    }
}
