//! Streams that another driver takes over.

use std::os::fd::OwnedFd;

use super::UringDriver;
use super::source::Marks;
use crate::driver::{Address, SourceId};
use crate::sys::socket;
use crate::sys::uring::{Operation, Tag};

impl UringDriver {
    /// Gives a stream up, unless something is on its way.
    pub(super) fn let_go(&mut self, stream: SourceId) -> Option<(OwnedFd, Address)> {
        let round = self.round.number();
        let source = self.sources.get_mut(stream.0)?;
        if !source.is_at_rest() {
            return None;
        }
        if source.marks.has(Marks::RECEIVING) {
            // What it receives until it has been stopped belongs to this driver. That is asked for at once, along with
            // a send under way: the answer to that would else be here each time that it could be.
            if !source.marks.has(Marks::PAUSING) {
                self.ring.cancel(Tag::new(Operation::Receive, stream.0));
            }
            source.marks.set(Marks::PAUSING | Marks::LEAVING);
            return None;
        }
        if source.sent_in == round {
            return None;
        }
        let Some(address) = socket::peer_address(&source.socket) else {
            // It has been reset since its receiving was stopped, of which the next receive tells.
            self.await_input(stream.0);
            return None;
        };
        Some((self.take_out(stream)?.socket, address))
    }

    /// The same, also where the kernel had no room for the end of what was taken to be sent, which comes along.
    pub(super) fn let_go_with_rest(&mut self, stream: SourceId) -> Option<(OwnedFd, Address, Vec<u8>)> {
        let extra = self.sources.get_mut(stream.0)?.extra.as_mut();
        let rest = extra.map(|extra| std::mem::take(&mut extra.rest)).unwrap_or_default();
        if let Some((socket, peer)) = self.let_go(stream) {
            return Some((socket, peer, rest));
        }
        // The wait for room goes on.
        if let Some(extra) = &mut self.sources.get_mut(stream.0)?.extra {
            extra.rest = rest;
        }
        None
    }
}
