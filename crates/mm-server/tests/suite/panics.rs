//! A panic of the service's own work ends nothing, one in what the server asks of it about a connection ends that one.

use std::sync::mpsc::channel;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::{Faults, PeerId};
use mm_runtime::task::{Name, Options, spawn_with, yield_now};
use mm_server::limits::BACKGROUND_PAUSE_MS;
use mm_server::simulation::{Simulation, Stepped, Unrest};
use mm_server::{Background, Config, Log, Luggage, Peer, Service, Step, Stop, Stream};

use crate::running::{PATIENCE, Running, config, exchange};

/// Echoes; its own work panics the first times.
struct Unsteady {
    panics_left: u32,
    /// When its own work was called, on the monotonic clock.
    called_ms: Vec<u64>,
}

impl Service for Unsteady {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        output.write(input);
        Step::Read { consumed: input.len() }
    }

    fn background(&mut self, now: Now) -> Background {
        self.called_ms.push(now.monotonic_ms);
        if self.panics_left > 0 {
            self.panics_left -= 1;
            panic!("{} more", self.panics_left);
        }
        Background::Idle
    }
}

#[test]
fn a_panic_of_background_work_is_told_and_the_server_goes_on() {
    let (written, lines) = channel();
    let log = Log::to(move |line| written.send(line.to_owned()).unwrap());
    let settings = Config { log, ..config() };
    let service = |_: &_| Unsteady { panics_left: 2, called_ms: Vec::new() };
    let mut simulation = Simulation::new(&settings, 1, Faults::default(), service);
    let peer = simulation.connect();
    let begin_ms = simulation.network().now().monotonic_ms;
    let mut echoes = 0;
    while simulation.network().now().monotonic_ms < begin_ms + 3 * BACKGROUND_PAUSE_MS {
        simulation.network().write(peer, b"x").unwrap();
        let end_ms = simulation.network().now().monotonic_ms + 100;
        while simulation.network().now().monotonic_ms < end_ms {
            assert_ne!(simulation.step_until(end_ms), Stepped::Spinning);
        }
        if let Received::Bytes(bytes) = simulation.network().read(peer, 100).unwrap() {
            echoes += bytes.len();
        }
    }
    assert!(echoes > 20, "{echoes} echoes");
    assert_eq!(simulation.handle().stats()[0].panics.get(), 2);
    let called_ms = simulation.services().next().unwrap().called_ms.clone();
    assert!(called_ms[1] >= called_ms[0] + BACKGROUND_PAUSE_MS, "{called_ms:?}");
    assert!(called_ms[2] >= called_ms[1] + BACKGROUND_PAUSE_MS, "{called_ms:?}");
    // Each is written by whatever thread has time.
    let mut told = [(); 2].map(|()| lines.recv_timeout(PATIENCE).unwrap());
    told.sort_unstable();
    for (line, text) in told.iter().zip(["0 more", "1 more"]) {
        assert!(line.contains("background") && line.ends_with(text), "{line}");
    }
    simulation.handle().stop(Stop::AtOnce);
    while simulation.step() != Stepped::Stopped {}
}

/// Echoes; panics in what the first byte of a connection's input names: `p`ack, `d`isconnect, `m`ay_move; and when it
/// is asked whether it lacks memory, at first.
#[derive(Default)]
struct Touchy {
    asked: u32,
}

impl Service for Touchy {
    type Connection = u8;

    fn connect(&mut self, _peer: &Peer) -> u8 {
        0
    }

    fn run(&mut self, named: &mut u8, input: &[u8], output: &mut Output, _now: Now) -> Step {
        if let (0, Some(&first)) = (*named, input.first()) {
            *named = first;
        }
        output.write(input);
        Step::Read { consumed: input.len() }
    }

    fn may_move(&self, &named: &u8) -> bool {
        assert_ne!(named, b'm', "made on purpose");
        true
    }

    fn depart(&mut self, named: u8) -> Luggage {
        Box::new(named)
    }

    fn arrive(&mut self, _peer: &Peer, luggage: Luggage) -> u8 {
        luggage.downcast_ref().copied().unwrap_or(0)
    }

    fn pack(&self, &named: &u8) -> Option<Vec<u8>> {
        assert_ne!(named, b'p', "made on purpose");
        Some(vec![named])
    }

    fn unpack(&mut self, _peer: &Peer, packed: &[u8]) -> Option<u8> {
        packed.first().copied()
    }

    fn disconnect(&mut self, named: u8) {
        assert_ne!(named, b'd', "made on purpose");
    }

    fn lacks_memory(&mut self) -> bool {
        self.asked += 1;
        assert_ne!(self.asked, 1, "made on purpose");
        false
    }
}

/// Lets a server run until it has nothing to do for so long.
fn settle(simulation: &mut Simulation<Touchy>, for_ms: u64) {
    let end_ms = simulation.network().now().monotonic_ms + for_ms;
    while simulation.network().now().monotonic_ms < end_ms {
        assert_ne!(simulation.step_until(end_ms), Stepped::Spinning);
    }
}

