//! Another server takes the place of the one that runs: with its listeners, its connections and its store.

use std::fs::File;
use std::sync::Arc;

use mm_memcached::{NoHost, Shared as Common};
use mm_server::simulation::{SimHanded, Simulation, Stepped};
use mm_store::{Kept, Leave, Sharing, Store};

use super::Run;
use super::start::{Start, factory};
use crate::limits::{FAILED_TAKE_OVERS, PROGRESS_STEPS_MIN};

impl<S: Sharing> Run<S> {
    /// Whether it is time for another server.
    pub(super) fn is_hand_over_due(&self) -> bool {
        let after = self.plan.ends.hand_over_after;
        let due = (self.handed_over + 1).checked_mul(after).filter(|_| after != 0);
        self.kept.is_some() && due.is_some_and(|due| self.world.borrow().executed > due)
    }

    /// Ends the server while its clients go on, and starts one that takes over what it leaves.
    pub(super) fn hand_over(&mut self) -> Result<(), String> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let start_ms = self.network.now().monotonic_ms;
        self.hands_over = true;
        self.simulation.hand_over();
        let mut steps = 0;
        while self.step(false)? != Stepped::Stopped {
            steps += 1;
            let waited_ms = self.network.now().monotonic_ms - start_ms;
            // A machine that sleeps passes half a minute in two steps.
            if waited_ms > self.plan.config.hand_over_ms + 30_000 && steps > PROGRESS_STEPS_MIN {
                return Err(format!("the server has not handed over after {waited_ms} ms"));
            }
        }
        self.hands_over = false;
        self.check_shards()?;
        self.explain()?;
        let now = self.network.now();
        let note = self.common.note(now);
        kept.note_with(move || note.clone());
        kept.leave(Leave::Trusted);
        let handed = self.simulation.take_handed();
        if self.network.open_streams() != handed.connections() {
            let (open, left) = (self.network.open_streams(), handed.connections());
            return Err(format!("{open} streams are open, and {left} connections were left"));
        }
        self.world.borrow_mut().go_on(now);
        self.take_over(&kept, handed)?;
        self.handed_over += 1;
        Ok(())
    }

    /// Starts a server on what another one has left.
    fn take_over(&mut self, kept: &Kept, handed: SimHanded) -> Result<(), String> {
        let book = kept.take_book().ok_or("the store cannot be handed over: something of it is in use")?;
        if self.choices.one_in(FAILED_TAKE_OVERS) {
            // The next server has opened the store, and gets no further: the last one goes on with its own book.
            drop(self.open_left(Kept::lent(memory_of(kept)?, book.clone()))?);
            self.open_left(Kept::with_book(memory_of(kept)?, book))
        } else {
            self.open_left(Kept::lent(memory_of(kept)?, book))
        }
        .and_then(|left| self.resume(left, handed))
    }

    /// Opens the store that was left in this memory.
    fn open_left(&self, kept: Kept) -> Result<Left<S>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the store cannot be taken over: {error}");
        let start = Start { network: &self.network, plan: &self.plan, seed: self.seed, open: self.open };
        let common = Common::new(self.plan.settings.clone(), self.plan.config.shards.get(), Box::new(NoHost));
        let stores = start.stores(Some(&kept)).map_err(|error| failed(&error))?;
        if !kept.take_note().is_some_and(|note| common.resume(&note)) {
            return Err(failed(&"there is no note with it"));
        }
        Ok(Left { kept, common, stores })
    }

    /// Goes on with the store and the connections that were left.
    fn resume(&mut self, left: Left<S>, handed: SimHanded) -> Result<(), String> {
        let Left { kept, common, stores } = left;
        kept.own().map_err(|error| format!("the memory cannot be owned: {error}"))?;
        let service = factory(stores, &common, &self.world);
        let config = (&self.plan.config, self.seed + self.handed_over + 1);
        self.simulation = Simulation::resume(handed, &self.network, config, service);
        self.simulation.set_unrest(self.plan.unrest);
        (self.kept, self.common) = (Some(kept), common);
        self.check_items()
    }

    /// Starts a server with the items of the file of one that was stopped. The clock may have been set meanwhile.
    pub(super) fn begin_with(&mut self, kept: &Kept) -> Result<(), String> {
        let now = self.network.now();
        let note = self.common.note(now);
        kept.note_with(move || note.clone());
        kept.leave(Leave::Checked);
        // Its services go, and with them the store.
        drop(self.simulation.take_handed());
        self.world.borrow_mut().letters.clear();
        self.world.borrow_mut().go_on(now);
        if self.choices.one_in(2) {
            self.jumps += 1;
            self.network.step_clock(i64::try_from(self.choices.below(60)).unwrap_or(0) - 20);
        }
        let book = kept.take_book().ok_or("nothing was left in the file")?;
        let Left { kept, common, stores } = self.open_left(Kept::with_book(memory_of(kept)?, book))?;
        let service = factory(stores, &common, &self.world);
        self.simulation = Simulation::on(&self.network, &self.plan.config, self.seed, service);
        self.simulation.set_unrest(self.plan.unrest);
        (self.kept, self.common) = (Some(kept), common);
        self.check_items()
    }
}

/// A store that another server has left, opened.
struct Left<S: Sharing> {
    kept: Kept,
    common: Arc<Common>,
    stores: Vec<Store<S>>,
}

/// The file again.
fn memory_of(kept: &Kept) -> Result<File, String> {
    kept.file().try_clone().map_err(|error| format!("the memory cannot be had: {error}"))
}
