//! A shard's sockets for datagrams.

use std::net::SocketAddr;

use mm_base::Now;
use mm_base::slab::Key;
use mm_runtime::driver::{Driver, Owner, SourceId};
use mm_runtime::shard::Next;

use super::Engine;
use crate::connection::Context;
use crate::datagrams::{Desk, Framing, handle, is_plausible};
use crate::limits::{ACCEPT_PAUSE_MS, DATAGRAM_BYTES_MAX, DATAGRAMS_PER_TURN_MAX};
use crate::{Address, Peer, Service, Token};

/// The numbers that name sockets for datagrams to the engine begin here; those below are listeners'.
pub(super) const FIRST: u32 = 1 << 16;

/// The sockets, and what their datagrams are handled with.
#[derive(Default)]
pub(super) struct Datagrams {
    list: Vec<Bound>,
    /// Where a datagram is received to. Empty without sockets.
    space: Box<[u8]>,
    scratch: Vec<u8>,
    /// Nothing is received before this time, because receiving has failed.
    paused_until_ms: Option<u64>,
}

struct Bound {
    source: SourceId,
    framing: &'static dyn Framing,
    /// Its own port.
    port: u16,
    /// Which of the server's listeners it is.
    number: usize,
    /// A datagram may wait in it.
    ready: bool,
}

impl Datagrams {
    /// Datagrams may have come.
    pub(super) fn arrived(&mut self, number: u32) {
        if let Some(bound) = number.checked_sub(FIRST).and_then(|place| self.list.get_mut(place as usize)) {
            bound.ready = true;
        }
    }

    /// Gives up the sockets.
    pub(super) fn close_all<D: Driver>(&mut self, driver: &mut D) {
        for bound in self.list.drain(..) {
            driver.close(bound.source);
        }
    }

    /// When to receive again.
    pub(super) fn next(&self, now: Now) -> Next {
        if !self.list.iter().any(|bound| bound.ready) {
            return Next::Never;
        }
        match self.paused_until_ms {
            Some(time) if time > now.monotonic_ms => Next::At(time),
            _ => Next::Now,
        }
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Takes over a socket for datagrams, which are framed so. `port` is its own, `number` its place among the server's
    /// listeners.
    pub(crate) fn add_datagrams(
        &mut self,
        driver: &mut D,
        socket: D::Listener,
        (framing, port, number): (&'static dyn Framing, u16, usize),
    ) -> std::io::Result<()> {
        let place = u32::try_from(self.datagrams.list.len()).unwrap_or(u32::MAX);
        let source = driver.add_datagrams(socket, Owner::Work(Key::reserved(FIRST.saturating_add(place))))?;
        self.datagrams.list.push(Bound { source, framing, port, number, ready: false });
        if self.datagrams.space.is_empty() {
            self.datagrams.space = vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
        }
        Ok(())
    }

    /// Answers the datagrams that have come, within a turn's bound.
    pub(super) fn serve_datagrams(&mut self, driver: &mut D, now: Now) {
        if self.datagrams.next(now) != Next::Now {
            return;
        }
        let mut datagrams = std::mem::take(&mut self.datagrams);
        datagrams.paused_until_ms = None;
        for bound in datagrams.list.iter_mut().filter(|bound| bound.ready) {
            for _ in 0..DATAGRAMS_PER_TURN_MAX {
                match driver.receive_datagram(bound.source, &mut datagrams.space) {
                    Ok(Some((bytes, from))) => {
                        let datagram = &datagrams.space[..bytes];
                        self.answer(driver, (bound, &mut datagrams.scratch), (datagram, from), now);
                    }
                    Ok(None) => {
                        bound.ready = false;
                        break;
                    }
                    Err(_) => {
                        self.stats().socket_errors.add(1);
                        datagrams.paused_until_ms = Some(now.monotonic_ms + ACCEPT_PAUSE_MS);
                        break;
                    }
                }
            }
        }
        self.datagrams = datagrams;
    }

    fn answer(
        &mut self,
        driver: &mut D,
        (bound, scratch): (&Bound, &mut Vec<u8>),
        (datagram, from): (&[u8], SocketAddr),
        now: Now,
    ) {
        let stats = &self.control.stats[self.shard];
        stats.datagrams_received.add(1);
        stats.bytes_read.add(u64::try_from(datagram.len()).unwrap_or(u64::MAX));
        if !is_plausible(from, bound.port) || !self.pool.has_room() {
            return stats.datagrams_refused.add(1);
        }
        let peer = Peer {
            token: Token(Key::reserved(0)),
            address: Address::Ip(from),
            listener: bound.number,
            is_datagram: true,
        };
        let mut output = self.outputs.take();
        let context = Context { pool: &self.pool, now };
        let mut desk = Desk { framing: bound.framing, context, output: &mut output, scratch };
        let send = |bytes: &[u8]| matches!(driver.send_datagram(bound.source, bytes, from), Ok(true));
        let handled = handle(&mut self.service, &peer, datagram, &mut desk, send);
        self.outputs.put(output);
        stats.runs.add(1);
        stats.datagrams_refused.add(u64::from(handled.refused));
        stats.panics.add(u64::from(handled.panicked));
        stats.datagrams_sent.add(handled.sent);
        stats.datagrams_unsent.add(handled.unsent);
        stats.bytes_written.add(handled.sent_bytes);
    }
}
