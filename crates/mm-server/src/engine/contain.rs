//! What becomes of a service's defects: of a panic that belongs to no connection, and of connections with which the
//! service does not get on. They are counted and told, and the server goes on.

use std::any::Any;
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::Now;
use mm_base::slab::Key;
use mm_runtime::driver::Driver;
use mm_runtime::shard::Next;
use mm_runtime::task::JoinError;

use super::Engine;
use crate::limits::{BACKGROUND_PAUSE_MS, FAULT_PAUSE_MS, INPUT_BYTES_MAX};
use crate::signals::Signals;
use crate::{Background, Service};

impl<S: Service, D: Driver> Engine<S, D> {
    /// A step of the service's own work. One that panics rests for a while: it may do so again.
    pub(super) fn run_background(&mut self, now: Now) -> Next {
        if now.monotonic_ms < self.background_from_ms {
            cold_path();
            return Next::At(self.background_from_ms);
        }
        let service = &mut self.service;
        match catch_unwind(AssertUnwindSafe(|| service.background(now))) {
            Ok(Background::Idle) => Next::Never,
            Ok(Background::At(time)) => Next::At(time),
            Ok(Background::More) => Next::Now,
            Err(panic) => {
                self.told_of_panic("the service's background work", panic);
                self.background_from_ms = now.monotonic_ms + BACKGROUND_PAUSE_MS;
                Next::At(self.background_from_ms)
            }
        }
    }

    /// Ends a connection whose service has panicked.
    pub(super) fn end_panicked(&mut self, driver: &mut D, key: Key) {
        self.stats().panics.add(1);
        self.cut(driver, key);
    }

    /// Ends a connection with which the service does not get on. Every peer may bring that about where one can, so that
    /// not each is told of.
    pub(super) fn end_faulty(&mut self, driver: &mut D, key: Key, now: Now) {
        self.stats().faults.add(1);
        if now.monotonic_ms >= self.fault_told_from_ms
            && let Some(connection) = self.connections.get_mut(key)
        {
            self.fault_told_from_ms = now.monotonic_ms + FAULT_PAUSE_MS;
            let why = if connection.machine.kept_input().len() < INPUT_BYTES_MAX {
                "the service makes no progress with it".to_owned()
            } else {
                format!("the service has found no end of a request in {INPUT_BYTES_MAX} bytes")
            };
            let line = format!("shard {}: a connection was closed: {why}", self.shard);
            self.config.log.write_beside(vec![line]);
        }
        self.close(driver, key);
    }

    /// Tells the service that a connection has ended.
    pub(super) fn disconnect(&mut self, state: S::Connection) {
        let service = &mut self.service;
        let ended = catch_unwind(AssertUnwindSafe(|| service.disconnect(state)));
        self.stats().panics.add(u64::from(ended.is_err()));
    }

    /// Whether the service lacks memory. One that panics when it is asked is not asked for a while.
    pub(super) fn service_lacks_memory(&mut self, now: Now) -> bool {
        if now.monotonic_ms < self.sweep.ask_from_ms {
            return false;
        }
        let service = &mut self.service;
        match catch_unwind(AssertUnwindSafe(|| service.lacks_memory())) {
            Ok(lacks) => lacks,
            Err(panic) => {
                self.told_of_panic("the service, asked whether it lacks memory,", panic);
                self.sweep.ask_from_ms = now.monotonic_ms + BACKGROUND_PAUSE_MS;
                false
            }
        }
    }

    /// Does what the signals that have come are for.
    pub(super) fn act_on_signals(&mut self, driver: &mut D) {
        if !self.signals.as_ref().is_some_and(Signals::have_arrived) {
            return;
        }
        cold_path();
        let Some(mut signals) = self.signals.take() else { return };
        signals.act(driver, &self.control, |signal, panic| {
            self.told_of_panic(&format!("what is to be done on signal {signal:?}"), panic);
        });
        self.signals = Some(signals);
    }

    fn told_of_panic(&self, what: &str, panic: Box<dyn Any + Send>) {
        self.stats().panics.add(1);
        let error = JoinError::Panicked(panic);
        let text = error.panic_message().unwrap_or("(no message)");
        let line = format!("shard {}: {what} has panicked: {text}", self.shard);
        self.config.log.write_beside(vec![line]);
    }
}
