//! The service: codec and store put together.

mod moving;
mod steps;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_proto::memcached::{Fetch, Parser, Request, lines};
use mm_server::{Background, Luggage, Peer, Ready, Service, Start, Step, Token};
use mm_store::{KeyHash, Local, Sharing, Store};

use self::moving::Departed;
pub(crate) use self::steps::after;
use crate::batch::{self, Ahead, Batch, Work};
use crate::binary::Wire;
use crate::clock::Time;
use crate::counters::Counters;
use crate::limits::{BACKGROUND_RECORDS, PARK_INTERVAL_MS, WATCH_INTERVAL_MS};
use crate::long::Long;
use crate::observe::Watching;
use crate::parking::Waiting;
use crate::registry::{Newcomers, Registered};
use crate::settings::Shared;
use crate::upload::Incoming;

/// memcached's text protocols over one shard's store.
pub struct Memcached<S: Sharing = Local> {
    pub(crate) store: Store<S>,
    pub(crate) shared: Arc<Shared>,
    /// This shard's counters.
    pub(crate) counters: Arc<Counters>,
    pub(crate) shard: usize,
    pub(crate) server: Arc<[mm_server::Stats]>,
    /// Uploads that have ended, kept so that the next need no memory of their own.
    #[expect(clippy::vec_box, reason = "they go back and forth between here and their connections")]
    pub(crate) idle_uploads: Vec<Box<Incoming>>,
    pub(crate) ready: Ready,
    /// Connections whose requests need memory that other shards may be reading.
    pub(crate) parked: Vec<Token>,
    pub(crate) waiting: Waiting,
    pub(crate) watching: Watching,
    newcomers: Newcomers,
    /// The store has just been flushed, and is not looked after until the next interval: whoever asks for an item in
    /// the meantime is told, and counted, that it was flushed.
    rests: bool,
    rests_until_ms: u64,
    /// When there was nothing to do for the store.
    looked_ms: Option<u64>,
    /// [`Shared::refusals`] as last seen.
    refusals_seen: u64,
}

/// What a call of the service works with.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Where responses go.
    pub(crate) output: &'a mut Output,
    pub(crate) time: Time,
    /// The number of the connection that asks.
    pub(crate) asking: usize,
    pub(crate) token: Token,
    /// An answer in steps that the request has begun.
    pub(crate) long: Option<Box<Long>>,
    /// The value of a command has not arrived whole.
    pub(crate) waits_for_value: bool,
}

impl Call<'_> {
    /// The same call with its responses elsewhere.
    pub(crate) fn with_output<'b>(&self, output: &'b mut Output) -> Call<'b> {
        Call {
            output,
            time: self.time,
            asking: self.asking,
            token: self.token,
            long: None,
            waits_for_value: false,
        }
    }
}

/// What the service knows of a connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) parser: Parser,
    pub(crate) wire: Wire,
    /// The hash of the first key of the input that was prepared.
    prepared: Option<KeyHash>,
    /// A value on its way into the store.
    pub(crate) incoming: Option<Box<Incoming>>,
    /// An answer that is given in steps.
    pub(crate) long: Option<Box<Long>>,
    pub(crate) token: Token,
    pub(crate) registered: Registered,
}

impl<S: Sharing> Memcached<S> {
    /// The service of one shard. `shared` must have been made for at least as many shards as `start` says.
    #[must_use]
    pub fn new(start: &Start, shared: &Arc<Shared>, mut store: Store<S>) -> Self {
        shared.resume_limit(&mut store);
        Self {
            store,
            shared: Arc::clone(shared),
            counters: Arc::clone(&shared.counters[start.shard]),
            shard: start.shard,
            server: Arc::clone(&start.stats),
            idle_uploads: Vec::new(),
            ready: start.ready.clone(),
            parked: Vec::new(),
            waiting: Waiting::default(),
            watching: Watching::new(start.stats.get(start.shard)),
            newcomers: Newcomers::default(),
            rests: false,
            rests_until_ms: 0,
            looked_ms: None,
            refusals_seen: 0,
        }
    }

    /// The store, to be looked at.
    #[must_use]
    pub fn store(&self) -> &Store<S> {
        &self.store
    }

