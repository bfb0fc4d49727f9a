//! What clients, service and network of a run have in common: who has asked for what, and what must hold.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;

use mm_base::Now;
use mm_server::Address;

use crate::answer::Answers;
use crate::history::History;
use crate::letters::{Letter, Reply};
use crate::limits::CONNECTIONS_BESIDE_MAX;
use crate::model::{Answered, Context, Counted, Model};
use crate::op::{Begun, What};
use crate::stream::{Phase, Stream};
use crate::time::Moment;

/// The world of a run. One thread has all of it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// See the module.
pub(crate) struct World {
    pub(crate) fixed: Fixed,
    /// What the store must hold, which the shards have in common.
    pub(crate) model: Model,
    /// The open connections, by the port of the client's address.
    streams: Vec<Option<Stream>>,
    /// Requests in datagrams, by the address of the sender.
    pub(crate) letters: HashMap<SocketAddr, Letter>,
    /// When the service was first asked for something, or would have been if it had served all the time that its
    /// store's clock shows: that may be before all time.
    start_ms: Option<i64>,
    /// Since when the service counts its seconds, as a date.
    began_unix_s: Option<u64>,
    /// When the store was left by the server before, and what it knew the time to be.
    left: Option<(Now, Moment)>,
    /// What the store has counted.
    pub(crate) counted: Counts,
    /// What clients have seen, where it is written down.
    pub(crate) history: Option<History>,
    trace: DefaultHasher,
    pub(crate) executed: u64,
    /// Bytes that servers were done with or clients have received.
    pub(crate) passed: u64,
    failure: Option<String>,
    /// Is told each request that is executed.
    pub(crate) show: Option<fn(&str)>,
}

/// What does not change in a run.
pub(crate) struct Fixed {
    pub(crate) keys: Vec<Vec<u8>>,
    /// Bytes of an item at most, by memcached's measure.
    item_size_max: usize,
    /// Connections that a server may count at most.
    connections_max: u64,
}

impl Fixed {
    /// What a run of the service is held against, which the store had counted so before it and after it.
    fn context(&self, moment: Moment, counted: (Counted, Counted)) -> Context<'_> {
        let Self { keys, item_size_max, connections_max } = self;
        Context { moment, keys, item_size_max: *item_size_max, connections_max: *connections_max, counted }
    }
}

/// What a store has counted, over all servers that had it one after another. Each handle tells what all have counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    total: Counted,
    /// As the present server counts it.
    last: Counted,
}

impl Counts {
    /// The present server has counted so much. Returns how much all have.
    pub(crate) fn see(&mut self, counted: Counted) -> Counted {
        self.total.evicted += counted.evicted - self.last.evicted;
        self.total.refused += counted.refused - self.last.refused;
        self.total.moved += counted.moved - self.last.moved;
        self.last = counted;
        self.total
    }

    /// What all servers have counted.
    pub(crate) fn total(&self) -> Counted {
        self.total
    }
}

/// What a run of the service has done.
pub(crate) struct Ran<'a> {
    pub(crate) shard: usize,
    pub(crate) now: Now,
    /// The bytes of input that are done with.
    pub(crate) input: &'a [u8],
    /// Bytes that went into the service's space before or in this run are counted by then.
    pub(crate) output: &'a [u8],
    /// What the store had counted before it.
    pub(crate) counted: Counted,
}

/// How far a service has got with a datagram.
#[derive(Debug, Default)]
pub(crate) struct Done {
    consumed: usize,
    executed: usize,
    reply: Reply,
}

impl World {
    pub(crate) fn new(keys: Vec<Vec<u8>>, item_size_max: usize, clients: usize) -> Self {
        Self {
            model: Model::new(keys.len()),
            fixed: Fixed { keys, item_size_max, connections_max: clients as u64 + CONNECTIONS_BESIDE_MAX },
            streams: Vec::new(),
            letters: HashMap::new(),
            start_ms: None,
            began_unix_s: None,
            left: None,
            counted: Counts::default(),
            history: None,
            trace: DefaultHasher::new(),
            executed: 0,
            passed: 0,
            failure: None,
            show: None,
        }
    }

