//! Listeners, and the connections that come through them.

use std::collections::VecDeque;
use std::hint::cold_path;

use mm_base::Now;
use mm_base::slab::Key;
use mm_base::{canary, mark};
use mm_runtime::driver::{AcceptFailure, Driver, Owner, SourceId};
use mm_runtime::shard::Next;

use super::Engine;
use crate::Service;
use crate::exchange::Arrival;
use crate::limits::{ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN_MAX};

/// A shard's listeners.
#[derive(Debug)]
pub(super) struct Listeners<T> {
    list: Vec<Listening>,
    /// Nothing is accepted before this time, because resources have run out.
    paused_until_ms: Option<u64>,
    /// Since when nothing is accepted.
    paused_since_ms: Option<u64>,
    /// Come from another server, and to be admitted as if they came now.
    carried: Vec<Arrival<T>>,
    /// Beyond the limit of connections, and the first to be served when there is a place. Until then nothing is
    /// accepted, so that these are at most one and those that have come from another server.
    waiting: VecDeque<Arrival<T>>,
    /// A place may have become free since it waits.
    place_free: bool,
}

impl<T> Default for Listeners<T> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            paused_until_ms: None,
            paused_since_ms: None,
            carried: Vec::new(),
            waiting: VecDeque::new(),
            place_free: false,
        }
    }
}

#[derive(Debug)]
struct Listening {
    source: SourceId,
    /// A connection may wait in it.
    ready: bool,
    /// It has been closed, since another server listens.
    left: bool,
}

impl<T> Listeners<T> {
    /// Whether there is nothing to accept, to admit or to take note of.
    fn are_quiet(&self) -> bool {
        let are_open = self.paused_until_ms.is_none() && self.paused_since_ms.is_none();
        let is_idle = self.carried.is_empty() && self.waiting.is_empty() && !self.place_free;
        are_open && is_idle && !self.list.iter().any(|listening| listening.ready)
    }

    /// Connections may have come.
    pub(super) fn arrived(&mut self, listener: u32) {
        if let Some(listening) = self.list.get_mut(listener as usize) {
            listening.ready = true;
        }
    }

    /// There is a place for another connection.
    pub(super) fn place_free(&mut self) {
        self.place_free = true;
    }

    /// Stops listening, since another server does, as far as that can be done now. Gives those that go there: they have
    /// waited for a place, or been accepted ahead.
    fn leave_all<D: Driver<Socket = T>>(&mut self, driver: &mut D) -> Vec<Arrival<T>> {
        let mut arrivals: Vec<_> = self.waiting.drain(..).chain(self.carried.drain(..)).collect();
        for (number, listening) in self.list.iter_mut().enumerate().filter(|(_, listening)| !listening.left) {
            let Some(accepted) = driver.leave_listener(listening.source) else { continue };
            (listening.left, listening.ready) = (true, false);
            arrivals.extend(accepted.into_iter().map(|(socket, peer)| Arrival::new(socket, peer, number)));
        }
        if self.list.iter().all(|listening| listening.left) {
            self.list.clear();
        }
        arrivals
    }

    /// Whether there is none any more.
    pub(super) fn are_closed(&self) -> bool {
        self.list.is_empty()
    }

