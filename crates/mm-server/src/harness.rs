//! A service driven without sockets, clocks or threads.
//!
//! Tests, simulation and fuzzing give the bytes a peer would send, in whatever pieces, and get those it would
//! receive. The service is run by the code that runs it in a server: input is bounded and kept when a request
//! is cut, space is filled, the output is capped and resumed, wakes are delivered, background steps are done.
//!
//! ```
//! use mm_base::{Now, buffer::Output};
//! use mm_server::harness::Harness;
//! use mm_server::{Peer, Service, Step};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Connection = ();
//!     fn connect(&mut self, _peer: &Peer) {}
//!     fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
//!         output.write(input);
//!         Step::Read { consumed: input.len() }
//!     }
//! }
//!
//! let mut harness = Harness::new(|_start| Echo);
//! let client = harness.connect();
//! assert_eq!(harness.exchange(client, b"hello"), b"hello");
//! ```

mod cuts;
mod datagrams;

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::slab::{Key, Slab};

use crate::connection::{Context, Machine, Want};
use crate::limits::INPUT_BYTES_MAX;
use crate::ready::Wakes;
use crate::{Address, Background, Peer, Ready, Service, Start, Stats, Token};

pub use cuts::{Difference, every_cut};

/// The output cap of a harness, unless [`Harness::set_output_cap`] changes it. The server's default.
pub const OUTPUT_CAP_BYTES: usize = 64 * 1024;

/// What a harness's connections may hold in buffers.
const POOL_BYTES: usize = 64 * 1024 * 1024;

/// Background steps that a harness takes in a row before it gives up waiting for the service to be idle.
const BACKGROUND_STEPS_MAX: usize = 10_000;

/// One shard's service and its connections, driven by hand.
pub struct Harness<S: Service> {
    service: S,
    clients: Slab<Client<S::Connection>>,
    pool: Pool,
    ready: Ready,
    wakes: Wakes,
    stats: Arc<[Stats]>,
    now: Now,
    output_cap: usize,
    accepted: u16,
}

/// Names a connection of a harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(Key);

struct Client<C> {
    machine: Machine<C>,
    output: Output,
    /// Sent by the peer and not yet received.
    inbox: VecDeque<u8>,
    /// The peer will send no more.
    finished: bool,
}

impl<S: Service> Harness<S> {
    /// A harness around the service that `factory` makes. The time is 1,000 ms, and 1,000,000,000 s since
    /// 1970.
    pub fn new(factory: impl FnOnce(&Start) -> S) -> Self {
        let ready = Ready::default();
        let stats: Arc<[Stats]> = Arc::new([Stats::default()]);
        let start =
            Start { shard: 0, shards: 1, notice: None, ready: ready.clone(), stats: Arc::clone(&stats) };
        Self {
            service: factory(&start),
            clients: Slab::new(),
            pool: Pool::new(POOL_BYTES),
            ready,
            wakes: Wakes::default(),
            stats,
            now: Now { monotonic_ms: 1_000, unix_s: 1_000_000_000 },
            output_cap: OUTPUT_CAP_BYTES,
            accepted: 0,
        }
    }

    /// Sets the number of unsent bytes from which on an output counts as full, for connections yet to be
    /// made.
    pub fn set_output_cap(&mut self, bytes: usize) {
        self.output_cap = bytes;
    }

