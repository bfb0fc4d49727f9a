//! What servers start with.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use mm_memcached::{Memcached, NoHost, Shared as Common};
use mm_runtime::driver::sim::Network;
use mm_server::process::successor::shareable_memory;
use mm_server::simulation::Simulation;
use mm_store::{Kept, KeptError, Sharing, Store, StoreHandles};

use crate::checked::Checked;
use crate::plan::Plan;
use crate::populating;
use crate::world::Shared;

/// Opens the stores of a server, one handle for each shard, perhaps in memory that another server has left.
pub(super) type Open<S> = fn(&mm_store::Config, usize, Option<&Kept>) -> Result<Vec<Store<S>>, KeptError>;

pub(super) fn own_store(
    config: &mm_store::Config,
    _shards: usize,
    kept: Option<&Kept>,
) -> Result<Vec<Store>, KeptError> {
    let store = match kept {
        Some(kept) => Store::open_kept(config, kept)?,
        None => Store::open(config).map_err(KeptError::System)?,
    };
    Ok(vec![store])
}

pub(super) fn shared_stores(
    config: &mm_store::Config,
    shards: usize,
    kept: Option<&Kept>,
) -> Result<Vec<Store<mm_store::Shared>>, KeptError> {
    let handles = match kept {
        Some(kept) => StoreHandles::open_kept(config, shards, kept)?,
        None => StoreHandles::open(config, shards).map_err(KeptError::System)?,
    };
    Ok((0..shards).filter_map(|_| handles.take()).collect())
}

/// What a server starts with.
pub(super) struct Start<'a, S: Sharing> {
    pub(super) network: &'a Network,
    pub(super) plan: &'a Plan,
    pub(super) seed: u64,
    pub(super) open: Open<S>,
}

impl<S: Sharing> Start<'_, S> {
    /// A server of its own.
    pub(super) fn anew(self, kept: Option<&Kept>, world: &Shared) -> (Simulation<Checked<S>>, Arc<Common>) {
        let common = Common::new(self.plan.settings.clone(), self.plan.config.shards.get(), Box::new(NoHost));
        let stores = self.stores(kept).expect("address space");
        let service = factory(stores, &common, world);
        let mut simulation = Simulation::on(self.network, &self.plan.config, self.seed, service);
        simulation.set_unrest(self.plan.unrest);
        (simulation, common)
    }

    pub(super) fn stores(&self, kept: Option<&Kept>) -> Result<Vec<Store<S>>, KeptError> {
        let items = &self.plan.settings.items;
        let limit_bytes = usize::try_from(items.limit_bytes).unwrap_or(usize::MAX);
        populating::forget();
        let config = mm_store::Config {
            evict: items.evicts,
            populate: Some(populating::take),
            ..mm_store::Config::new(limit_bytes, self.seed)
        };
        (self.open)(&config, self.plan.config.shards.get(), kept)
    }
}

/// Makes the service of each shard.
pub(super) fn factory<S: Sharing>(
    stores: Vec<Store<S>>,
    common: &Arc<Common>,
    world: &Shared,
) -> impl Fn(&mm_server::Start) -> Checked<S> {
    let stores = RefCell::new(stores);
    move |start| {
        let store = stores.borrow_mut().pop().expect("a handle for each shard");
        Checked::new(Memcached::new(start, common, store), world, start.shard)
    }
}

/// Memory that outlives a server, where one is to take another's place or to begin with what was left. On systems that
/// have no such memory none does.
pub(super) fn kept_memory(plan: &Plan) -> Result<Option<Kept>, String> {
    if plan.ends.hand_over_after == 0 && !plan.ends.is_in_file {
        return Ok(None);
    }
    match shareable_memory("mm-sim") {
        Ok(memory) if plan.ends.is_in_file => Ok(Some(Kept::new(memory))),
        Ok(memory) => Ok(Some(Kept::moved_to(memory))),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(format!("there is no memory that can be kept: {error}")),
    }
}
