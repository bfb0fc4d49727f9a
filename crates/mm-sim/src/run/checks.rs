//! What must hold of a server while it runs, and at its end.

use mm_runtime::driver::sim::Happened;
use mm_server::simulation::Stepped;
use mm_store::{Broken, Sharing, Store};

use super::Run;
use crate::limits::{CONNECTION_SLACK_BYTES, SHRINK_MS_MAX};

impl<S: Sharing> Run<S> {
    /// The store is within its limit, and what connections hold within theirs.
    pub(super) fn check_memory(&self) -> Result<(), String> {
        let limits_mb = self.plan.work.limits_mb;
        // While the limit goes down, what is too much is given back step by step.
        let highest = limits_mb.map_or(self.plan.settings.items.limit_bytes, |(_, most)| most << 20);
        let used = self.store_bytes();
        if used > highest {
            return Err(format!("the store uses {used} bytes, the limit is {highest}"));
        }
        let config = &self.plan.config;
        let over = self.plan.clients * (config.output_cap_bytes + CONNECTION_SLACK_BYTES);
        let (held, limit) = (self.simulation.buffered_bytes(), config.buffer_bytes_max);
        if held > limit + over {
            return Err(format!("connections hold {held} bytes, the limit is {limit}"));
        }
        Ok(())
    }

    /// No more values are refused for want of memory than may be.
    pub(super) fn check_refusals(&self) -> Result<(), String> {
        let world = self.world.borrow();
        let (refused, most) = (world.counted.total().refused, self.plan.refusals_max(world.executed));
        if refused <= most {
            return Ok(());
        }
        Err(format!("{refused} values were refused for want of memory, {most} may be"))
    }

    /// What clients have seen can have come about in some order.
    pub(super) fn check_history(&mut self) -> Result<(), String> {
        let world = &mut *self.world.borrow_mut();
        let evicted = world.counted.total().evicted;
        let Some(history) = &mut world.history else { return Ok(()) };
        self.searches += world.fixed.keys.len() as u64;
        self.given_up += std::mem::take(history).check(world.fixed.keys.len(), evicted)?;
        Ok(())
    }

    /// What the store has taken of its limit.
    fn store_bytes(&self) -> u64 {
        let Some(service) = self.simulation.services().next() else { return 0 };
        let stats = service.inner().store().stats();
        stats.segments * stats.segment_bytes + stats.index_bytes + stats.ghost_bytes
    }

    /// Waits until a limit that was lowered is kept. A store that does not evict cannot keep one that its items fill
    /// but for a tenth: what is free lies between them.
    pub(super) fn shrink(&mut self) -> Result<(), String> {
        let start_ms = self.network.now().monotonic_ms;
        loop {
            let service = self.simulation.services().next();
            let (limit, items) = service
                .map(|service| service.inner().store().stats())
                .map_or((0, 0), |stats| (stats.limit_bytes, stats.item_bytes));
            let is_filled = !self.plan.settings.items.evicts && items > limit / 10 * 9;
            if self.store_bytes() <= limit || is_filled {
                return Ok(());
            }
            let waited_ms = self.network.now().monotonic_ms - start_ms;
            if waited_ms > SHRINK_MS_MAX || self.step(true)? == Stepped::Stopped {
                let used = self.store_bytes();
                return Err(format!(
                    "{waited_ms} ms after the limit was set to {limit}, {used} bytes are in use"
                ));
            }
        }
    }

    /// What the store's shards hold is right. A limit that was lowered may not be kept yet.
    pub(super) fn check_items(&self) -> Result<(), String> {
        self.check_stores(Store::verify_items)
    }

    /// The same, and it is within its limit.
    pub(super) fn check_store(&self) -> Result<(), String> {
        self.check_stores(Store::verify)
    }

    fn check_stores(&self, verify: impl Fn(&Store<S>) -> Result<(), Broken>) -> Result<(), String> {
        // A shard may be in the middle of its turn.
        self.simulation.services().for_each(|service| service.inner().store().tell_dead());
        let mut stores = self.simulation.services().map(|service| service.inner().store());
        stores.try_for_each(|store| verify(store).map_err(|broken| broken.to_string()))
    }

    /// Nothing is held by nobody.
    pub(super) fn check_leaks(&self) -> Result<(), String> {
        none_left("open streams", self.network.open_streams())?;
        self.check_shards()?;
        self.check_store()
    }

    /// No shard holds anything, whatever the network holds.
    pub(super) fn check_shards(&self) -> Result<(), String> {
        none_left("bytes of buffers", self.simulation.buffered_bytes())?;
        none_left("connections", self.simulation.connections())?;
        for service in self.simulation.services() {
            none_left("pins", usize::try_from(service.inner().store().stats().pins).unwrap_or(usize::MAX))?;
        }
        self.check_items()
    }

    pub(super) fn fault_kinds(&self) -> usize {
        let Happened {
            short_receives,
            short_sends,
            spurious_events,
            failed_accepts,
            resets,
            lost_datagrams,
            doubled_datagrams,
        } = self.network.happened();
        let ends = &self.ends;
        let counts = [
            short_receives,
            short_sends,
            spurious_events,
            failed_accepts,
            resets,
            lost_datagrams,
            doubled_datagrams,
            ends.own_resets,
            ends.half_closes,
            ends.full,
            ends.pauses,
            self.jumps,
            u64::from(self.drained),
            self.handed_over,
            self.plan.faults.delay_ms_max,
        ];
        counts.iter().filter(|&&count| count > 0).count()
    }
}

/// That there are no such things.
fn none_left(what: &str, count: usize) -> Result<(), String> {
    match count {
        0 => Ok(()),
        _ => Err(format!("after the end {count} {what} are left")),
    }
}
