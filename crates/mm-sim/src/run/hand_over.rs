//! Another server takes the place of the one that runs: with its listeners, its connections and its store.

use mm_memcached::{NoHost, Shared as Common};
use mm_server::simulation::{SimHanded, Simulation, Stepped};
use mm_store::{Kept, Leave, Sharing};

use super::{Run, Start, factory};

impl<S: Sharing> Run<S> {
    /// Whether it is time for another server.
    pub(super) fn is_hand_over_due(&self) -> bool {
        let due = (self.handed_over + 1).checked_mul(self.plan.ends.hand_over_after);
        self.kept.is_some() && due.is_some_and(|due| self.world.borrow().executed > due)
    }

    /// Ends the server while its clients go on, and starts one that takes over what it leaves.
    pub(super) fn hand_over(&mut self) -> Result<(), String> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let start_ms = self.network.now().monotonic_ms;
        self.hands_over = true;
        self.simulation.hand_over();
        while self.step(false)? != Stepped::Stopped {
            let waited_ms = self.network.now().monotonic_ms - start_ms;
            if waited_ms > self.plan.config.hand_over_ms + 30_000 {
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
        let failed = |error: &dyn std::fmt::Display| format!("the store cannot be taken over: {error}");
        let book = kept.take_book().ok_or_else(|| failed(&"something of it is in use"))?;
        let memory = kept.file().try_clone().map_err(|error| failed(&error))?;
        let kept = Kept::with_book(memory, book);
        let start = Start { network: &self.network, plan: &self.plan, seed: self.seed, open: self.open };
        let common = Common::new(self.plan.settings.clone(), self.plan.config.shards.get(), Box::new(NoHost));
        let stores = start.stores(Some(&kept)).map_err(|error| failed(&error))?;
        if !kept.take_note().is_some_and(|note| common.resume(&note)) {
            return Err(failed(&"there is no note with it"));
        }
        let service = factory(stores, &common, &self.world);
        let config = (&self.plan.config, self.seed + self.handed_over + 1);
        self.simulation = Simulation::resume(handed, &self.network, config, service);
        self.simulation.set_unrest(self.plan.unrest);
        (self.kept, self.common) = (Some(kept), common);
        self.check_store()
    }
}
