//! One connection and the batch of requests it is waiting for.

use std::os::fd::OwnedFd;

use rustix::io::{self, Errno};

use super::arguments::{Plan, Stop};
use super::keys::Keys;
use super::random::Random;
use super::report::Tally;
use super::wire::{Answer, Progress, Question, Wire};

/// Least room for answers, in bytes; a connection has as much more as its longest value needs.
const INPUT_BYTES: usize = 64 << 10;

/// Chooses requests and writes them.
pub(super) struct Composer {
    plan: Plan,
    keys: Keys,
    random: Random,
    /// Requests composed so far.
    composed: u64,
}

/// What was asked, without the keys.
#[derive(Clone, Copy)]
enum Kind {
    Get,
    Set,
    Echo,
}

/// How the bytes of a connection went.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Answers are still to come.
    Waiting,
    /// The whole batch is answered.
    Answered,
    /// The connection is over, and why.
    Over(String),
}

/// A connection to the server.
pub(super) struct Connection {
    /// The socket.
    pub(super) stream: OwnedFd,
    /// When the batch was sent, or was due, in nanoseconds since the start.
    pub(super) began_ns: u64,
    output: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    kinds: Vec<Kind>,
    ids: Vec<u64>,
    /// The first of `kinds` and of `ids` that is not answered.
    next_kind: usize,
    next_id: usize,
    progress: Progress,
}

impl Composer {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            keys: Keys::new(plan.keys, plan.zipf),
            random: Random::new(plan.seed),
            composed: 0,
        }
    }

    /// Starts to count anew, towards another end.
    pub(super) fn restart(&mut self, stop: Stop) {
        (self.plan.stop, self.composed) = (stop, 0);
    }

    /// Whether nothing more is to be sent after `elapsed_ns`.
    pub(super) fn is_done(&self, elapsed_ns: u64) -> bool {
        match self.plan.stop {
            Stop::Seconds(seconds) => elapsed_ns as f64 >= seconds * 1e9,
            Stop::Requests(requests) => self.composed >= requests,
            Stop::Filled => self.composed >= self.plan.keys,
        }
    }

    fn batch_length(&self) -> usize {
        let left = match self.plan.stop {
            Stop::Seconds(_) => u64::MAX,
            Stop::Requests(requests) => requests - self.composed,
            Stop::Filled => self.plan.keys - self.composed,
        };
        self.plan.depth.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn compose(&mut self, wire: &Wire, ids: &mut Vec<u64>, output: &mut Vec<u8>) -> Kind {
        let filling = matches!(self.plan.stop, Stop::Filled);
        let stores = filling
            || wire.is_echo()
            || (self.plan.set_ratio > 0.0 && self.random.unit() < self.plan.set_ratio);
        let first = ids.len();
        if stores {
            let id = if filling { self.composed } else { self.keys.next(&mut self.random) };
            let id = self.plan.first_key + id;
            ids.push(id);
            wire.write_set(id, output);
        } else {
            for _ in 0..self.plan.multiget {
                ids.push(self.plan.first_key + self.keys.next(&mut self.random));
            }
            wire.write_get(&ids[first..], output);
        }
        self.composed += 1;
        match (wire.is_echo(), stores) {
            (true, _) => Kind::Echo,
            (false, true) => Kind::Set,
            (false, false) => Kind::Get,
        }
    }

    fn keys_of(&self, kind: Kind) -> usize {
        if matches!(kind, Kind::Get) { self.plan.multiget } else { 1 }
    }
}

impl Connection {
    pub(super) fn new(stream: OwnedFd, wire: &Wire) -> Self {
        Self {
            stream,
            began_ns: 0,
            output: Vec::new(),
            sent: 0,
            input: vec![0; INPUT_BYTES + wire.longest_part()],
            filled: 0,
            kinds: Vec::new(),
            ids: Vec::new(),
            next_kind: 0,
            next_id: 0,
            progress: Progress::default(),
        }
    }

    /// Composes the next batch.
    pub(super) fn compose(&mut self, composer: &mut Composer, wire: &Wire) {
        self.output.clear();
        self.kinds.clear();
        self.ids.clear();
        (self.sent, self.next_kind, self.next_id) = (0, 0, 0);
        for _ in 0..composer.batch_length() {
            let kind = composer.compose(wire, &mut self.ids, &mut self.output);
            self.kinds.push(kind);
        }
    }

    /// Sends what the socket takes. True: all is sent.
    pub(super) fn flush(&mut self) -> Result<bool, String> {
        while self.sent < self.output.len() {
            match io::write(&self.stream, &self.output[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(format!("cannot send: {error}")),
            }
        }
        Ok(true)
    }

    /// Requests not yet answered.
    pub(super) fn unanswered(&self) -> usize {
        self.kinds.len() - self.next_kind
    }

    /// Whether some of the batch is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Reads once and checks what came.
    pub(super) fn receive(&mut self, composer: &Composer, wire: &Wire, tally: &mut Tally) -> Outcome {
        match io::read(&self.stream, &mut self.input[self.filled..]) {
            Ok(0) => {
                Outcome::Over(format!("the server closed with {} requests unanswered", self.unanswered()))
            }
            Ok(received) => {
                self.filled += received;
                tally.received_bytes += received as u64;
                self.check(composer, wire, tally)
            }
            Err(Errno::AGAIN | Errno::INTR) => Outcome::Waiting,
            Err(error) => Outcome::Over(format!("cannot receive: {error}")),
        }
    }

    fn check(&mut self, composer: &Composer, wire: &Wire, tally: &mut Tally) -> Outcome {
        let mut start = 0;
        while let Some(kind) = self.kinds.get(self.next_kind).copied() {
            let ids = &self.ids[self.next_id..self.next_id + composer.keys_of(kind)];
            let question = match kind {
                Kind::Get => Question::Get(ids),
                Kind::Set => Question::Set,
                Kind::Echo => Question::Echo(ids[0]),
            };
            match wire.read(question, &mut self.progress, &self.input[start..self.filled], tally) {
                Answer::Incomplete => break,
                Answer::Part(used) => start += used,
                Answer::Whole(used) => {
                    start += used;
                    self.next_id += ids.len();
                    self.next_kind += 1;
                    self.progress = Progress::default();
                    tally.requests += 1;
                }
                Answer::Broken(complaint) => return Outcome::Over(complaint),
            }
        }
        self.input.copy_within(start..self.filled, 0);
        self.filled -= start;
        match self.unanswered() {
            0 if self.filled > 0 => Outcome::Over("the server sent more than was asked for".to_owned()),
            0 => Outcome::Answered,
            _ if self.filled == self.input.len() => Outcome::Over("an answer has no end".to_owned()),
            _ => Outcome::Waiting,
        }
    }
}
