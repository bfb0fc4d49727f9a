//! memcached's semantics: codec, store and service put together.
//!
//! [`Memcached`] is a [`Service`](mm_server::Service) over one shard's [`Store`](mm_store::Store). It does no I/O,
//! asks for no time, and knows nothing of the process but what [`Host`] tells it, so that whole servers run in tests.

#![forbid(unsafe_code)]

mod admin;
mod aloud;
mod batch;
mod binary;
mod change;
mod classes;
mod clock;
mod counters;
mod datagrams;
mod dump;
mod fetch;
pub mod limits;
mod long;
mod meta;
mod observe;
mod parking;
mod plain;
mod prefixes;
mod registry;
mod service;
mod settings;
mod stats;
mod storing;
mod survey;
mod upload;
mod watch;

pub use datagrams::Framed;
pub use mm_proto::memcached::admin::Shutdown;
pub use service::{Connection, Memcached};
pub use settings::{Allowed, Host, Items, NoHost, Protocol, Settings, Shared};