    /// The time of a call. Flushes the store first where that is due.
    #[inline]
    fn time(&mut self, now: Now) -> Time {
        let time = self.shared.time(now);
        self.flush_if_due(&time);
        time
    }

    /// Flushes the store where that was asked for and its time has come.
    #[inline]
    pub(crate) fn flush_if_due(&mut self, time: &Time) {
        if self.shared.is_flush_due(time) && self.shared.take_flush(time) {
            mm_base::mark!("delayed flush carried out");
            self.flush();
        }
    }

    /// Has the store flushed at `flush_s` (0 for never), or at once if that is over, so that what is stored next stays.
    pub(crate) fn flush_at(&mut self, flush_s: u32, time: &Time) {
        self.shared.set_flush(flush_s);
        self.flush_if_due(time);
    }

    /// Forgets all items.
    pub(crate) fn flush(&mut self) {
        self.store.flush_all();
        self.rests = true;
    }

    /// Serves requests until the input ends, the output is full, or the connection has to wait for something else.
    #[inline]
    pub(crate) fn serve(&mut self, connection: &mut Connection, input: &[u8], call: &mut Call<'_>) -> Step {
        match self.shared.settings.requests_per_turn {
            None => self.serve_share::<false>(connection, input, call),
            Some(_) => self.serve_share::<true>(connection, input, call),
        }
    }

    /// The same, to the end of the connection's share of the turn where it is `LIMITED`.
    fn serve_share<const LIMITED: bool>(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Step {
        let mut at = 0;
        let mut left = if LIMITED { self.share() } else { 0 };
        loop {
            let mut batch = Batch::new();
            let start = at;
            let parser = connection.parser;
            let ahead = batch::fill(&mut batch, &self.store, &mut connection.parser, input, &mut at);
            batch::look_ahead(&mut batch, &self.store);
            let line_start = batch.last().map_or(start, |slot| slot.end);
            for (number, slot) in batch.iter().enumerate() {
                if S::IS_SHARED && slot.work.may_store() && self.store.must_wait() {
                    connection.long = call.long.take();
                    let before = number.checked_sub(1).and_then(|before| batch.get(before));
                    let after = before.map(|slot| (slot.end, slot.parser_after(connection.parser, at)));
                    return self.park_after(connection, after.unwrap_or((start, parser)));
                }
                match &slot.work {
                    Work::Get { key, get } if get.fetch == Fetch::Get => self.fetch_plainly(key, get, call),
                    work => self.execute_plainly(work, call),
                }
                if call.output.is_full() {
                    mm_base::mark!("batch stopped at the output's cap");
                    connection.parser = slot.parser_after(connection.parser, at);
                    connection.long = call.long.take();
                    return Step::Read { consumed: slot.end };
                }
                if LIMITED {
                    left -= u32::from(slot.work.ends_request());
                    if left == 0 && slot.end < input.len() {
                        connection.parser = slot.parser_after(connection.parser, at);
                        connection.long = call.long.take();
                        return Step::Yield { consumed: slot.end };
                    }
                    left = left.max(1);
                }
            }
            if call.long.is_some() {
                connection.long = call.long.take();
                if let Some(step) = self.resume_long(connection, &input[at..], call) {
                    return after(at, step);
                }
            }
            if let Some(bytes) = ahead.value_len()
                && let Some(step) = self.put_off(connection.token, (line_start, bytes), call)
            {
                return step;
            }
            match ahead {
                Ahead::More => {}
                Ahead::Input => return Step::Read { consumed: at },
                Ahead::Close => return Step::Close { consumed: at },
                Ahead::Store(line) => self.begin_store(connection, &line, call),
                Ahead::MetaSet(meta) => self.begin_meta_set(connection, &meta, call),
            }
            if connection.incoming.is_some() {
                return Step::ReadInto { consumed: at };
            }
        }
    }

    /// How many requests of one connection are served in a turn.
    pub(crate) fn share(&self) -> u32 {
        self.shared.settings.requests_per_turn.map_or(u32::MAX, NonZeroU32::get)
    }

    /// Everything but get: the common forms of it, or else the others.
    #[inline(always)]
    fn execute_plainly(&mut self, work: &Work<'_>, call: &mut Call<'_>) {
        let is_done = match work {
            Work::Store { key, line, data } if line.is_plain_set() => {
                self.store_plain(key, data, lines::STORED, call)
            }
            Work::Meta { key, meta, data } if meta.is_plain_set() => {
                self.store_plain(key, data, b"HD\r\n", call)
            }
            Work::Meta { key, meta, .. } if meta.is_get_of_value() => {
                self.get_plain(key, meta, call);
                true
            }
            _ => false,
        };
        if !is_done {
            self.execute(work, call);
        }
    }

    #[inline(never)]
    fn execute(&mut self, work: &Work<'_>, call: &mut Call<'_>) {
        match work {
            Work::Get { key, get } if !get.fetch.touches() => self.fetch(*key, get, call),
            Work::Get { key, get } => {
                self.fetch_touching(*key, get.fetch, get.exptime, call);
                if get.last {
                    call.output.write(lines::END);
                }
            }
            Work::Store { key, line, data } => self.store_line(*key, line, data, call),
            Work::Meta { key, meta, data } => self.meta(*key, meta, data, call),
            _ => self.execute_other(work, call),
        }
    }

    #[inline(never)]
    fn execute_other(&mut self, work: &Work<'_>, call: &mut Call<'_>) {
        match work {
            Work::Keyed { key, request } => match request {
                Request::Delete(delete) => self.delete(*key, delete.noreply, call),
                Request::Arithmetic(arithmetic) => self.arithmetic(*key, arithmetic, call),
                Request::Touch(touch) => self.touch(*key, touch, call),
                _ => {}
            },
            Work::Answer { line } => call.output.write(line),
            Work::Version => {
                call.output.write(b"VERSION ");
                call.output.write(self.shared.settings.version.as_bytes());
                call.output.write(b"\r\n");
            }
            Work::Admin(admin) => self.admin(admin, call),
            _ => {}
        }
    }
}

impl<S: Sharing> Service for Memcached<S> {
    type Connection = Connection;

