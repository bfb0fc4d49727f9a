//! How many shards a store serves: one, or several.

use std::fmt::Debug;

/// How a store is shared. Code that works on a store is written once, for either kind.
pub trait Sharing: Copy + Debug + Default + 'static {
    /// Whether more than one shard may work on the store.
    const IS_SHARED: bool;
}

/// A store for one shard: no atomic read-modify-write and no fence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Sharing for Local {
    const IS_SHARED: bool = false;
}
