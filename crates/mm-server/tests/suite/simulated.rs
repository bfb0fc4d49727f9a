//! The server in virtual time: many clients, several shards, an unkind network, many seeds.

use std::num::NonZeroUsize;

use mm_base::choice::Choices;
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::{Faults, PeerId};
use mm_server::simulation::{Simulation, Stepped, Unrest};
use mm_server::{Config, Stop};

use crate::running::config;
use crate::toy::Toy;

/// A client that sends all of `requests`, some at a time, and remembers what it receives.
struct Client {
    peer: PeerId,
    requests: Vec<u8>,
    sent: usize,
    expected: Vec<u8>,
    received: Vec<u8>,
    reset: bool,
}

/// A few requests and what is answered to them.
fn requests(choices: &mut Choices) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..choices.between(1, 20) {
        let number = choices.between(0, 5000);
        match choices.below(3) {
            0 => {
                requests.extend(format!("echo {number}\n").into_bytes());
                answers.extend(format!("{number}\n").into_bytes());
            }
            1 => {
                requests.extend(format!("repeat {number} line\n").into_bytes());
                answers.extend("line\n".repeat(usize::try_from(number).unwrap()).into_bytes());
            }
            _ => {
                requests.extend(
                    format!("store {number}\n{}", "a".repeat(usize::try_from(number).unwrap())).bytes(),
                );
                answers.extend(format!("stored {number} sum {}\n", number * 97).into_bytes());
            }
        }
    }
    (requests, answers)
}

impl Client {
    fn new(simulation: &Simulation<Toy>, choices: &mut Choices) -> Self {
        let (requests, expected) = requests(choices);
        Self { peer: simulation.connect(), requests, sent: 0, expected, received: Vec::new(), reset: false }
    }

    fn act(&mut self, simulation: &Simulation<Toy>, choices: &mut Choices) {
        let network = simulation.network();
        if choices.one_in(3) && self.sent < self.requests.len() {
            let end = self.requests.len().min(self.sent + choices.index(3000) + 1);
            match network.write(self.peer, &self.requests[self.sent..end]) {
                Ok(taken) => self.sent += taken,
                Err(_) => self.reset = true,
            }
        }
        if choices.one_in(2) {
            match network.read(self.peer, choices.index(4000) + 1) {
                Ok(Received::Bytes(bytes)) => self.received.extend(bytes),
                Ok(_) => {}
                Err(_) => self.reset = true,
            }
        }
    }

    fn is_done(&self) -> bool {
        self.reset || self.received.len() >= self.expected.len()
    }

    /// What came is the right answer, whole, or its beginning if the connection broke.
    fn check(&self, seed: u64) {
        if self.reset {
            assert!(self.expected.starts_with(&self.received), "seed {seed}: wrong bytes before a reset");
        } else {
            assert!(self.received == self.expected, "seed {seed}: a wrong answer");
        }
    }
}

/// Each seed switches each kind of fault on or off.
fn faults(choices: &mut Choices) -> Faults {
    let mut rate = || if choices.one_in(2) { 0 } else { choices.between(2, 20) };
    Faults {
        delay_ms_max: rate(),
        short_receives: rate(),
        short_sends: rate(),
        spurious_events: rate(),
        failed_accepts: rate(),
        resets: rate() * 20,
        capacity_bytes: if rate() == 0 { 4096 } else { 100_000 },
        ..Faults::default()
    }
}

/// A run: clients come, talk and are served. Returns how many were cut off, and a digest of all that was received.
fn run(seed: u64) -> (usize, u64) {
    let mut choices = Choices::new(seed).fork(2);
    let shards = NonZeroUsize::new(1 + choices.index(3)).unwrap();
    let settings = Config { shards, output_cap_bytes: 1 + choices.index(20_000), ..config() };
    let mut simulation = Simulation::new(&settings, seed, faults(&mut choices), Toy::new);
    if seed % 2 == 1 {
        simulation.set_unrest(Unrest { cut_turns: 4, cut_steps_max: 30, cut_ms_max: 20, moves: 4 });
    }
    let mut clients: Vec<Client> =
        (0..choices.between(1, 30)).map(|_| Client::new(&simulation, &mut choices)).collect();
    let mut digest = 0_u64;
    while !clients.iter().all(Client::is_done) {
        assert!(simulation.step() != Stepped::Spinning, "seed {seed}: a shard spins");
        for client in &mut clients {
            client.act(&simulation, &mut choices);
            let len = u64::try_from(client.received.len()).unwrap();
            digest = digest.rotate_left(5).wrapping_mul(31).wrapping_add(len);
        }
        assert!(simulation.network().now().monotonic_ms < 10_000_000, "seed {seed}: not done in hours");
    }
    clients.iter().for_each(|client| client.check(seed));
    for client in &clients {
        simulation.network().finish(client.peer);
    }
    let resets = clients.iter().filter(|client| client.reset).count();
    simulation.handle().stop(Stop::Gracefully);
    while simulation.step() != Stepped::Stopped {}
    assert_eq!(simulation.network().open_streams(), 0, "seed {seed}: streams are held by nobody");
    assert_eq!(simulation.buffered_bytes(), 0, "seed {seed}: buffers are held by nobody");
    assert!(
        simulation.services().all(|toy| toy.values.pins.get() == 0),
        "seed {seed}: pins are held by nobody"
    );
    (resets, digest)
}