    fn connect(&mut self, peer: &Peer) -> Connection {
        let registered = self.shared.registry.insert(self.shard, peer);
        self.newcomers.add(&registered);
        if !peer.is_datagram {
            self.observe_connection(peer.address, &registered, None);
        }
        let protocol = self.shared.settings.protocol_of(peer.listener);
        let connection = Connection {
            parser: Parser::new(),
            wire: Wire::new(protocol),
            prepared: None,
            incoming: None,
            long: None,
            token: peer.token,
            registered,
        };
        self.announce(&connection, protocol);
        connection
    }

    #[inline]
    fn prepare(&mut self, connection: &mut Connection, input: &[u8], pass: u8) -> bool {
        if pass == 0 {
            connection.prepared = if connection.wire == Wire::Text {
                batch::first_key(&self.store, connection.parser, input).map(|key| key.hash())
            } else {
                self.first_hash(connection, input)
            };
            if let Some(hash) = connection.prepared {
                self.store.prefetch_index(hash);
            }
        } else if let Some(hash) = connection.prepared.take() {
            self.store.prefetch_item(hash);
        }
        true
    }

    fn run(&mut self, connection: &mut Connection, input: &[u8], output: &mut Output, now: Now) -> Step {
        let time = self.time(now);
        let asking = connection.registered.number;
        if self.is_observed() {
            self.observe_run(now, asking, &time);
            if self.is_aloud() {
                return self.run_aloud(connection, input, output, time);
            }
        }
        self.run_at(connection, input, output, time)
    }

    fn space<'a>(&'a mut self, connection: &'a mut Connection) -> &'a mut [u8] {
        match &mut connection.incoming {
            Some(incoming) => incoming.space(&mut self.store, &self.waiting),
            None => &mut [],
        }
    }

    fn filled(&mut self, connection: &mut Connection, bytes: usize) {
        if let Some(incoming) = &mut connection.incoming {
            incoming.filled(&mut self.store, bytes);
        }
    }

    fn may_move(&self, connection: &Connection) -> bool {
        connection.may_move()
    }

    fn depart(&mut self, connection: Connection) -> Luggage {
        Box::new(Departed::from(connection))
    }

    fn arrive(&mut self, peer: &Peer, luggage: Luggage) -> Connection {
        let Ok(departed) = luggage.downcast::<Departed>() else { return self.connect(peer) };
        departed.arrive(peer, &self.shared.registry)
    }

