//! The driver on a simulated network, kind and unkind.

use mm_runtime::driver::Received;
use mm_runtime::driver::sim::{Faults, Network, PeerId, Port, SimDriver};

use crate::suite::World;

/// A network of one driver, whose peers read and write as a blocking socket would: time passes while they wait.
struct Sim {
    network: Network,
    driver: SimDriver,
    port: Option<Port>,
}

impl Sim {
    fn make(small_buffers: bool, faults: Faults) -> Self {
        let capacity_bytes = if small_buffers { 5000 } else { 1 << 20 };
        let network = Network::new(7, Faults { capacity_bytes, ..faults });
        let driver = network.driver(true);
        Self { network, driver, port: None }
    }

    fn pass_time(&self) {
        let next = self.network.next_ms().unwrap_or_else(|| self.network.now().monotonic_ms + 1);
        self.network.advance_to(next);
    }
}

impl World for Sim {
    type Driver = SimDriver;
    type Peer = PeerId;

    fn new(small_buffers: bool) -> Self {
        Self::make(small_buffers, Faults::default())
    }

    fn driver(&mut self) -> &mut SimDriver {
        &mut self.driver
    }

    fn listener(&mut self) -> Port {
        let port = self.network.port();
        self.port = Some(port);
        port
    }

    fn connect(&mut self) -> PeerId {
        self.network.connect(self.port.unwrap())
    }

    fn write(&mut self, peer: &mut PeerId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.network.write(*peer, bytes).unwrap();
            bytes = &bytes[taken..];
        }
    }

    fn read(&mut self, peer: &mut PeerId, bytes: usize) -> Vec<u8> {
        loop {
            match self.network.read(*peer, bytes).unwrap() {
                Received::Bytes(bytes) => return bytes,
                Received::End => return Vec::new(),
                Received::Blocked => self.pass_time(),
            }
        }
    }

    fn finish(&mut self, peer: &mut PeerId) {
        self.network.finish(*peer);
    }

    fn reset(&mut self, peer: PeerId) {
        self.network.reset(peer);
    }
}

mod kind {
    crate::driver_suite!(super::Sim);
    crate::driver_suite! { super::Sim:
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

/// The same, with delays, short receives and sends, and events without cause.
struct Unkind(Sim);

impl World for Unkind {
    type Driver = SimDriver;
    type Peer = PeerId;

    fn new(small_buffers: bool) -> Self {
        let faults = Faults {
            delay_ms_max: 5,
            short_receives: 3,
            short_sends: 3,
            spurious_events: 4,
            ..Faults::default()
        };
        Self(Sim::make(small_buffers, faults))
    }

    fn driver(&mut self) -> &mut SimDriver {
        self.0.driver()
    }

    fn listener(&mut self) -> Port {
        self.0.listener()
    }

    fn connect(&mut self) -> PeerId {
        self.0.connect()
    }

    fn write(&mut self, peer: &mut PeerId, bytes: &[u8]) {
        self.0.write(peer, bytes);
    }

    fn read(&mut self, peer: &mut PeerId, bytes: usize) -> Vec<u8> {
        self.0.read(peer, bytes)
    }

    fn finish(&mut self, peer: &mut PeerId) {
        self.0.finish(peer);
    }

    fn reset(&mut self, peer: PeerId) {
        self.0.reset(peer);
    }
}

mod unkind {
    // Without the tests that expect a short message to go in one piece, or no event where there is no cause.
    crate::driver_suite! { super::Unkind:
        input_is_not_announced_twice_and_not_lost
        a_reset_is_an_error_and_not_an_end
        a_peer_that_does_not_read_blocks_and_resumes
        pinned_and_copied_bytes_keep_their_order
        sending_to_a_peer_that_is_gone_is_an_error
        a_wake_ends_the_wait
        a_wait_ends_in_time
    }
}
