//! What several tests serve that have a process of their own.

use mm_base::Now;
use mm_base::buffer::Output;
use mm_server::{Peer, Service, Step};

/// Answers with what it is sent.
pub(crate) struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        output.write(input);
        Step::Read { consumed: input.len() }
    }
}
