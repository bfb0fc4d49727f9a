//! Ending a connection whose peer still sends.
//!
//! A socket closed with unread input resets the connection, and a reset overtakes what was sent before it: the peer
//! would never read why it was sent away. So the output is ended first, and what the peer still sends is dropped
//! for a while.

use mm_base::Now;
use mm_base::slab::Key;
use mm_runtime::driver::{Driver, Received};
use mm_runtime::shard::Next;

use super::{Engine, Marks};
use crate::Service;
use crate::limits::DISCARDS_PER_TURN_MAX;

impl<S: Service, D: Driver> Engine<S, D> {
    /// Closes a connection, or, where it has input that nobody will read, ends its output and keeps it for a while.
    pub(super) fn close_or_linger(&mut self, driver: &mut D, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.marks.has(Marks::LINGERS) {
            return;
        }
        // A peer that may send any time, too, where a stop is what ends it.
        let sends =
            connection.machine.has_leftover() || self.drains || driver.may_have_input(connection.stream);
        if self.config.linger_ms == 0 || !sends || driver.shutdown_output(connection.stream).is_err() {
            return self.close(driver, key);
        }
        connection.marks.set(Marks::LINGERS);
        self.stats().lingered.add(1);
        self.lingering.push_back((now.monotonic_ms.saturating_add(self.config.linger_ms), key));
        self.enqueue(key, 0);
    }

    /// Drops what has come for a connection that lingers, and closes it when its peer has finished.
    pub(super) fn discard(&mut self, driver: &mut D, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let stream = connection.stream;
        let mut space = [0; 4096];
        for _ in 0..DISCARDS_PER_TURN_MAX {
            match driver.receive_into(stream, &mut space) {
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Blocked) => return,
                Ok(Received::End) | Err(_) => return self.close(driver, key),
            }
        }
        self.enqueue(key, 0);
    }

    /// Closes the connections that have lingered long enough.
    pub(super) fn end_lingering(&mut self, driver: &mut D, now: Now) -> Next {
        while let Some(&(until_ms, key)) = self.lingering.front() {
            if until_ms > now.monotonic_ms && self.connections.get(key).is_some() {
                return Next::At(until_ms);
            }
            self.lingering.pop_front();
            self.close(driver, key);
        }
        Next::Never
    }
}