    /// Begins anew with an empty store.
    pub(crate) fn restart(&mut self) {
        self.model = Model::new(self.fixed.keys.len());
        self.counted = Counts::default();
        self.letters.clear();
        self.start_ms = None;
        self.began_unix_s = None;
    }

    /// Goes on with another server on the same store, which has been left at this time.
    pub(crate) fn go_on(&mut self, left: Now) {
        self.counted.last = Counted::default();
        self.model.begin_server();
        self.began_unix_s = None;
        self.left = self.start_ms.take().map(|start_ms| (left, Moment::new(left, start_ms)));
    }

    /// The first thing that was wrong.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// A number that is another one as soon as one byte went another way.
    pub(crate) fn digest(&self) -> u64 {
        self.trace.finish()
    }

    pub(crate) fn note(&mut self, numbers: [u64; 2], bytes: &[u8]) {
        numbers.iter().for_each(|&number| self.trace.write_u64(number));
        self.trace.write(bytes);
    }

    /// Opens a connection. Returns what names it.
    pub(crate) fn open(&mut self, address: Address) -> usize {
        let port = port_of(address);
        if self.streams.len() <= port {
            self.streams.resize_with(port + 1, || None);
        }
        self.streams[port] = Some(Stream::default());
        port
    }

    /// The client lets go of a connection.
    pub(crate) fn abandon(&mut self, port: usize) {
        let Some(stream) = self.stream(port) else { return };
        stream.abandoned = true;
        if stream.phase == Phase::Ended {
            self.streams[port] = None;
        }
    }

    /// The server has ended a connection.
    pub(crate) fn ended(&mut self, port: usize) {
        let Some(stream) = self.streams.get_mut(port).and_then(Option::as_mut) else { return };
        stream.phase = Phase::Ended;
        // What was asked for on it has been executed by now, though the answer may be lost.
        if let Some(history) = &mut self.history {
            stream.take_receipts().for_each(|call| history.received(call));
        }
        if stream.abandoned {
            self.streams[port] = None;
        }
    }

    pub(crate) fn stream(&mut self, port: usize) -> Option<&mut Stream> {
        self.streams.get_mut(port)?.as_mut()
    }

    /// The time of a call of the service.
    pub(crate) fn moment(&mut self, now: Now) -> Moment {
        let left = &mut self.left;
        let start_ms = self.start_ms.get_or_insert_with(|| match left.take() {
            None => now.monotonic_ms.cast_signed(),
            Some((then, moment)) => moment.start_ms_after(now.unix_s.saturating_sub(then.unix_s), now),
        });
        Moment::new(now, *start_ms).keep_calendar(&mut self.began_unix_s)
    }

    /// The time for a client, of which the service learns nothing.
    pub(crate) fn client_moment(&mut self, now: Now) -> Moment {
        let began_unix_s = self.began_unix_s;
        let moment = self.moment(now);
        self.began_unix_s = began_unix_s;
        moment
    }

    /// The service has run: holds what it consumed and answered against what was asked for and what is known.
    pub(crate) fn ran(&mut self, port: usize, ran: &Ran<'_>) {
        self.note([port as u64, ran.shard as u64], ran.output);
        self.passed += ran.input.len() as u64;
        if self.failure.is_some() {
            return;
        }
        if let Err(wrong) = self.check(port, ran) {
            let (shard, ms) = (ran.shard, ran.now.monotonic_ms);
            self.fail(format!("connection {port}, shard {shard}, at {ms} ms: {wrong}"));
        }
    }

    /// The service has run on the request of a datagram, of which `done` says how far it has got.
    pub(crate) fn ran_letter(&mut self, (from, done): (SocketAddr, &mut Done), ran: &Ran<'_>) {
        self.note([u64::from(from.port()), ran.shard as u64], ran.output);
        self.passed += ran.input.len() as u64;
        if self.failure.is_some() {
            return;
        }
        if let Err(wrong) = self.check_letter((from, done), ran) {
            self.fail(format!(
                "datagram of {from}, shard {}, at {} ms: {wrong}",
                ran.shard, ran.now.monotonic_ms
            ));
        }
    }

