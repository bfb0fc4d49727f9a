//! Services at the end of their server.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::task::spawn;
use mm_server::{Config, Handle, Peer, Service, Step, Stop, Stream};

use crate::running::{PATIENCE, Running, Settings, expect, on_each_driver, rest};

on_each_driver! {
    a_hand_over_that_becomes_a_stop_finishes_what_has_begun
    a_stream_that_the_service_resets_at_its_end_is_reset
    who_only_lingers_at_the_deadline_is_not_late
}

fn one_shard(settings: Settings) -> Config {
    Config { shards: NonZeroUsize::MIN, drain_ms: 10_000, ..settings() }
}

/// Answers lines by themselves, and has its server stop as soon as a connection is to be handed over.
struct Hesitant {
    handle: Handle,
    /// The turn in which that was, from 1.
    turn: Arc<AtomicU64>,
}

impl Service for Hesitant {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        let consumed = input.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        output.write(&input[..consumed]);
        Step::Read { consumed }
    }

    fn pack(&self, (): &()) -> Option<Vec<u8>> {
        self.handle.stop(Stop::Gracefully);
        self.turn.store(self.handle.stats()[0].turns.get(), Ordering::Relaxed);
        Some(Vec::new())
    }

    fn unpack(&mut self, _peer: &Peer, _packed: &[u8]) -> Option<()> {
        Some(())
    }
}

fn a_hand_over_that_becomes_a_stop_finishes_what_has_begun(settings: Settings) {
    let turn = Arc::new(AtomicU64::new(0));
    let asked_in = Arc::clone(&turn);
    let server = Running::of(one_shard(settings), move |server| {
        let handle = server.handle();
        server.serve_with(|_| Hesitant { handle: handle.clone(), turn: Arc::clone(&asked_in) })
    });
    let mut client = server.connect();
    client.write_all(b"ha").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 2);
    server.handle.stop(Stop::HandOver);
    let asked_in = || turn.load(Ordering::Relaxed);
    let has_left = || server.total(|stats| stats.connections.get()) == 0;
    // By the turn after that one, the driver has stopped to receive for a stream that is to leave. One that lets go at
    // once has done so before the stop, and the stream comes back.
    while asked_in() == 0 || (server.total(|stats| stats.turns.get()) <= asked_in() && !has_left()) {
        std::thread::yield_now();
    }
    client.write_all(b"lf\n").unwrap();
    expect(&mut client, "half\n");
    assert_eq!(rest(&mut client), b"");
    assert_eq!(server.total(|stats| stats.drain_timeouts.get()), 0);
}

/// Holds a stream, which it resets when it ends itself.
struct Holder(Rc<RefCell<Option<Stream>>>);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Stream::reset);
    }
}

impl Service for Holder {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], _output: &mut Output, _now: Now) -> Step {
        Step::Read { consumed: input.len() }
    }
}

fn a_stream_that_the_service_resets_at_its_end_is_reset(settings: Settings) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (held, is_held) = mpsc::channel();
    let server = Running::of(one_shard(settings), move |server| {
        server.serve_with(|_| {
            let holder = Holder(Rc::default());
            let (slot, held) = (Rc::clone(&holder.0), held.clone());
            let connecting = async move {
                *slot.borrow_mut() = Some(Stream::connect(address).await.unwrap());
                held.send(()).unwrap();
            };
            spawn(connecting).detach();
            holder
        })
    });
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    is_held.recv().unwrap();
    server.stop(Stop::AtOnce);
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn who_only_lingers_at_the_deadline_is_not_late(settings: Settings) {
    for how in [Stop::Gracefully, Stop::HandOver] {
        let times = Config { linger_ms: 60_000, hand_over_ms: 0, drain_ms: 0, ..settings() };
        let server = Running::start(times);
        let mut client = server.connect();
        client.write_all(b"quit\nmore").unwrap();
        server.wait_for(|stats| stats.lingered.get(), 1);
        assert_eq!(server.stop(how).drain_timeouts, 0, "{how:?}");
        assert_eq!(rest(&mut client), b"");
    }
}
