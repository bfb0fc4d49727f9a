//! A graceful stop: each connection finishes what it has begun, and no more.
//!
//! A peer that sends one request behind the other always has begun one. So the end of a connection is when all that it
//! had begun at the stop has been answered: what it has sent since then, or a part of it, is dropped. What was answered
//! last may still be on its way, and would be lost if the connection were reset for its unread input: whoever has been
//! served lately is given time to read it.

use mm_base::Now;
use mm_base::slab::Key;
use mm_runtime::driver::Driver;

use super::{Connection, Engine, Marks};
use crate::Service;
use crate::connection::Want;

impl<C> Connection<C> {
    /// Nothing has begun that a graceful stop would cut short.
    fn is_between_requests<D: Driver>(&self, driver: &D) -> bool {
        let waits = self.marks.has(Marks::QUEUED | Marks::STARVED);
        let is_busy = waits || self.has_output() || self.machine.has_carry();
        self.machine.want() == Want::Input
            && !is_busy
            && !self.marks.has(Marks::LINGERS)
            && !driver.has_rest(self.stream)
    }

    /// Whether all that it had begun when a graceful stop began has been answered.
    pub(super) fn has_finished(&self) -> bool {
        self.marks.has(Marks::FINISHED) && self.machine.want() == Want::Input
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Closes the connections that are between two requests.
    pub(super) fn close_idle(&mut self, driver: &mut D, now: Now) {
        for place in 0..self.connections.places() {
            let Some(key) = self.connections.key_at(place) else { continue };
            let Some(connection) = self.connections.get(key) else { continue };
            if connection.is_between_requests(driver) {
                let quiet_ms = now.monotonic_ms.saturating_sub(connection.progress_ms);
                self.close_drained(driver, key, quiet_ms < self.config.linger_ms, now);
            }
        }
    }

    /// Ends a connection for a graceful stop; one that was served `lately` may have to linger.
    pub(super) fn close_drained(&mut self, driver: &mut D, key: Key, lately: bool, now: Now) {
        if lately {
            self.close_or_linger(driver, key, now);
        } else {
            self.close(driver, key);
        }
    }
}
