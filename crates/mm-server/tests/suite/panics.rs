//! A panic of the service's own work ends nothing.

use std::sync::mpsc::channel;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::Faults;
use mm_server::limits::BACKGROUND_PAUSE_MS;
use mm_server::simulation::{Simulation, Stepped};
use mm_server::{Background, Config, Log, Peer, Service, Step, Stop};

use crate::running::{PATIENCE, config};

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
