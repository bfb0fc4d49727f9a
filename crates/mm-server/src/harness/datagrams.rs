//! Datagrams without sockets.

use mm_base::buffer::Output;
use mm_base::slab::Key;

use super::Harness;
use crate::connection::Context;
use crate::datagrams::{Desk, Framing, handle};
use crate::{Address, Peer, Service, Token};

impl<S: Service> Harness<S> {
    /// Sends a datagram and returns those that are answered. A panic of the service counts as no answer.
    pub fn exchange_datagram(&mut self, framing: &dyn Framing, datagram: &[u8]) -> Vec<Vec<u8>> {
        let peer = Peer {
            token: Token(Key::reserved(0)),
            address: Address::Ip(([127, 0, 0, 1], 40_000).into()),
            listener: 1,
            is_datagram: true,
        };
        let mut answered = Vec::new();
        let mut output = Output::new(&self.pool, self.output_cap);
        let context = Context { pool: &self.pool, now: self.now };
        let mut desk = Desk { framing, context, output: &mut output, scratch: &mut Vec::new() };
        let send = |bytes: &[u8]| {
            answered.push(bytes.to_vec());
            true
        };
        handle(&mut self.service, &peer, datagram, &mut desk, send);
        self.settle();
        answered
    }
}
