//! The engines compared: a policy each, with what its items really take.

use std::io;

use super::policy::belady::Belady;
use super::policy::memcached::Memcached;
use super::policy::oldest::Oldest;
use super::policy::s3fifo::S3Fifo;
use super::policy::segments::Segments;
use super::policy::segments::settings::Settings;
use super::policy::spared::Spared;
use super::policy::store::RealStore;
use super::policy::wtinylfu::WTinyLfu;
use super::policy::{Overhead, Policy};

/// What a policy is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'trace> {
    pub(crate) objects: u32,
    pub(crate) limit_bytes: u64,
    /// The trace's [`super::request::Trace::next_uses`].
    pub(crate) next_uses: &'trace [u32],
}

/// What an engine is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A policy without knobs, given our overhead, item by item.
    Simple,
    /// Another item-wise policy, given our overhead.
    Elaborate,
    /// The server to beat, with its own overhead.
    Memcached,
    /// Knows the future.
    Bound,
    /// The real store.
    Ours,
    /// A model of ours.
    Segments,
}

/// A column of the table.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) role: Role,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Fifo,
    Lru,
    Clock,
    Sieve,
    S3Fifo,
    WTinyLfu,
    Memcached,
    Belady,
    Segments(Settings),
    Store,
}

impl Engine {
    fn new(name: &str, role: Role, kind: Kind) -> Self {
        Self { name: name.to_owned(), role, kind }
    }

    /// Eviction over segments with these settings.
    pub(crate) fn segments(name: &str, settings: Settings) -> Self {
        Self::new(name, Role::Segments, Kind::Segments(settings))
    }

    /// An empty cache.
    ///
    /// # Errors
    /// The system's where the store gets no address space.
    pub(crate) fn build<'trace>(&self, setup: Setup<'trace>) -> io::Result<Box<dyn Policy + 'trace>> {
        let Setup { objects, limit_bytes, next_uses } = setup;
        let overhead = Overhead::MAIN_MEMORY;
        Ok(match &self.kind {
            Kind::Store => Box::new(RealStore::open(limit_bytes)?),
            Kind::Fifo => Box::new(Oldest::fifo(objects, limit_bytes, overhead)),
            Kind::Lru => Box::new(Oldest::lru(objects, limit_bytes, overhead)),
            Kind::Clock => Box::new(Spared::clock(objects, limit_bytes, overhead)),
            Kind::Sieve => Box::new(Spared::sieve(objects, limit_bytes, overhead)),
            Kind::S3Fifo => Box::new(S3Fifo::new(objects, limit_bytes, overhead)),
            Kind::WTinyLfu => Box::new(WTinyLfu::new(objects, limit_bytes, overhead)),
            Kind::Memcached => Box::new(Memcached::new(objects, limit_bytes)),
            Kind::Belady => Box::new(Belady::new(next_uses, objects, limit_bytes, overhead)),
            Kind::Segments(settings) => Box::new(Segments::new(objects, limit_bytes, settings.clone())),
        })
    }
}

/// The columns of the table.
pub(crate) fn engines() -> Vec<Engine> {
    vec![
        Engine::new("FIFO", Role::Simple, Kind::Fifo),
        Engine::new("LRU", Role::Simple, Kind::Lru),
        Engine::new("CLOCK", Role::Simple, Kind::Clock),
        Engine::new("SIEVE", Role::Simple, Kind::Sieve),
        Engine::new("S3-FIFO", Role::Simple, Kind::S3Fifo),
        Engine::new("W-TinyLFU", Role::Elaborate, Kind::WTinyLfu),
        Engine::new("memcached", Role::Memcached, Kind::Memcached),
        Engine::segments("model", Settings::default()),
        Engine::new("ours", Role::Ours, Kind::Store),
        Engine::new("Belady", Role::Bound, Kind::Belady),
    ]
}