    /// The time given to the service.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Sets the time given to the service, and has it do its background work.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
        self.settle();
    }

    /// Lets time pass on both clocks, and has the service do its background work.
    pub fn advance_ms(&mut self, milliseconds: u64) {
        let monotonic_ms = self.now.monotonic_ms + milliseconds;
        let seconds = monotonic_ms / 1000 - self.now.monotonic_ms / 1000;
        self.set_now(Now { monotonic_ms, unix_s: self.now.unix_s + seconds });
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The service, to be looked at or changed behind its connections' backs.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// What the service can read of the server's counters.
    pub fn stats(&self) -> &Stats {
        &self.stats[0]
    }

    /// Bytes that the connections hold in buffers. Nought when all are idle between two requests.
    pub fn buffered_bytes(&self) -> usize {
        self.pool.used_bytes()
    }

    /// Opens a connection.
    pub fn connect(&mut self) -> ClientId {
        self.accepted = self.accepted.wrapping_add(1);
        let address = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, self.accepted)));
        let key = self.clients.next_key().unwrap_or_else(|| Key::from_u64(0));
        let peer = Peer { token: Token(key), address, listener: 0, is_datagram: false };
        let machine = Machine::new(self.service.connect(&peer));
        let output = Output::new(&self.pool, self.output_cap);
        let client = Client { machine, output, inbox: VecDeque::new(), finished: false };
        if let Err(client) = self.clients.insert(client) {
            self.service.disconnect(client.machine.into_state());
            return ClientId(key);
        }
        self.stats[0].connections.add(1);
        self.stats[0].connections_total.add(1);
        ClientId(key)
    }

    /// Whether the server keeps the connection open. Output that the peer has not read keeps it open too.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.clients.get(client.0).is_some()
    }

    /// Sends `bytes` and returns all that is answered, reading as fast as the service writes.
    pub fn exchange(&mut self, client: ClientId, bytes: &[u8]) -> Vec<u8> {
        self.send(client, bytes);
        self.receive(client, usize::MAX)
    }

    /// Sends `bytes`; the service runs as far as it can while the peer reads nothing.
    pub fn send(&mut self, client: ClientId, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(client.0) {
            client.inbox.extend(bytes);
        }
        self.step(client.0);
        self.settle();
    }

    /// Reads at most `bytes` of what was answered, and lets the service go on each time its output has
    /// drained.
    pub fn receive(&mut self, client: ClientId, bytes: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < bytes {
            let before = received.len();
            if let Some(client) = self.clients.get_mut(client.0) {
                take(&mut client.output, bytes - before, &mut received);
            }
            self.step(client.0);
            self.settle();
            if received.len() == before {
                break;
            }
        }
        received
    }

    /// The peer will send no more: once everything has been answered and read, the connection ends.
    pub fn finish(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get_mut(client.0) {
            client.finished = true;
        }
        self.step(client.0);
        self.settle();
    }

    /// The connection breaks: whatever is underway on it is lost.
    pub fn reset(&mut self, client: ClientId) {
        self.close(client.0);
        self.settle();
    }

    /// Ends every connection and returns the service. Every buffer and every pinned range has been given
    /// back.
    pub fn into_service(mut self) -> S {
        let open: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in open {
            self.close(key);
        }
        self.service
    }

    /// Delivers wakes and does background work until there is none.
    fn settle(&mut self) {
        for _ in 0..BACKGROUND_STEPS_MAX {
            while !self.ready.is_empty() {
                self.deliver_wakes();
            }
            let more = self.service.background(self.now);
            if more != Background::More && self.ready.is_empty() {
                return;
            }
        }
    }

    fn deliver_wakes(&mut self) {
        let mut wakes = std::mem::take(&mut self.wakes);
        self.ready.swap(&mut wakes);
        if wakes.all {
            wakes.tokens = self.clients.iter().map(|(key, _)| Token(key)).collect();
        }
        for token in &wakes.tokens {
            self.run(token.0, &[]);
            self.step(token.0);
        }
        self.wakes = wakes;
    }

    /// Runs the connection until it waits for the peer, for a wake or for its end.
    fn step(&mut self, key: Key) {
        loop {
            let Some(client) = self.clients.get_mut(key) else { return };
            match client.machine.want() {
                Want::Input if !client.inbox.is_empty() => self.run_on_input(key),
                Want::Space if !client.inbox.is_empty() => self.run_on_space(key),
                Want::Drain if !client.output.is_full() => self.run(key, &[]),
                Want::Fault => return self.close(key),
                Want::Close if client.output.is_empty() => return self.close(key),
                Want::Input | Want::Space if client.finished && client.output.is_empty() => {
                    return self.close(key);
                }
                _ => return,
            }
        }
    }

    fn run_on_input(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let fresh = if client.machine.has_carry() {
            let room = client.machine.carry_room(&self.pool);
            let part = room.len().min(client.inbox.len());
            for (place, byte) in room.iter_mut().zip(client.inbox.drain(..part)) {
                *place = byte;
            }
            client.machine.carry_received(part);
            Vec::new()
        } else {
            let part = client.inbox.len().min(INPUT_BYTES_MAX);
            client.inbox.drain(..part).collect()
        };
        for pass in 0..=1 {
            client.machine.prepare(&mut self.service, &fresh, pass);
        }
        self.run(key, &fresh);
    }

    fn run_on_space(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let space = client.machine.space(&mut self.service);
        let part = space.len().min(client.inbox.len());
        for (place, byte) in space.iter_mut().zip(client.inbox.drain(..part)) {
            *place = byte;
        }
        if part > 0 {
            client.machine.filled(&mut self.service, part);
        }
        self.run(key, &[]);
    }

    fn run(&mut self, key: Key, fresh: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let context = Context { pool: &self.pool, now: self.now };
        client.machine.run(&mut self.service, fresh, &mut client.output, &context);
        client.machine.settle(&self.pool);
        self.stats[0].runs.add(1);
    }

    fn close(&mut self, key: Key) {
        if let Some(client) = self.clients.remove(key) {
            self.service.disconnect(client.machine.into_state());
            self.stats[0].connections.sub(1);
        }
    }
}

impl<S: Service> fmt::Debug for Harness<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("clients", &self.clients.len())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Moves at most `bytes` bytes from the output to `received`.
fn take(output: &mut Output, bytes: usize, received: &mut Vec<u8>) {
    let mut left = bytes.min(output.len());
    while left > 0 {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = output.gather(&mut slices);
        let before = received.len();
        for slice in &slices[..count] {
            let part = slice.len().min(left);
            received.extend_from_slice(&slice[..part]);
            left -= part;
        }
        output.advance(received.len() - before);
    }
    if output.is_empty() {
        // A connection of the server has no output then.
        output.clear();
    }
}
