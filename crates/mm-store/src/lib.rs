//! The cache engine: dense items in segments, an index of cache lines, eviction and expiration.
//!
//! Sans-I/O and sans-clock: it maps memory, and time is an argument of every call.
//!
//! ```
//! use mm_store::{Config, Outcome, Put, Store};
//!
//! let mut store = Store::open(&Config::new(64 << 20, 42))?;
//! let (key, now_s) = (store.key(b"greeting").unwrap(), 1);
//! let stored = store.put(key, &Put::default(), b"hello", now_s).unwrap();
//! assert_eq!(stored, Outcome::Stored);
//! assert_eq!(store.get(key, now_s).unwrap().value(), Some(&b"hello"[..]));
//! # Ok::<(), std::io::Error>(())
//! ```

mod config;
mod counters;
mod ghosts;
mod hash;
mod index;
mod kept;
pub mod limits;
mod memory;
mod narrow;
mod primitive;
mod segment;
mod sharing;
mod stats;
mod store;
mod whole;

pub use config::Config;
pub use hash::KeyHash;
pub use kept::{Kept, KeptError, Leave, Refused};
pub use memory::Untouched;
#[cfg(feature = "smp")]
pub use sharing::Shared;
pub use sharing::{Local, Sharing};
pub use stats::Stats;
#[cfg(feature = "smp")]
pub use store::StoreHandles;
pub use store::{
    ArithmeticError, Broken, CasRule, Counted, Cursor, DeleteError, Evicted, Item, Key, Looked, Miss, Mode,
    Notes, Operation, Outcome, Put, PutError, Store, Told, Upload,
};
