//! An example in virtual time: the echo service on several shards, while the network delays, cuts and breaks.

use std::num::NonZeroUsize;

use mainmemory::Config;
use mainmemory::base::choice::Choices;
use mainmemory::runtime::driver::Received;
use mainmemory::runtime::driver::sim::{Faults, Happened, PeerId};
use mainmemory::server::Stop;
use mainmemory::server::simulation::{Simulation, Stepped};

use crate::clients::echo_service::Echo;

/// What each client sends, in bytes.
const SENT_BYTES: usize = 4000;

/// What a seed's run has shown.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// What each client has got back before it was cut off, if it was.
    echoes: Vec<Vec<u8>>,
    happened: Happened,
    virtual_ms: u64,
}

/// A client that sends its bytes and receives.
struct Client {
    peer: PeerId,
    text: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Reset,
}

impl Client {
    fn act(&mut self, simulation: &Simulation<Echo>, choices: &mut Choices) {
        let network = simulation.network();
        let part = choices.index(200).min(self.text.len() - self.sent);
        match network.write(self.peer, &self.text[self.sent..self.sent + part]) {
            Ok(taken) => self.sent += taken,
            Err(_) => self.ended = Some(End::Reset),
        }
        match network.read(self.peer, 1 + choices.index(300)) {
            Ok(Received::Bytes(bytes)) => self.received.extend(bytes),
            Ok(Received::End) => self.ended = Some(End::InOrder),
            Ok(Received::Blocked) => {}
            Err(_) => self.ended = Some(End::Reset),
        }
        assert!(self.text.starts_with(&self.received), "an echo is what was sent, in its order");
        if self.received.len() == SENT_BYTES {
            network.finish(self.peer);
        }
    }
}

fn run(seed: u64) -> Run {
    let mut choices = Choices::new(seed);
    let config = Config { shards: NonZeroUsize::new(3).unwrap(), signals: false, ..Config::default() };
    let faults = Faults {
        delay_ms_max: 20,
        capacity_bytes: 500,
        short_receives: 3,
        short_sends: 3,
        spurious_events: 4,
        failed_accepts: 4,
        resets: 300,
        ..Faults::default()
    };
    let mut simulation = Simulation::new(&config, seed, faults, |_start| Echo);
    let mut clients: Vec<Client> = (0..12)
        .map(|_| Client {
            peer: simulation.connect(),
            text: (0..SENT_BYTES).map(|_| b'a' + u8::try_from(choices.below(26)).unwrap()).collect(),
            sent: 0,
            received: Vec::new(),
            ended: None,
        })
        .collect();
    while clients.iter().any(|client| client.ended.is_none()) {
        let open = clients.iter_mut().filter(|client| client.ended.is_none());
        open.for_each(|client| client.act(&simulation, &mut choices));
        let now_ms = simulation.network().now().monotonic_ms;
        assert_ne!(simulation.step_until(now_ms + 1), Stepped::Spinning);
        assert!(now_ms < 600_000, "seed {seed}: clients wait for their echoes");
    }
    for client in &clients {
        if client.ended == Some(End::InOrder) {
            assert_eq!(client.received, client.text, "seed {seed}: an echo was cut short");
        }
        simulation.network().release(client.peer);
    }
    simulation.handle().stop(Stop::Gracefully);
    while simulation.step() != Stepped::Stopped {}
    assert_eq!((simulation.buffered_bytes(), simulation.network().open_streams()), (0, 0), "seed {seed}");
    let happened = simulation.network().happened();
    let virtual_ms = simulation.network().now().monotonic_ms;
    Run { echoes: clients.into_iter().map(|client| client.received).collect(), happened, virtual_ms }
}

#[test]
fn the_echo_service_echoes_whatever_the_network_does() {
    let (mut whole, mut failed_accepts) = (0, 0);
    for seed in 0..30 {
        let Run { echoes, happened, .. } = run(seed);
        whole += echoes.iter().filter(|echo| echo.len() == SENT_BYTES).count();
        assert!(happened.short_receives > 0 && happened.short_sends > 0, "seed {seed}: {happened:?}");
        assert!(happened.spurious_events > 0, "seed {seed}: {happened:?}");
        failed_accepts += happened.failed_accepts;
    }
    assert!(failed_accepts > 0, "no accept has failed");
    assert!(
        (100..360).contains(&whole),
        "some of the 360 connections are reset, most are not: {whole} were not"
    );
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