    fn pack(&self, connection: &Connection) -> Option<Vec<u8>> {
        connection.pack()
    }

    fn unpack(&mut self, peer: &Peer, packed: &[u8]) -> Option<Connection> {
        let &[byte] = packed else { return None };
        let wire = Wire::unpack(byte)?;
        Some(Connection { wire, ..self.connect(peer) })
    }

    fn disconnect(&mut self, connection: Connection) {
        self.announce_end(&connection);
        let reason = self.end_reason();
        if let Some(address) = self.shared.registry.remove(&connection.registered) {
            self.observe_connection(address, &connection.registered, Some(reason));
        }
        if let Some(Long::Watch(watcher)) = connection.long.as_deref() {
            self.end_watch(watcher);
        }
        if let Some(incoming) = connection.incoming {
            self.give_up(incoming);
        }
        // It may be the last thing that the shard does before it sleeps.
        self.store.rest();
    }

    fn lacks_memory(&mut self) -> bool {
        // Of all shards: who holds the memory may be on another one than who needs it.
        let refusals = self.shared.refusals.load(Ordering::Relaxed);
        std::mem::replace(&mut self.refusals_seen, refusals) != refusals
    }

    fn background(&mut self, now: Now) -> Background {
        let time = self.time(now);
        self.newcomers.note(time.now_s);
        let next = self.look_after_store(now, &time);
        let is_watched = self.observe_turn(now, time.now_s);
        let is_parked = !self.wake_parked() | !self.wake_waiting(now.monotonic_ms);
        // The turn is over.
        self.store.rest();
        let next = if is_watched { sooner(next, now.monotonic_ms + WATCH_INTERVAL_MS) } else { next };
        if is_parked { sooner(next, now.monotonic_ms + PARK_INTERVAL_MS) } else { next }
    }
}

impl<S: Sharing> Memcached<S> {
    /// Serves a connection at this time.
    #[inline(always)]
    pub(crate) fn run_at(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        output: &mut Output,
        time: Time,
    ) -> Step {
        let asking = connection.registered.number;
        let token = connection.token;
        let mut call = Call { output, time, asking, token, long: None, waits_for_value: false };
        if connection.long.is_some()
            && let Some(step) = self.resume_long(connection, input, &mut call)
        {
            return step;
        }
        let step = match connection.incoming {
            _ if connection.wire != Wire::Text => self.serve_wire(connection, input, &mut call),
            Some(_) => self.resume_upload(connection, input, &mut call),
            None => self.serve(connection, input, &mut call),
        };
        let is_storing = connection.incoming.is_some() || call.waits_for_value;
        connection.registered.note(time.now_s, is_storing);
        step
    }

    /// A step of the store's background work.
    fn look_after_store(&mut self, now: Now, time: &Time) -> Background {
        if std::mem::take(&mut self.rests) {
            self.rests_until_ms = now.monotonic_ms + BACKGROUND_INTERVAL_MS;
        }
        if now.monotonic_ms < self.rests_until_ms {
            return Background::At(self.rests_until_ms);
        }
        if let Some(looked_ms) = self.looked_ms
            && (looked_ms..looked_ms + LOOK_INTERVAL_MS).contains(&now.monotonic_ms)
        {
            return Background::At(looked_ms + BACKGROUND_INTERVAL_MS);
        }
        if self.store.maintain(BACKGROUND_RECORDS, time.now_s) {
            self.looked_ms = None;
            return Background::More;
        }
        self.looked_ms = Some(now.monotonic_ms);
        Background::At(now.monotonic_ms + BACKGROUND_INTERVAL_MS)
    }
}

/// What is wanted next, and a call at `time_ms` at the latest.
fn sooner(next: Background, time_ms: u64) -> Background {
    match next {
        Background::More => next,
        Background::At(next_ms) => Background::At(next_ms.min(time_ms)),
        Background::Idle => Background::At(time_ms),
    }
}

/// How often the store is looked after when nothing else happens.
const BACKGROUND_INTERVAL_MS: u64 = 1000;

/// How long nobody looks whether there is something to do for the store after there was nothing.
const LOOK_INTERVAL_MS: u64 = 10;

impl<S: Sharing> fmt::Debug for Memcached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memcached").field("shard", &self.shard).finish_non_exhaustive()
    }
}