    fn check_letter(&mut self, (from, done): (SocketAddr, &mut Done), ran: &Ran<'_>) -> Result<(), String> {
        let moment = self.moment(ran.now);
        let counted = (ran.counted, self.counted.total);
        let context = self.fixed.context(moment, counted);
        let model = &mut self.model;
        let letter = self.letters.get_mut(&from).ok_or("a datagram was served that nobody sent")?;
        let sent = letter.stream.unwritten();
        if sent.get(done.consumed..).is_none_or(|rest| !rest.starts_with(ran.input)) {
            return Err("the service was given something that was not sent".to_owned());
        }
        done.consumed += ran.input.len();
        done.reply.bytes.extend_from_slice(ran.output);
        done.reply.is_whole = done.consumed == sent.len();
        model.begin(&context);
        let mut answers = Answers::new(ran.output);
        for op in letter.stream.ops.iter_mut().skip(done.executed) {
            if op.end > done.consumed as u64 {
                break;
            }
            model.execute(op, &mut answers, &context).map_err(|wrong| format!("{op}: {wrong}"))?;
            done.executed += 1;
            self.executed += 1;
        }
        if answers.is_empty() { Ok(()) } else { Err(format!("nobody asked for {}", answers.shown())) }
    }

    /// The service is done with a datagram.
    pub(crate) fn answered(&mut self, from: SocketAddr, done: Done) {
        if let Some(letter) = self.letters.get_mut(&from) {
            letter.replies.push(done.reply);
        }
    }

    fn check(&mut self, port: usize, ran: &Ran<'_>) -> Result<(), String> {
        let (moment, ms) = (self.moment(ran.now), ran.now.monotonic_ms);
        let counted = (ran.counted, self.counted.total);
        let context = self.fixed.context(moment, counted);
        let model = &mut self.model;
        let stream = self.streams[port].as_mut().ok_or("a connection was served that is not there")?;
        stream.consume(ran.input)?;
        if stream.is_overdrawn() {
            return Err("the service was given more than was sent".to_owned());
        }
        stream.answer(ran.output);
        model.begin(&context);
        let mut answers = Answers::new(ran.output);
        while stream.next_executed() {
            let Some(op) = stream.ops.front_mut() else { break };
            if let Some(show) = self.show {
                let answers = answers.shown();
                show(&format!("{ms} ms, connection {port}, shard {}: {op} <- {answers}", ran.shard));
            }
            let before = answers;
            match model.execute(op, &mut answers, &context).map_err(|wrong| format!("{op}: {wrong}"))? {
                Answered::InPart => break,
                Answered::Whole => {
                    let Some(op) = stream.ops.pop_front() else { break };
                    stream.quit |= matches!(op.what, What::Quit);
                    self.executed += 1;
                    if let Some(history) = &mut self.history {
                        history.executed((port, stream), &op, (before, &answers), &self.fixed.keys);
                    }
                }
            }
        }
        let consumed = stream.consumed;
        if let Some(What::Store(store)) = stream.ops.front_mut().map(|op| &mut op.what)
            && store.line_end <= consumed
        {
            let refused = counted.0.refused;
            store.begun.get_or_insert_with(|| Begun { moment, refused, server: model.begin_store() });
        }
        if answers.is_empty() {
            return Ok(());
        }
        // A refusal may come while the data of its request are still on their way.
        if let Some(op) = stream.ops.front_mut() {
            model.refuse_early(op, &mut answers, &context)?;
        }
        if answers.is_empty() { Ok(()) } else { Err(format!("nobody asked for {}", answers.shown())) }
    }
}

/// The port of a client's address.
pub(crate) fn port_of(address: Address) -> usize {
    match address {
        Address::Ip(address) => usize::from(address.port()),
        Address::Unix => 0,
    }
}
