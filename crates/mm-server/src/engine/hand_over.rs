//! Connections that leave for another server, or come from one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::buffer::Size;
use mm_base::slab::Key;
use mm_runtime::driver::Driver;
use mm_runtime::limits::COPY_BYTES_MAX;

use super::{Connection, Engine, Marks};
use crate::connection::Want;
use crate::exchange::Arrival;
use crate::hand_over::Packed;
use crate::limits::{CARRIED_BYTES_PER_TURN_MAX, CARRIED_LONG_SHARE, INPUT_BYTES_MAX};
use crate::{Config, Service};

/// How far a shard is with a hand-over.
#[derive(Debug, Default)]
pub(super) struct HandingOver {
    /// Turns that it has taken so far.
    pub(super) turns: u32,
    /// What the connections that were sent off take along, as the next server's buffers will hold it.
    taken_bytes: usize,
    /// What was copied for that in this turn.
    copied_bytes: usize,
}

/// What has become of a connection that is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    /// It has left, or ended.
    Gone,
    /// It can leave, in a later turn.
    Later,
    /// It cannot leave as it is.
    Stays,
}

impl HandingOver {
    /// Whether another connection may leave with so many bytes, where those of all may take `part_bytes`. The next
    /// server has to hold in buffers what lay pinned here at no cost, and to serve others besides: so those with more
    /// than an output has at a time by itself have a share of it only.
    fn may_take(&self, bytes: usize, part_bytes: usize, config: &Config) -> bool {
        let is_long = bytes > config.output_cap_bytes.saturating_add(INPUT_BYTES_MAX);
        let allowed = if is_long { part_bytes / CARRIED_LONG_SHARE } else { part_bytes };
        bytes == 0 || held_bytes(bytes).saturating_add(self.taken_bytes) <= allowed
    }

    /// Whether so many bytes can be copied in this turn, which does not go on for long.
    fn has_time_for(&self, bytes: usize) -> bool {
        self.copied_bytes == 0 || self.copied_bytes.saturating_add(bytes) <= CARRIED_BYTES_PER_TURN_MAX
    }

    fn take(&mut self, bytes: usize) {
        self.taken_bytes += held_bytes(bytes);
        self.copied_bytes += bytes;
    }
}

/// What buffers with so many bytes take.
fn held_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(Size::fitting(bytes).bytes())
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Leaves the listeners, sends the connections off that are between two requests and not far behind with reading,
    /// and closes the others when it is high time. `true` when there are none left.
    pub(super) fn hand_over(&mut self, driver: &mut D, is_overdue: bool) -> bool {
        let have_left = self.leave_listeners(driver);
        if is_overdue && !have_left {
            self.close_listeners(driver);
        }
        self.handing_over.copied_bytes = 0;
        for place in 0..self.connections.places() {
            let Some(key) = self.connections.key_at(place) else { continue };
            if self.send_off(driver, key) == Departure::Stays && is_overdue {
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
    fn send_off(&mut self, driver: &mut D, key: Key) -> Departure {
        let Some(connection) = self.connections.get(key) else { return Departure::Gone };
        if connection.marks.has(Marks::LINGERS)
            || !matches!(connection.machine.want(), Want::Input | Want::Drain)
        {
            return Departure::Stays;
        }
        let unsent_bytes = connection.output.as_ref().map_or(0, |output| output.len());
        let rest_bytes = if driver.has_rest(connection.stream) { COPY_BYTES_MAX } else { 0 };
        let bytes = connection.machine.kept_input().len() + unsent_bytes + rest_bytes;
        if !self.handing_over.may_take(bytes, self.pool.limit_bytes(), &self.config) {
            mm_base::mark!("too much to be handed over");
            return Departure::Stays;
        }
        if !self.handing_over.has_time_for(bytes) {
            return Departure::Later;
        }
        let (service, state) = (&self.service, connection.machine.state());
        let Ok(packed) = catch_unwind(AssertUnwindSafe(|| service.pack(state))) else {
            self.end_panicked(driver, key);
            return Departure::Gone;
        };
        let Some(state) = packed else { return Departure::Stays };
        let released = driver.release_with_rest(connection.stream);
        let Some((socket, peer, rest)) = released else { return Departure::Stays };
        let Some(mut connection) = self.connections.remove(key) else { return Departure::Gone };
        self.handing_over.take(bytes);
        let input = connection.machine.kept_input().to_vec();
        let mut packed = Packed { state, input, output: rest };
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
        Departure::Gone
    }

    /// Goes on with a connection that has come from another server with this output.
    pub(super) fn go_on(&mut self, key: Key, unsent: &[u8]) {
        if !unsent.is_empty() {
            let mut output = self.outputs.take();
            output.write(unsent);
            output.shrink();
            if let Some(connection) = self.connections.get_mut(key) {
                connection.output = Some(output);
                connection.marks.set(Marks::BLOCKED);
            }
        }
        self.enqueue(key, Marks::WOKEN);
    }
}
