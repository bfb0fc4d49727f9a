//! A line protocol that uses everything a service can do.
//!
//! `echo TEXT`; `repeat N TEXT` (stops at the output cap); `store N [PIECE]` and N bytes (streamed into place, 1000 or
//! PIECE bytes at a time); `load` (sent from where it lies); `wait` (parks) and `post TEXT` (wakes all who wait);
//! `tick MS` (answers by itself); `yield` (lets others have their turn); `where` (names the shard); `panic`; `quit`.

use std::cell::{Cell, OnceCell};
use std::fmt::Write;
use std::rc::Rc;

use mm_base::Now;
use mm_base::buffer::{Output, Pinned};
use mm_server::{Background, Peer, Ready, Service, Start, Step, Token};

/// A line longer than this is answered with an error and ends the connection.
const LINE_BYTES_MAX: usize = 4000;

pub(crate) struct Toy {
    shard: usize,
    ready: Ready,
    posted: String,
    waiting: Vec<Token>,
    ticking: Vec<(u64, Token)>,
    now_ms: u64,
    pub(crate) values: Rc<Values>,
    pub(crate) prepared: [u64; 2],
    pub(crate) disconnected: usize,
}

/// What has been stored so far, and how many ranges of it are pinned.
pub(crate) struct Values {
    stored: Vec<OnceCell<Vec<u8>>>,
    count: Cell<usize>,
    pub(crate) pins: Cell<usize>,
}

pub(crate) struct Connection {
    token: Token,
    state: State,
}

enum State {
    Idle,
    Repeat { left: usize, text: String },
    Store { value: Vec<u8>, filled: usize, piece: usize },
    Wait,
    Yield,
    Tick,
}

/// One stored value, pinned as long as this lives.
struct Value {
    values: Rc<Values>,
    number: usize,
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.values.stored[self.number].get().unwrap()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.values.pins.set(self.values.pins.get() - 1);
    }
}

impl Toy {
    pub(crate) fn new(start: &Start) -> Self {
        let stored = (0..1000).map(|_| OnceCell::new()).collect();
        Self {
            shard: start.shard,
            ready: start.ready.clone(),
            posted: String::new(),
            waiting: Vec::new(),
            ticking: Vec::new(),
            now_ms: 0,
            values: Rc::new(Values { stored, count: Cell::new(0), pins: Cell::new(0) }),
            prepared: [0; 2],
            disconnected: 0,
        }
    }

    /// Goes on with what the last run left unfinished. `None` when there is nothing more of it.
    fn resume(&mut self, connection: &mut Connection, output: &mut Output) -> Option<Step> {
        match &mut connection.state {
            State::Idle => {}
            State::Repeat { left, text } => {
                while *left > 0 {
                    if output.is_full() {
                        return Some(Step::Read { consumed: 0 });
                    }
                    writeln!(output, "{text}").unwrap();
                    *left -= 1;
                }
            }
            State::Store { value, filled, .. } if *filled == value.len() => {
                let sum: u64 = value.iter().map(|byte| u64::from(*byte)).sum();
                writeln!(output, "stored {} sum {sum}", value.len()).unwrap();
                let place = self.values.count.get();
                self.values.stored[place].set(std::mem::take(value)).unwrap();
                self.values.count.set(place + 1);
            }
            State::Store { .. } => return Some(Step::ReadInto { consumed: 0 }),
            State::Wait if self.posted.is_empty() => return Some(Step::Park { consumed: 0 }),
            State::Wait => writeln!(output, "posted {}", self.posted).unwrap(),
            State::Yield => {
                connection.state = State::Idle;
                return Some(Step::Yield { consumed: 0 });
            }
            State::Tick if self.ticking.iter().any(|(_, token)| *token == connection.token) => {
                return Some(Step::Park { consumed: 0 });
            }
            State::Tick => output.write(b"tock\n"),
        }
        connection.state = State::Idle;
        None
    }

