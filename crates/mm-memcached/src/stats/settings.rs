//! `stats settings`.

use mm_store::Sharing;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use mm_base::buffer::Output;

use super::stat;
use crate::service::Memcached;
use crate::watch::kind;

/// Settings of memcached's that mean nothing here, with its defaults for those not given, from `hashpower_init` to the
/// end of the slabs.
const SLAB_SETTINGS: [(&str, &str); 6] = [
    ("hashpower_init", "0"),
    ("slab_reassign", "yes"),
    ("slab_automove", "1"),
    ("slab_automove_ratio", "0.80"),
    ("slab_automove_window", "10"),
    ("slab_chunk_max", "524288"),
];

/// The same, of the search for expired items.
const CRAWLER_SETTINGS: [(&str, &str); 4] = [
    ("lru_crawler", "yes"),
    ("lru_crawler_sleep", "100"),
    ("lru_crawler_tocrawl", "0"),
    ("tail_repair_time", "0"),
];

/// The same, of the order of eviction.
const LRU_SETTINGS: [(&str, &str); 9] = [
    ("hash_algorithm", "rapidhash"),
    ("lru_maintainer_thread", "yes"),
    ("lru_segmented", "yes"),
    ("hot_lru_pct", "20"),
    ("warm_lru_pct", "40"),
    ("hot_max_factor", "0.20"),
    ("warm_max_factor", "2.00"),
    ("temp_lru", "no"),
    ("temporary_ttl", "61"),
];

/// What memcached has for `-R` where it is not given.
const REQUESTS_PER_EVENT: u32 = 20;

impl<S: Sharing> Memcached<S> {
    /// The settings, in memcached's order.
    pub(super) fn stats_settings(&self, output: &mut Output) {
        let yes_no = |on: bool| if on { "yes" } else { "no" };
        let on_off = |on: bool| if on { "on" } else { "off" };
        let settings = &self.shared.settings;
        let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "NULL".to_owned());
        stat(output, "maxbytes", self.shared.limit_bytes.load(Ordering::Relaxed));
        stat(output, "maxconns", settings.connections_max);
        stat(output, "tcpport", settings.tcp_port);
        stat(output, "udpport", settings.udp_port);
        stat(output, "inter", or_null(&settings.interface));
        stat(output, "verbosity", self.shared.verbosity.load(Ordering::Relaxed));
        stat(output, "oldest", 0);
        stat(output, "evictions", on_off(settings.items.evicts));
        stat(output, "domain_socket", or_null(&settings.unix_socket));
        stat(output, "umask", format_args!("{:o}", settings.unix_mode));
        stat(output, "shutdown_command", yes_no(settings.allowed.shutdown));
        stat(output, "growth_factor", format_args!("{:.2}", settings.growth_factor));
        stat(output, "chunk_size", settings.chunk_size);
        stat(output, "num_threads", settings.threads);
        stat(output, "num_threads_per_udp", settings.threads);
        stat(output, "stat_key_prefix", char::from(settings.prefix_delimiter));
        stat(output, "detail_enabled", yes_no(self.shared.observed.get() & kind::PREFIXES != 0));
        stat(
            output,
            "reqs_per_event",
            settings.requests_per_turn.map_or(REQUESTS_PER_EVENT, NonZeroU32::get),
        );
        stat(output, "cas_enabled", yes_no(settings.items.has_cas));
        stat(output, "tcp_backlog", settings.backlog);
        stat(output, "binding_protocol", settings.protocol);
        stat(output, "auth_enabled_sasl", "no");
        stat(output, "auth_enabled_ascii", "no");
        stat(output, "item_size_max", settings.items.item_size_max);
        stat(output, "maxconns_fast", yes_no(settings.refuses_connections));
        let listed = |output: &mut Output, list: &[(&str, &str)]| {
            for (name, value) in list {
                stat(output, name, settings.accepted(name, value));
            }
        };
        listed(output, &SLAB_SETTINGS);
        listed(output, &CRAWLER_SETTINGS);
        stat(output, "flush_enabled", yes_no(settings.allowed.flush));
        stat(output, "dump_enabled", yes_no(settings.allowed.dumps));
        listed(output, &LRU_SETTINGS);
        stat(output, "idle_timeout", settings.idle_timeout_s);
        stat(output, "watcher_logbuf_size", settings.watcher_bytes);
        stat(output, "worker_logbuf_size", settings.accepted("worker_logbuf_size", "65536"));
        stat(output, "read_buf_mem_limit", settings.accepted("read_buf_mem_limit", "0"));
        stat(output, "track_sizes", yes_no(settings.items.sizes_told));
        stat(output, "inline_ascii_response", "no");
        stat(output, "num_napi_ids", settings.accepted("num_napi_ids", "0"));
        stat(output, "memory_file", settings.memory_file.as_deref().unwrap_or("(null)"));
        stat(output, "client_flags_size", 4);
    }
}
