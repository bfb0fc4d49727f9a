//! The staged turn.
//!
//! One dependent cache miss costs as much as a hundred instructions, and a request that looks something up
//! has several. Requests of one connection can be looked up together by the service; those of different
//! connections can only be so if the shard first receives for all of them, then lets the service prepare each
//! (compute, prefetch), and only then runs them: by then the memory they need is on its way or there.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::slab::Key;
use mm_base::{canary, mark};
use mm_runtime::driver::{Driver, Received, Sent, SourceId, Span};

use super::pace::Pace;
use super::share::Share;
use super::{Connection, Engine, Marks, Outputs};
use crate::Service;
use crate::connection::{Context, Want};
use crate::limits::{
    BATCH_MAX, CONNECTIONS_PER_TURN_MAX, SEND_WHOLE_BYTES_MAX, SPACE_BYTES_PER_TURN_MAX, SPACES_PER_TURN_MAX,
};

/// The connections that go through the stages together, and what has been counted on the way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    bytes_read: u64,
    bytes_written: u64,
}

/// A connection that is going to run.
#[derive(Clone, Copy, Debug)]
struct Item {
    key: Key,
    /// Its input in the driver's inbox, unless it went elsewhere or there is none.
    span: Option<Span>,
}

/// What is to be done with a connection taken from the queue.
enum Taken {
    /// It is to run, with this input.
    Run(Option<Span>),
    /// There is nothing to run; it may have to be looked at once more before it rests.
    Rest,
    /// It has ended, or waits elsewhere.
    Gone,
}

/// What sending has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    /// There is nothing left to send.
    All,
    /// A turn's share has gone.
    Share,
    /// The kernel takes no more for now.
    Blocked,
    /// The socket has failed.
    Broken,
}

impl<C> Connection<C> {
    /// Receives requests. Without bytes there is nothing new to run.
    fn receive<D: Driver>(
        &mut self,
        driver: &mut D,
        pool: &Pool,
        now: Now,
    ) -> io::Result<Received<(usize, Option<Span>)>> {
        if self.marks.has(Marks::ENDED) {
            return Ok(Received::End);
        }
        let received = if self.machine.has_carry() {
            let received = driver.receive_into(self.stream, self.machine.carry_room(pool))?;
            if let Received::Bytes(bytes) = received {
                self.machine.carry_received(bytes);
            }
            received.map(|bytes| (bytes, None))
        } else {
            let is_large = self.marks.clear(Marks::LARGE);
            let received =
                if is_large { driver.receive_head(self.stream) } else { driver.receive(self.stream) };
            received?.map(|span| (span.len(), Some(span)))
        };
        match received {
            Received::Bytes(_) => self.progressed(now),
            Received::End => self.marks.set(Marks::ENDED),
            Received::Blocked => {}
        }
        Ok(received)
    }

    /// Bytes of requests have come.
    #[inline]
    fn progressed(&mut self, now: Now) {
        self.pace = Pace::default();
        self.progress_ms = now.monotonic_ms;
    }

    /// Sends what can be sent, and says how many bytes that were. An output of which nothing is left goes back.
    #[inline]
    fn flush<D: Driver>(&mut self, driver: &mut D, outputs: &mut Outputs, now: Now) -> (Flushed, usize) {
        let Some(output) = &mut self.output else { return (Flushed::All, 0) };
        let before = output.len();
        let sent = if before <= SEND_WHOLE_BYTES_MAX {
            driver.send(self.stream, &mut **output)
        } else {
            send_share(driver, self.stream, output, outputs.share_bytes)
        };
        let bytes = before - output.len();
        if bytes > 0 {
            self.progress_ms = now.monotonic_ms;
        }
        if output.is_empty() && matches!(sent, Ok(Sent::All)) {
            self.marks.clear(Marks::BLOCKED);
            self.output.take().into_iter().for_each(|output| outputs.put(output));
            return (Flushed::All, bytes);
        }
        (self.keep_rest(&sent), bytes)
    }

    /// Acts on a send that has left something.
    #[cold]
    #[inline(never)]
    fn keep_rest(&mut self, sent: &io::Result<Sent>) -> Flushed {
        let Some(output) = &mut self.output else { return Flushed::All };
        match sent {
            Ok(Sent::All) => {
                self.marks.set(Marks::BLOCKED);
                Flushed::Share
            }
            Ok(Sent::Blocked) => {
                mark!("output waits for its reader");
                if canary!("dropped byte", 8) && !output.is_empty() {
                    output.advance(1);
                }
                self.marks.set(Marks::BLOCKED);
                output.shrink();
                Flushed::Blocked
            }
            Err(_) => Flushed::Broken,
        }
    }