    /// Starts what a line asks for. `true` means that the connection is to be closed.
    fn start(&mut self, connection: &mut Connection, line: &str, output: &mut Output) -> bool {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "echo" => writeln!(output, "{rest}").unwrap(),
            "repeat" => {
                let (left, text) = rest.split_once(' ').unwrap_or((rest, ""));
                connection.state = State::Repeat { left: left.parse().unwrap_or(0), text: text.into() };
            }
            "store" => {
                let (len, piece) = rest.split_once(' ').unwrap_or((rest, "1000"));
                let (value, piece) = (vec![0; len.parse().unwrap_or(0)], piece.parse().unwrap_or(1));
                connection.state = State::Store { value, filled: 0, piece };
            }
            "load" => {
                let number = self.values.count.get() - 1;
                let len = self.values.stored[number].get().unwrap().len();
                writeln!(output, "value {len}").unwrap();
                self.values.pins.set(self.values.pins.get() + 1);
                output.pin(Pinned::shared(Rc::new(Value { values: Rc::clone(&self.values), number })));
                output.write(b"\n");
            }
            "wait" => {
                self.waiting.push(connection.token);
                connection.state = State::Wait;
                self.posted.clear();
            }
            "post" => {
                rest.clone_into(&mut self.posted);
                self.waiting.drain(..).for_each(|token| self.ready.wake(token));
                output.write(b"ok\n");
            }
            "tick" => {
                self.ticking.push((self.now_ms + rest.parse().unwrap_or(0), connection.token));
                connection.state = State::Tick;
            }
            "yield" => connection.state = State::Yield,
            "where" => writeln!(output, "{}", self.shard).unwrap(),
            "panic" => panic!("asked for"),
            "quit" => return true,
            _ => output.write(b"what?\n"),
        }
        false
    }
}

impl Service for Toy {
    type Connection = Connection;

    fn connect(&mut self, peer: &Peer) -> Connection {
        Connection { token: peer.token, state: State::Idle }
    }

    fn pack(&self, connection: &Connection) -> Option<Vec<u8>> {
        matches!(connection.state, State::Idle).then(|| b"idle".to_vec())
    }

    fn unpack(&mut self, peer: &Peer, packed: &[u8]) -> Option<Connection> {
        (packed == b"idle").then(|| self.connect(peer))
    }

    fn prepare(&mut self, _connection: &mut Connection, input: &[u8], pass: u8) -> bool {
        assert!(!input.is_empty());
        self.prepared[usize::from(pass)] += 1;
        true
    }

    fn run(&mut self, connection: &mut Connection, input: &[u8], output: &mut Output, now: Now) -> Step {
        self.now_ms = now.monotonic_ms;
        let mut consumed = 0;
        loop {
            match self.resume(connection, output) {
                None => {}
                Some(Step::Read { .. }) => return Step::Read { consumed },
                Some(Step::Yield { .. }) => return Step::Yield { consumed },
                Some(Step::ReadInto { .. }) => return Step::ReadInto { consumed },
                Some(Step::Park { .. }) => return Step::Park { consumed },
                Some(Step::Close { .. }) => return Step::Close { consumed },
            }
            if output.is_full() {
                return Step::Read { consumed };
            }
            let rest = &input[consumed..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > LINE_BYTES_MAX {
                    output.write(b"too long\n");
                    return Step::Close { consumed };
                }
                return Step::Read { consumed };
            };
            consumed += end + 1;
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            if self.start(connection, &line, output) {
                return Step::Close { consumed };
            }
        }
    }

    fn space<'a>(&'a mut self, connection: &'a mut Connection) -> &'a mut [u8] {
        let State::Store { value, filled, piece } = &mut connection.state else { return &mut [] };
        // In pieces, as a store with extents would.
        let end = value.len().min(*filled + *piece);
        &mut value[*filled..end]
    }

    fn filled(&mut self, connection: &mut Connection, bytes: usize) {
        let State::Store { filled, .. } = &mut connection.state else { panic!("nothing to fill") };
        *filled += bytes;
    }

    fn may_move(&self, connection: &Connection) -> bool {
        matches!(connection.state, State::Idle)
    }

    fn disconnect(&mut self, connection: Connection) {
        self.disconnected += 1;
        self.waiting.retain(|token| *token != connection.token);
        self.ticking.retain(|(_, token)| *token != connection.token);
    }

    fn background(&mut self, now: Now) -> Background {
        self.ticking.retain(|(time, token)| {
            let later = *time > now.monotonic_ms;
            if !later {
                self.ready.wake(*token);
            }
            later
        });
        self.ticking.iter().map(|(time, _)| *time).min().map_or(Background::Idle, Background::At)
    }
}
