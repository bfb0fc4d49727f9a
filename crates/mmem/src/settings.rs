//! The configuration in the words of the service and of the store.

use mainmemory::store;
use mm_memcached::{Allowed, Items, Settings};

use crate::arguments::MEMCACHED_VERSION;
use crate::config::Config;
use crate::listen::Listened;
use crate::populate;

/// What the service is told.
pub(crate) fn settings(config: &Config, listened: Listened) -> Settings {
    let (memory, commands, service) = (&config.memory, &config.commands, &config.service);
    let listening = &config.listening;
    Settings {
        version: MEMCACHED_VERSION.to_owned(),
        items: Items {
            limit_bytes: memory.limit_bytes,
            item_size_max: usize::try_from(memory.item_size_max).unwrap_or(usize::MAX),
            evicts: memory.evicts,
            has_cas: memory.has_cas,
            sizes_told: config.shown.tracks_sizes,
        },
        allowed: Allowed {
            flush: commands.flush,
            dumps: commands.dump,
            shutdown: commands.shutdown,
            watch: commands.watch,
        },
        has_debug: config.for_tests,
        verbosity: u32::from(config.process.verbosity),
        prefix_delimiter: commands.prefix_delimiter.unwrap_or(b':'),
        counts_prefixes: commands.prefix_delimiter.is_some(),
        threads: usize::try_from(threads(config)).unwrap_or(usize::MAX),
        connections_max: u64::from(service.connections_max),
        refuses_connections: service.refuses_when_full,
        idle_timeout_s: u64::from(service.idle_timeout_s),
        requests_per_turn: service.requests_per_turn,
        tcp_port: listened.tcp_port,
        udp_port: listened.udp_port,
        interface: listening.interface(),
        unix_socket: listening.unix_socket.as_ref().map(|path| path.display().to_string()),
        unix_mode: listening.unix_mode,
        backlog: u64::from(listening.backlog),
        memory_file: memory.file.as_ref().map(|path| path.display().to_string()),
        growth_factor: config.shown.growth_factor,
        chunk_size: u64::from(config.shown.chunk_bytes),
        watcher_bytes: usize::try_from(service.watcher_kib).unwrap_or(usize::MAX) << 10,
        protocol: service.protocol,
        listener_protocols: listened.protocols,
        listeners: listened.names,
        accepted: config.shown.settings.clone(),
    }
}

/// What the store is to be like.
pub(crate) fn store_config(config: &Config, hash_seed: u64) -> store::Config {
    let limit_bytes = usize::try_from(config.memory.limit_bytes).unwrap_or(usize::MAX);
    store::Config {
        evict: config.memory.evicts,
        populate: Some(populate::beside),
        ..store::Config::new(limit_bytes, hash_seed)
    }
}

/// How many threads serve: as many as `-t` says, or as the store can have shards.
pub(crate) fn threads(config: &Config) -> u32 {
    let most = store_config(config, 0).shards_max();
    config.service.threads.min(u32::try_from(most).unwrap_or(u32::MAX))
}
