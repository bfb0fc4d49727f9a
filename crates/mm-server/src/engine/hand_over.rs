//! Connections that leave for another server, or come from one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::slab::Key;
use mm_runtime::driver::Driver;

use super::{Connection, Engine, Marks};
use crate::Service;
use crate::connection::Want;
use crate::exchange::Arrival;
use crate::hand_over::Packed;

impl<S: Service, D: Driver> Engine<S, D> {
    /// Leaves the listeners, sends the connections off that are between two requests, and closes the others when
    /// it is high time. `true` when there are none left.
    pub(super) fn hand_over(&mut self, driver: &mut D, is_overdue: bool) -> bool {
        let have_left = self.leave_listeners(driver);
        if is_overdue && !have_left {
            self.close_listeners(driver);
        }
        for place in 0..self.connections.places() {
            let Some(key) = self.connections.key_at(place) else { continue };
            if !self.send_off(driver, key) && is_overdue {
                let has_finished = self.connections.get(key).is_some_and(|it| it.marks.has(Marks::LINGERS));
                self.stats().drain_timeouts.add(u64::from(!has_finished));
                self.cut(driver, key);
            }
        }
        // Another shard may just have given this one some.
        self.listeners.are_closed()
            && self.connections.is_empty()
            && self.exchange.is_empty(self.shard)
            && self.handled.as_ref().is_none_or(|_| is_overdue)
    }

    /// Sends a connection off, if it can be: its service is between two requests. What of its output was not sent goes
    /// with it, copied where it is pinned.
    fn send_off(&mut self, driver: &mut D, key: Key) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        if connection.marks.has(Marks::LINGERS)
            || !matches!(connection.machine.want(), Want::Input | Want::Drain)
        {
            return false;
        }
        let (service, state) = (&self.service, connection.machine.state());
        let Ok(packed) = catch_unwind(AssertUnwindSafe(|| service.pack(state))) else {
            self.end_panicked(driver, key);
            return true;
        };
        let Some(state) = packed else { return false };
        let Some((socket, peer)) = driver.release(connection.stream) else { return false };
        let Some(mut connection) = self.connections.remove(key) else { return false };
        let mut packed =
            Packed { state, input: connection.machine.kept_input().to_vec(), output: Vec::new() };
        if let Some(mut output) = connection.output.take() {
            output.drain_into(&mut packed.output);
            self.outputs.put(output);
        }
        let Connection { machine, origin, listener, .. } = connection;
        let (listener, packed) = (listener as usize, Some(Box::new(packed)));
        self.exchange.send_off(Arrival { socket, peer, origin: None, listener, luggage: None, packed });
        self.disconnect(machine.into_state());
        self.stats().connections.sub(1);
        self.left(origin);
        true
    }

    /// Goes on with a connection that has come from another server with this output.
    pub(super) fn go_on(&mut self, key: Key, unsent: &[u8]) {
        if !unsent.is_empty() {
            let mut output = self.outputs.take();
            output.write(unsent);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.output = Some(output);
                connection.marks.set(Marks::BLOCKED);
            }
        }
        self.enqueue(key, Marks::WOKEN);
    }
}