    /// Stops listening. Gives those that have waited for a place in vain.
    pub(super) fn close_all<D: Driver<Socket = T>>(&mut self, driver: &mut D) -> VecDeque<Arrival<T>> {
        for listening in self.list.drain(..).filter(|listening| !listening.left) {
            driver.close(listening.source);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(self.carried.drain(..));
        waiting
    }

    /// When to accept again.
    pub(super) fn next(&self, now: Now) -> Next {
        if !self.waiting.is_empty() {
            // Whatever shard gives a place back when there is none wakes all.
            return if self.place_free { Next::Now } else { Next::Never };
        }
        if !self.list.iter().any(|listening| listening.ready) {
            return Next::Never;
        }
        match self.paused_until_ms {
            Some(time) if time > now.monotonic_ms => Next::At(time),
            _ => Next::Now,
        }
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Takes over a listening socket.
    pub(crate) fn add_listener(&mut self, driver: &mut D, listener: D::Listener) -> std::io::Result<()> {
        let number = u32::try_from(self.listeners.list.len()).unwrap_or(u32::MAX);
        let source = driver.add_listener(listener, Owner::Work(Key::reserved(number)))?;
        self.listeners.list.push(Listening { source, ready: false, left: false });
        Ok(())
    }

    /// Takes in connections from another server for which [`take_up`](crate::hand_over::take_up) has found no place,
    /// as any that come.
    pub(crate) fn take_in(&mut self, carried: Vec<Arrival<D::Socket>>) {
        self.listeners.carried = carried;
    }

    /// Accepts what has come, within a turn's bound.
    pub(super) fn accept(&mut self, driver: &mut D, now: Now) {
        if self.listeners.are_quiet() {
            return;
        }
        cold_path();
        for arrival in std::mem::take(&mut self.listeners.carried) {
            self.admit(driver, arrival, now);
        }
        self.admit_waiting(driver, now);
        if self.listeners.paused_until_ms.is_some_and(|time| time > now.monotonic_ms) {
            return;
        }
        self.listeners.paused_until_ms = None;
        if self.listeners.waiting.is_empty()
            && let Some(since_ms) = self.listeners.paused_since_ms.take()
        {
            self.stats().accept_resumes.add(1);
            self.stats().accept_paused_ms.add(now.monotonic_ms.saturating_sub(since_ms));
        }
        for number in 0..self.listeners.list.len() {
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                if !self.accept_one(driver, number, now) {
                    break;
                }
            }
        }
    }

    /// Accepts one connection. `false`: no more are to be accepted for now.
    fn accept_one(&mut self, driver: &mut D, number: usize, now: Now) -> bool {
        if self.control.stopping().is_some() {
            // The shard that it would be handed to may have stopped already.
            return false;
        }
        let Some(listening) = self.listeners.list.get_mut(number) else { return false };
        if !listening.ready || self.listeners.paused_since_ms.is_some() {
            return false;
        }
        match driver.accept(listening.source) {
            Ok(Some((socket, peer))) => {
                self.admit(driver, Arrival::new(socket, peer, number), now);
                true
            }
            Ok(None) => {
                listening.ready = false;
                false
            }
            Err(error) => {
                self.stats().accept_errors.add(1);
                let exhausted = AcceptFailure::of(&error) == AcceptFailure::Exhausted;
                if exhausted {
                    mark!("descriptors exhausted");
                    self.listeners.paused_until_ms = Some(now.monotonic_ms + ACCEPT_PAUSE_MS);
                    self.note_pause(now);
                }
                !exhausted
            }
        }
    }

    /// Nothing is accepted from now on.
    fn note_pause(&mut self, now: Now) {
        self.listeners.paused_since_ms = Some(now.monotonic_ms);
        self.stats().accept_pauses.add(1);
    }

    /// Takes in a connection, if its peer may have one more.
    fn admit(&mut self, driver: &mut D, mut arrival: Arrival<D::Socket>, now: Now) {
        if let Some(max) = self.config.connections_per_address_max {
            let Ok(origin) = self.control.note(arrival.peer, max) else {
                mark!("address limit reached");
                self.stats().addresses_rejected.add(1);
                return self.refuse(driver, arrival);
            };
            arrival.origin = origin;
        }
        let Err(arrival) = self.place(driver, arrival, now) else { return };
        mark!("connection limit reached");
        if self.config.refusal.is_some() {
            self.stats().connections_rejected.add(1);
            self.control.forget(arrival.origin);
            self.refuse(driver, arrival);
        } else {
            // Whether there is a place is only known once one has been taken, as other shards take them, too. So
            // this one has been accepted, and closing it would reset a peer that is asked to wait.
            if self.listeners.paused_since_ms.is_none() {
                self.note_pause(now);
            }
            self.listeners.waiting.push_back(arrival);
        }
    }

    /// Tries again to take in those that wait.
    fn admit_waiting(&mut self, driver: &mut D, now: Now) {
        let was_here = std::mem::take(&mut self.listeners.place_free);
        while self.control.stopping().is_none()
            && let Some(arrival) = self.listeners.waiting.pop_front()
        {
            if let Err(arrival) = self.place(driver, arrival, now) {
                self.listeners.waiting.push_front(arrival);
                break;
            }
            if self.listeners.waiting.is_empty() && !was_here {
                mark!("place given back by another shard");
            }
        }
    }

    /// Gives a connection to the shard with the fewest. `Err`: there are as many as there may be.
    fn place(
        &mut self,
        driver: &mut D,
        arrival: Arrival<D::Socket>,
        now: Now,
    ) -> Result<(), Arrival<D::Socket>> {
        match self.control.enter(self.config.connections_max, self.shard) {
            Some(shard) if shard == self.shard => self.open(driver, arrival, now),
            Some(shard) => {
                mark!("connection handed to another shard");
                self.exchange.give(shard, arrival);
                if !canary!("lost wake-up", 4) {
                    self.control.wake(Some(shard));
                }
            }
            None => return Err(arrival),
        }
        Ok(())
    }

    /// Stops listening. Those that wait for a place are told that there is none.
    pub(super) fn close_listeners(&mut self, driver: &mut D) {
        for mut arrival in self.listeners.close_all(driver) {
            self.control.forget(arrival.origin.take());
            self.refuse(driver, arrival);
        }
    }

    /// Leaves the listeners to another server, and those that have not been admitted. `true` when that is done.
    pub(super) fn leave_listeners(&mut self, driver: &mut D) -> bool {
        for mut arrival in self.listeners.leave_all(driver) {
            self.control.forget(arrival.origin.take());
            self.exchange.send_off(arrival);
        }
        self.listeners.are_closed()
    }

    /// Tells a connection above the limit so, and closes it.
    pub(super) fn refuse(&mut self, driver: &mut D, arrival: Arrival<D::Socket>) {
        mark!("connection refused");
        let Ok(stream) = driver.add_stream(arrival.socket, Owner::Task) else { return };
        if let Some(text) = self.config.refusal {
            let mut output = self.outputs.take();
            output.write(text);
            // A new socket takes a line. If the peer is gone already, so is the need to tell it.
            driver.send(stream, &mut *output).ok();
            self.outputs.put(output);
            if mm_runtime::net::linger(stream, self.config.linger_ms) {
                return;
            }
        }
        driver.close(stream);
    }
}