/// What a peer receives: its bytes, or nothing any more.
fn received(simulation: &Simulation<Touchy>, peer: PeerId) -> Option<Vec<u8>> {
    match simulation.network().read(peer, 100) {
        Ok(Received::Bytes(bytes)) => Some(bytes.to_vec()),
        Ok(Received::End) | Err(_) => None,
        Ok(_) => Some(Vec::new()),
    }
}

fn panics(simulation: &Simulation<Touchy>) -> u64 {
    simulation.handle().stats().iter().map(|stats| stats.panics.get()).sum()
}

fn stop(simulation: &mut Simulation<Touchy>) {
    simulation.handle().stop(Stop::AtOnce);
    while simulation.step() != Stepped::Stopped {}
}

#[test]
fn a_panic_at_a_hand_over_ends_one_connection_and_the_others_are_handed_over() {
    let mut first = Simulation::new(&config(), 1, Faults::default(), |_| Touchy { asked: 1 });
    let peers = [b'a', b'p', b'd', b'b'].map(|named| {
        let peer = first.connect();
        first.network().write(peer, &[named]).unwrap();
        peer
    });
    settle(&mut first, 100);
    assert!(peers.iter().all(|&peer| received(&first, peer).is_some_and(|bytes| bytes.len() == 1)));
    first.hand_over();
    while first.step() != Stepped::Stopped {}
    assert_eq!(panics(&first), 2, "of `pack` and of `disconnect`");
    let network = first.network().clone();
    let handed = first.take_handed();
    let mut second = Simulation::resume(handed, &network, (&config(), 2), |_| Touchy { asked: 1 });
    for &peer in &peers {
        // One of them is gone.
        let _sent = second.network().write(peer, b"x");
    }
    settle(&mut second, 100);
    let answers = peers.map(|peer| received(&second, peer));
    let x = Some(b"x".to_vec());
    assert_eq!(answers, [x.clone(), None, x.clone(), x]);
    stop(&mut second);
}

#[test]
fn a_panic_on_the_way_to_another_shard_ends_one_connection() {
    let settings = Config { shards: 2.try_into().unwrap(), ..config() };
    let mut simulation = Simulation::new(&settings, 1, Faults::default(), |_| Touchy { asked: 1 });
    simulation.set_unrest(Unrest { moves: 1, ..Unrest::default() });
    let peers = [b'a', b'm', b'b'].map(|named| {
        let peer = simulation.connect();
        simulation.network().write(peer, &[named]).unwrap();
        peer
    });
    let mut echoes = [0; 3];
    for _ in 0..30 {
        settle(&mut simulation, 100);
        for (peer, echoes) in peers.into_iter().zip(&mut echoes) {
            *echoes += received(&simulation, peer).unwrap_or_default().len();
            let _sent = simulation.network().write(peer, b"x");
        }
    }
    assert_eq!(panics(&simulation), 1);
    assert!(echoes[0] > 20 && echoes[1] < 20 && echoes[2] > 20, "{echoes:?}");
    assert!(simulation.handle().stats().iter().any(|stats| stats.connections_moved.get() > 0));
    stop(&mut simulation);
}

#[test]
fn a_panic_about_memory_ends_nothing_and_it_is_not_asked_again_at_once() {
    let mut simulation = Simulation::new(&config(), 1, Faults::default(), |_| Touchy::default());
    let peer = simulation.connect();
    for _ in 0..3 {
        simulation.network().write(peer, b"x").unwrap();
        settle(&mut simulation, BACKGROUND_PAUSE_MS / 4);
        assert_eq!(received(&simulation, peer), Some(b"x".to_vec()));
    }
    assert_eq!(simulation.services().next().unwrap().asked, 1);
    settle(&mut simulation, BACKGROUND_PAUSE_MS);
    simulation.network().write(peer, b"x").unwrap();
    settle(&mut simulation, 10);
    assert!(simulation.services().next().unwrap().asked > 1);
    assert_eq!(panics(&simulation), 1);
    stop(&mut simulation);
}

#[test]
fn a_panic_of_a_task_that_nobody_waits_for_is_counted_and_told_of_by_name() {
    let (written, lines) = channel();
    let log = Log::to(move |line| drop(written.send(line.to_owned())));
    let server = Running::of(Config { log, ..config() }, |server| {
        server.serve(async |mut stream: Stream| {
            let mut space = [0; 1];
            stream.read_exact(&mut space).await?;
            let indexing = Options::new().name(Name::new("indexing"));
            spawn_with(indexing, async { panic!("made on purpose") }).detach();
            yield_now().await;
            stream.write_all(&space).await?;
            panic!("the handler's own");
        })
    });
    let mut client = server.connect();
    exchange(&mut client, b"x", "x");
    let line = lines.recv_timeout(PATIENCE).unwrap();
    assert!(line.ends_with("the task indexing has panicked: made on purpose"), "{line}");
    server.wait_for(|stats| stats.panics.get(), 1);
    assert_eq!(server.total(|stats| stats.task_panics.get()), 1);
    assert_eq!(server.total(|stats| stats.tasks_refused.get()), 0);
}

#[test]
fn every_counter_has_a_name() {
    let stats = mm_server::Stats::default();
    let fields = format!("{stats:?}").matches("Counter(").count();
    assert_eq!(stats.named().len(), fields);
}