#[test]
fn every_answer_is_right_whatever_the_network_does() {
    let mut resets = 0;
    for seed in 0..60 {
        resets += run(seed).0;
    }
    assert!(resets > 0, "the fault that was asked for never happened");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 14, 15] {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn time_outs_are_exact_in_virtual_time() {
    let settings = Config { idle_timeout_ms: Some(60_000), ..config() };
    let mut simulation = Simulation::new(&settings, 1, Faults::default(), Toy::new);
    let peer = simulation.connect();
    simulation.network().write(peer, b"echo hello\n").unwrap();
    let start = simulation.network().now().monotonic_ms;
    loop {
        let stepped = simulation.step();
        assert!(stepped == Stepped::Turn || stepped == Stepped::Time, "{stepped:?}");
        match simulation.network().read(peer, 100).unwrap() {
            Received::Bytes(bytes) => assert_eq!(bytes, b"hello\n"),
            Received::Blocked => {}
            Received::End => break,
        }
    }
    let waited = simulation.network().now().monotonic_ms - start;
    assert!((60_000..=61_000).contains(&waited), "closed after {waited} ms");
    assert_eq!(simulation.handle().stats()[0].idle_timeouts.get(), 1);
}

/// Takes steps until time would have to pass. Returns what these peers have received.
fn settle(simulation: &mut Simulation<Toy>, peers: &[PeerId]) -> Vec<Vec<u8>> {
    let now_ms = simulation.network().now().monotonic_ms;
    while simulation.step_until(now_ms) == Stepped::Turn {}
    let read = |peer: &PeerId| match simulation.network().read(*peer, 100) {
        Ok(Received::Bytes(bytes)) => bytes,
        _ => Vec::new(),
    };
    peers.iter().map(read).collect()
}

#[test]
fn who_waits_for_a_place_is_served_as_soon_as_any_shard_gives_one_back() {
    for seed in 0..20 {
        let shards = NonZeroUsize::new(3).unwrap();
        let settings = Config { shards, connections_max: 2, ..config() };
        let mut simulation = Simulation::new(&settings, seed, Faults::default(), Toy::new);
        let mut peers: Vec<PeerId> = (0..6).map(|_| simulation.connect()).collect();
        for peer in &peers {
            simulation.network().write(*peer, b"echo hello\n").unwrap();
        }
        while !peers.is_empty() {
            let start_ms = simulation.network().now().monotonic_ms;
            let received = settle(&mut simulation, &peers);
            let served: Vec<bool> = received.iter().map(|bytes| bytes == b"hello\n").collect();
            let count = served.iter().filter(|served| **served).count();
            assert_eq!(count, peers.len().min(2), "seed {seed}: {received:?}");
            let mut served = served.into_iter();
            peers.retain(|peer| {
                let is_served = served.next().unwrap();
                if is_served {
                    simulation.network().finish(*peer);
                }
                !is_served
            });
            assert_eq!(simulation.network().now().monotonic_ms, start_ms, "nobody waits for time to pass");
        }
    }
}

#[test]
fn connections_that_move_while_the_server_stops_are_closed_too() {
    for seed in 0..200 {
        let shards = NonZeroUsize::new(2).unwrap();
        let settings = Config { shards, ..config() };
        let mut simulation = Simulation::new(&settings, seed, Faults::default(), Toy::new);
        simulation.set_unrest(Unrest { cut_turns: 2, cut_steps_max: 30, cut_ms_max: 20, moves: 2 });
        let peers: Vec<PeerId> = (0..4).map(|_| simulation.connect()).collect();
        for _ in 0..10 + seed % 10 {
            for peer in &peers {
                simulation.network().write(*peer, b"echo hello\n").unwrap();
            }
            simulation.step();
        }
        simulation.handle().stop(Stop::Gracefully);
        while simulation.step() != Stepped::Stopped {}
        assert_eq!(simulation.network().open_streams(), 0, "seed {seed}: streams are held by nobody");
        assert_eq!(simulation.connections(), 0, "seed {seed}");
    }
}

#[test]
fn no_shard_ends_or_spins_while_another_has_begun_something() {
    for (how, seed) in (0..20).flat_map(|seed| [(Stop::Gracefully, seed), (Stop::HandOver, seed)]) {
        let shards = NonZeroUsize::new(3).unwrap();
        let settings = Config { shards, drain_ms: 5000, hand_over_ms: 5000, ..config() };
        let mut simulation = Simulation::new(&settings, seed, Faults::default(), Toy::new);
        let peer = simulation.connect();
        simulation.network().write(peer, b"tick 500\n").unwrap();
        simulation.network().finish(peer);
        settle(&mut simulation, &[]);
        let handle = simulation.handle();
        let turns = || handle.stats().iter().map(|stats| stats.turns.get()).collect::<Vec<_>>();
        let begun_ms = simulation.network().now().monotonic_ms;
        handle.stop(how);
        settle(&mut simulation, &[]);
        let stopping = turns();
        // Asked again, all are woken.
        handle.stop(how);
        settle(&mut simulation, &[]);
        let woken = turns();
        assert!(
            woken.iter().zip(&stopping).all(|(woken, before)| woken > before),
            "seed {seed}: one has ended"
        );
        let busy = handle.stats().iter().position(|stats| stats.connections.get() == 1).unwrap();
        while simulation.step() != Stepped::Stopped {}
        let waited_ms = simulation.network().now().monotonic_ms - begun_ms;
        assert!((500..600).contains(&waited_ms), "seed {seed}, {how:?}: {waited_ms} ms");
        let idle = turns().into_iter().zip(woken).enumerate().filter(|(shard, _)| *shard != busy);
        let waiting: Vec<u64> = idle.map(|(_, (ended, woken))| ended - woken).collect();
        assert!(waiting.iter().all(|turns| *turns < 5), "seed {seed}, {how:?}: {waiting:?} turns");
    }
}

#[test]
fn what_waits_for_memory_still_sends_and_goes_on_when_that_has_given_some_back() {
    let settings = Config { buffer_bytes_max: 32 * 1024, ..config() };
    let faults = Faults { capacity_bytes: 1024, ..Faults::default() };
    let mut simulation = Simulation::new(&settings, 1, faults, Toy::new);
    let network = simulation.network().clone();
    let peer = simulation.connect();
    // Below what the output may hold, so that the next request is asked for.
    network.write(peer, b"repeat 4000 a line\n").unwrap();
    settle(&mut simulation, &[]);
    assert!(simulation.is_short_of_memory());
    network.write(peer, b"echo more\n").unwrap();
    settle(&mut simulation, &[]);
    let mut received = Vec::new();
    loop {
        let some = settle(&mut simulation, &[peer]).remove(0);
        if some.is_empty() {
            break;
        }
        received.extend(some);
    }
    assert!(String::from_utf8(received).unwrap() == "a line\n".repeat(4000) + "more\n");
}

/// What a connection may receive into the service's space in one turn.
const SHARE_BYTES: usize = 128 * 1024;

#[test]
fn a_value_that_comes_whole_behind_its_request_is_served_however_it_meets_the_share_of_a_turn() {
    let faults = Faults { capacity_bytes: 4 * SHARE_BYTES, ..Faults::default() };
    for shares in 1..=3 {
        for len in shares * SHARE_BYTES - 1..=shares * SHARE_BYTES + 1 {
            let mut simulation = Simulation::new(&config(), 1, faults, Toy::new);
            let peer = simulation.connect();
            let network = simulation.network().clone();
            network.write(peer, format!("store {len} {len}\n").as_bytes()).unwrap();
            settle(&mut simulation, &[]);
            assert_eq!(network.write(peer, &vec![1; len]).unwrap(), len);
            let received = settle(&mut simulation, &[peer]).remove(0);
            assert_eq!(String::from_utf8(received).unwrap(), format!("stored {len} sum {len}\n"));
        }
    }
}

#[test]
fn a_turn_of_a_hand_over_copies_a_bounded_part_and_who_waits_for_another_is_not_late() {
    let len = 3 * 1024 * 1024;
    let settings = Config { buffer_bytes_max: 64 * len, hand_over_ms: 0, ..config() };
    let faults = Faults { capacity_bytes: 64 * 1024, ..Faults::default() };
    let mut simulation = Simulation::new(&settings, 1, faults, Toy::new);
    let network = simulation.network().clone();
    let peers: Vec<PeerId> = (0..8).map(|_| simulation.connect()).collect();
    let request = [format!("store {len}\n").as_bytes(), &vec![1; len]].concat();
    let mut sent = 0;
    while sent < request.len() {
        sent += network.write(peers[0], &request[sent..]).unwrap();
        settle(&mut simulation, &[]);
    }
    for peer in &peers {
        network.write(*peer, b"load\n").unwrap();
    }
    settle(&mut simulation, &peers);
    simulation.hand_over();
    let mut before = simulation.connections();
    assert_eq!(before, peers.len());
    let mut has_stopped = false;
    while !has_stopped {
        has_stopped = simulation.step() == Stepped::Stopped;
        let left = simulation.connections();
        assert!(before - left <= 1, "{before} connections, and {left} after a turn");
        before = left;
    }
    assert_eq!(simulation.take_handed().connections(), peers.len());
}