    /// Whether it waits for its next request, with nothing of it here and nothing to be sent, in none of the ways in
    /// which a connection may be special.
    #[inline]
    fn is_plain(&self) -> bool {
        self.machine.want() == Want::Input
            && !self.marks.has(!Marks::QUEUED)
            && !self.has_output()
            && !self.machine.has_carry()
    }

    /// Whether it waits for its next event and nothing is to be done for it, which is the usual end of a turn.
    fn is_at_rest<D: Driver>(&self, driver: &D) -> bool {
        let is_usual = self.machine.want() == Want::Input
            && !self.marks.has(Marks::ENDED | Marks::FINISHED)
            && !self.has_output()
            && !self.machine.has_carry();
        is_usual && !driver.may_have_input(self.stream)
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Serves those who are queued now, at most a turn's share of them.
    pub(super) fn serve_queue(&mut self, driver: &mut D, now: Now) {
        let mut left = self.queue.len().min(CONNECTIONS_PER_TURN_MAX);
        if left == 0 {
            return;
        }
        let served = (left, self.queue.front().copied());
        self.outputs.share_bytes = self.company.share_bytes(served, now.monotonic_ms);
        while left > 0 {
            self.take(driver, &mut left, now);
            // Of one connection alone nothing overlaps with anything.
            if self.batch.items.len() > 1 && self.prepare(driver, 0) {
                self.prepare(driver, 1);
            }
            self.run(driver, now);
            self.send(driver, now);
            driver.clear_inbox();
        }
        let stats = &self.control.stats[self.shard];
        stats.bytes_read.add(std::mem::take(&mut self.batch.bytes_read));
        stats.bytes_written.add(std::mem::take(&mut self.batch.bytes_written));
    }

    /// First stage: receives for as many as make a batch.
    fn take(&mut self, driver: &mut D, left: &mut usize, now: Now) {
        self.batch.items.clear();
        while *left > 0 && self.batch.items.len() < BATCH_MAX && driver.inbox_has_room() {
            let Some(key) = self.queue.pop_front() else {
                *left = 0;
                return;
            };
            *left -= 1;
            match self.take_one(driver, key, now) {
                Taken::Run(span) => self.batch.items.push(Item { key, span }),
                Taken::Rest => self.rest(driver, key, now),
                Taken::Gone => {}
            }
        }
    }

    /// Sends what is left to send and receives what is wanted.
    #[inline]
    fn take_one(&mut self, driver: &mut D, key: Key, now: Now) -> Taken {
        let Some(connection) = self.connections.get_mut(key) else { return Taken::Gone };
        // Most wait for their next request and for nothing else.
        if connection.is_plain() && self.pool.has_room() {
            connection.marks.clear(Marks::QUEUED);
            return match driver.receive(connection.stream) {
                Ok(Received::Bytes(span)) => {
                    connection.progressed(now);
                    self.batch.bytes_read += count(span.len());
                    Taken::Run(Some(span))
                }
                other => self.received_nothing(driver, key, &other),
            };
        }
        self.take_other(driver, key, now)
    }

    /// A connection that waits for its next request and for nothing else has got no bytes.
    #[cold]
    #[inline(never)]
    fn received_nothing(&mut self, driver: &mut D, key: Key, received: &io::Result<Received<Span>>) -> Taken {
        match received {
            Ok(Received::End) => {
                self.connections.get_mut(key).into_iter().for_each(|it| it.marks.set(Marks::ENDED));
                Taken::Rest
            }
            Ok(_) => Taken::Rest,
            Err(_) => self.broken(driver, key),
        }
    }

    /// The same, for connections of all kinds.
    #[inline(never)]
    fn take_other(&mut self, driver: &mut D, key: Key, now: Now) -> Taken {
        let Some(mut connection) = self.connections.get_mut(key) else { return Taken::Gone };
        connection.marks.clear(Marks::QUEUED);
        if connection.marks.has(Marks::LINGERS | Marks::BLOCKED) {
            if connection.marks.has(Marks::LINGERS) {
                self.discard(driver, key);
                return Taken::Gone;
            }
            if !self.flush(driver, key, now) {
                return Taken::Gone;
            }
            let Some(same) = self.connections.get_mut(key) else { return Taken::Gone };
            connection = same;
        }
        if connection.output_is_full() || connection.has_finished() {
            return Taken::Rest;
        }
        let wants = connection.machine.want();
        if matches!(wants, Want::Input | Want::Space) && !self.pool.has_room() {
            // Whoever frees some memory, or the sweep, makes the turn in which this is tried again. Until then it still
            // sends what it has: that may be what frees some.
            if !connection.marks.has(Marks::STARVED) {
                mark!("connection waits for memory");
                connection.marks.set(Marks::STARVED);
                self.starved.push(key);
            }
            return Taken::Gone;
        }
        let idle = if connection.marks.clear(Marks::WOKEN) { Taken::Run(None) } else { Taken::Rest };
        match wants {
            Want::Drain => Taken::Run(None),
            Want::Input => match connection.receive(driver, &self.pool, now) {
                Ok(Received::Bytes((bytes, span))) => {
                    self.batch.bytes_read += count(bytes);
                    Taken::Run(span)
                }
                Ok(_) => idle,
                Err(_) => self.broken(driver, key),
            },
            Want::Space => self.take_space(driver, key, now).unwrap_or(idle),
            Want::Wake => idle,
            Want::Close | Want::Fault => Taken::Rest,
        }
    }

    /// Receives into the service's space. `None`: it is not yet full.
    fn take_space(&mut self, driver: &mut D, key: Key, now: Now) -> Option<Taken> {
        let connection = self.connections.get_mut(key)?;
        let stream = connection.stream;
        let (mut bytes, mut parts) = (0, 0);
        let service = &mut self.service;
        let filled = catch_unwind(AssertUnwindSafe(|| {
            loop {
                // First, for no event may come of a value that ends where the turn's share does.
                let space = connection.machine.space(service);
                if space.is_empty() {
                    return Ok(Received::Bytes(None));
                }
                if bytes >= SPACE_BYTES_PER_TURN_MAX || parts >= SPACES_PER_TURN_MAX {
                    return Ok(Received::Blocked);
                }
                match receive_some(driver, stream, space, SPACE_BYTES_PER_TURN_MAX - bytes)? {
                    Received::Bytes((part, rest)) => {
                        connection.machine.filled(service, part);
                        bytes += part + rest.map_or(0, Span::len);
                        parts += 1;
                        if rest.is_some() {
                            return Ok(Received::Bytes(rest));
                        }
                    }
                    other => return Ok(other.map(|(_, rest)| rest)),
                }
            }
        }));
        if bytes > 0 {
            connection.pace.received(bytes, now.monotonic_ms.saturating_sub(connection.progress_ms));
            connection.progress_ms = now.monotonic_ms;
            connection.marks.set(Marks::LARGE);
            self.batch.bytes_read += count(bytes);
        }
        match filled {
            Ok(Ok(Received::Bytes(rest))) => Some(Taken::Run(rest)),
            Ok(Ok(Received::Blocked)) => None,
            Ok(Ok(Received::End)) => {
                connection.marks.set(Marks::ENDED);
                None
            }
            Ok(Err::<_, io::Error>(_)) => Some(self.broken(driver, key)),
            Err(_) => {
                self.end_panicked(driver, key);
                Some(Taken::Gone)
            }
        }
    }

    /// Second stage: shows the service all input before any of it is served. `false`: it wants to be shown no more.
    fn prepare(&mut self, driver: &D, pass: u8) -> bool {
        let Self { batch, connections, service, .. } = self;
        // A panic in here shows again, and is dealt with, when the request is run.
        let prepared = catch_unwind(AssertUnwindSafe(|| {
            batch.items.iter().all(|item| {
                let Some(connection) = connections.get_mut(item.key) else { return true };
                let fresh = item.span.map_or(&[][..], |span| driver.bytes(span));
                connection.machine.prepare(service, fresh, pass)
            })
        }));
        prepared.unwrap_or(false)
    }

    /// Third stage: serves the requests.
    fn run(&mut self, driver: &mut D, now: Now) {
        let mut at = 0;
        while at < self.batch.items.len() {
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_from(driver, &mut at, now)));
            if ran.is_err() {
                self.end_panicked(driver, self.batch.items[at].key);
                at += 1;
            }
        }
        self.stats().runs.add(count(at));
    }

    /// Runs the items from `at` on, which it keeps at the one that is running.
    fn run_from(&mut self, driver: &D, at: &mut usize, now: Now) {
        let Self { batch, connections, service, outputs, pool, drains, .. } = self;
        let context = Context { pool, now };
        while let Some(item) = batch.items.get(*at) {
            if let Some(connection) = connections.get_mut(item.key) {
                let fresh = item.span.map_or(&[][..], |span| driver.bytes(span));
                // It has it also after a panic, which may come in the middle of an answer.
                let output = connection.output.get_or_insert_with(|| outputs.take());
                connection.machine.run(service, fresh, output, &context);
                if *drains && connection.machine.has_served() {
                    connection.marks.set(Marks::FINISHED);
                }
            }
            *at += 1;
        }
    }

    /// Fourth stage: sends the answers.
    fn send(&mut self, driver: &mut D, now: Now) {
        for at in 0..self.batch.items.len() {
            let key = self.batch.items[at].key;
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let (flushed, bytes) = connection.flush(driver, &mut self.outputs, now);
            self.batch.bytes_written += count(bytes);
            if flushed == Flushed::All && connection.is_at_rest(driver) {
                continue;
            }
            if self.flushed(driver, key, flushed) {
                self.rest(driver, key, now);
            }
        }
        if self.balance.wants_some() {
            for item in &self.batch.items {
                self.balance.choose(item.key);
            }
        }
    }

    /// Sends what can be sent. `false`: the connection was broken, and is closed.
    fn flush(&mut self, driver: &mut D, key: Key, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let (flushed, bytes) = connection.flush(driver, &mut self.outputs, now);
        self.batch.bytes_written += count(bytes);
        self.flushed(driver, key, flushed)
    }

    /// Acts on what sending has come to. `false`: the connection was broken, and is closed.
    fn flushed(&mut self, driver: &mut D, key: Key, flushed: Flushed) -> bool {
        match flushed {
            Flushed::All | Flushed::Blocked => {}
            // Its next share comes with its next turn, behind others.
            Flushed::Share => self.put_off(key),
            Flushed::Broken => {
                self.broken(driver, key);
                return false;
            }
        }
        true
    }

    /// Leaves a connection until its next event, or closes it, or queues it again if it can go on.
    fn rest(&mut self, driver: &mut D, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let done = !connection.has_output();
        let ended = connection.marks.has(Marks::ENDED);
        match connection.machine.want() {
            Want::Fault => self.end_faulty(driver, key, now),
            Want::Input if done && canary!("connection closed for nothing", 32) => self.close(driver, key),
            Want::Input if connection.has_finished() && done && !ended => {
                self.close_drained(driver, key, true, now);
            }
            Want::Input if connection.has_finished() && !done => connection.machine.settle(&self.pool),
            Want::Close if done && !ended => self.close_or_linger(driver, key, now),
            Want::Close if done => self.close(driver, key),
            Want::Input | Want::Space if ended && done => self.close(driver, key),
            Want::Drain if !connection.output_is_full() => self.put_off(key),
            Want::Input | Want::Space
                if !ended && !connection.output_is_full() && driver.may_have_input(connection.stream) =>
            {
                self.put_off(key);
            }
            _ => connection.machine.settle(&self.pool),
        }
    }

    /// Queues a connection that has more to do than its share of a turn.
    fn put_off(&mut self, key: Key) {
        mark!("connection put off to the next turn");
        self.stats().yields.add(1);
        self.enqueue(key, 0);
    }

    /// The socket has failed.
    fn broken(&mut self, driver: &mut D, key: Key) -> Taken {
        mark!("connection broken");
        self.stats().socket_errors.add(1);
        self.close(driver, key);
        Taken::Gone
    }
}

/// Receives into the service's space: at most so many bytes, or until it is full and then what is behind them, which is
/// most often the end of the request.
fn receive_some<D: Driver>(
    driver: &mut D,
    stream: SourceId,
    space: &mut [u8],
    bytes_max: usize,
) -> io::Result<Received<(usize, Option<Span>)>> {
    if space.len() <= bytes_max {
        return driver.receive_past(stream, space);
    }
    Ok(driver.receive_into(stream, &mut space[..bytes_max])?.map(|bytes| (bytes, None)))
}

/// Sends a turn's share of a long output.
#[cold]
#[inline(never)]
fn send_share<D: Driver>(
    driver: &mut D,
    stream: SourceId,
    output: &mut Output,
    bytes: usize,
) -> io::Result<Sent> {
    driver.send(stream, &mut Share::new(output, bytes))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
