//! `stats` without more.

use mm_store::Sharing;
use std::sync::atomic::Ordering;

use mm_base::buffer::Output;

use super::stat;
use crate::counters::{Counter, Counters};
use crate::service::{Call, Memcached};

/// Bytes that the store keeps with an item besides key and value: its header, and its slot of the index.
const KEPT_WITH_ITEM_BYTES: u64 = 14;

impl<S: Sharing> Memcached<S> {
    /// The general statistics, in memcached's order.
    pub(super) fn stats_general(&self, call: &mut Call<'_>) {
        self.process_stats(call);
        self.connection_stats(call.output);
        self.command_stats(call.output);
        self.server_stats(call.output);
        self.store_stats(call.output);
    }

    fn process_stats(&self, call: &mut Call<'_>) {
        let (user_us, system_us) = self.shared.host.processor_us();
        let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        stat(call.output, "pid", self.shared.host.process_id());
        stat(call.output, "uptime", self.shared.uptime_s(&call.time));
        stat(call.output, "time", call.time.unix_s);
        stat(call.output, "version", &self.shared.settings.version);
        stat(call.output, "libevent", "none");
        stat(call.output, "pointer_size", usize::BITS);
        stat(call.output, "rusage_user", seconds(user_us));
        stat(call.output, "rusage_system", seconds(system_us));
    }

    fn connection_stats(&self, output: &mut Output) {
        let settings = &self.shared.settings;
        let server = self.shared.server_base.since(&self.server);
        stat(output, "max_connections", settings.connections_max);
        stat(output, "curr_connections", server.connections);
        stat(output, "total_connections", server.connections_total);
        if settings.refuses_connections {
            stat(output, "rejected_connections", server.connections_rejected);
        }
        stat(output, "connection_structures", server.connections);
        for name in [
            "response_obj_oom",
            "response_obj_count",
            "response_obj_bytes",
            "read_buf_count",
            "read_buf_bytes",
            "read_buf_bytes_free",
            "read_buf_oom",
            "reserved_fds",
        ] {
            stat(output, name, 0);
        }
    }

    fn command_stats(&self, output: &mut Output) {
        let sum = |counter: fn(&Counters) -> &Counter| self.sum(counter);
        let store = self.store.stats();
        let (hits, misses) = (sum(|all| &all.get_hits), sum(|all| &all.get_misses));
        let (touch_hits, touch_misses) = (sum(|all| &all.touch_hits), sum(|all| &all.touch_misses));
        for (name, value) in [
            ("cmd_get", hits + misses),
            ("cmd_set", sum(|all| &all.cmd_set)),
            ("cmd_flush", sum(|all| &all.cmd_flush)),
            ("cmd_touch", touch_hits + touch_misses),
            ("cmd_meta", sum(|all| &all.cmd_meta)),
            ("get_hits", hits),
            ("get_misses", misses),
            // Whatever the request that finds it.
            ("get_expired", store.met_expired),
            ("get_flushed", store.met_flushed),
            ("delete_misses", sum(|all| &all.delete_misses)),
            ("delete_hits", sum(|all| &all.delete_hits)),
            ("incr_misses", sum(|all| &all.incr_misses)),
            ("incr_hits", sum(|all| &all.incr_hits)),
            ("decr_misses", sum(|all| &all.decr_misses)),
            ("decr_hits", sum(|all| &all.decr_hits)),
            ("cas_misses", sum(|all| &all.cas_misses)),
            ("cas_hits", sum(|all| &all.cas_hits)),
            ("cas_badval", sum(|all| &all.cas_badval)),
            ("touch_hits", touch_hits),
            ("touch_misses", touch_misses),
            ("store_too_large", sum(|all| &all.store_too_large)),
            ("store_no_memory", sum(|all| &all.store_no_memory)),
            ("auth_cmds", 0),
            ("auth_errors", 0),
        ] {
            stat(output, name, value);
        }
    }

    fn server_stats(&self, output: &mut Output) {
        let settings = &self.shared.settings;
        let server = self.shared.server_base.since(&self.server);
        let store = self.store.stats();
        if settings.idle_timeout_s != 0 {
            stat(output, "idle_kicks", server.idle_timeouts);
        }
        stat(output, "bytes_read", server.bytes_read);
        stat(output, "bytes_written", server.bytes_written);
        stat(output, "limit_maxbytes", self.shared.limit_bytes.load(Ordering::Relaxed));
        stat(output, "accepting_conns", u8::from(server.is_accepting));
        stat(output, "listen_disabled_num", server.accept_pauses);
        stat(output, "time_in_listen_disabled_us", server.accept_paused_ms * 1000);
        stat(output, "threads", settings.threads);
        stat(output, "conn_yields", server.yields);
        stat(output, "hash_power_level", store.index_buckets.max(1).ilog2());
        stat(output, "hash_bytes", store.index_bytes);
        stat(output, "hash_is_expanding", u8::from(store.index_moving));
        for name in [
            "slab_reassign_rescues",
            "slab_reassign_chunk_rescues",
            "slab_reassign_inline_reclaim",
            "slab_reassign_busy_items",
            "slab_reassign_busy_deletes",
            "slab_reassign_busy_nomem",
        ] {
            stat(output, name, 0);
        }
        stat(output, "slab_reassign_last_busy_status", "none");
        for name in [
            "slab_reassign_running",
            "slabs_moved",
            "lru_crawler_running",
            "lru_crawler_starts",
            "lru_maintainer_juggles",
            "malloc_fails",
            "log_worker_dropped",
        ] {
            stat(output, name, 0);
        }
        let lines = &self.shared.watchers.counts;
        stat(output, "log_worker_written", lines.written.load(Ordering::Relaxed));
        stat(output, "log_watcher_skipped", lines.skipped.load(Ordering::Relaxed));
        stat(output, "log_watcher_sent", lines.sent.load(Ordering::Relaxed));
        stat(output, "log_watchers", self.shared.watchers.len());
        stat(output, "unexpected_napi_ids", 0);
        stat(output, "round_robin_fallback", 0);
    }

    fn store_stats(&self, output: &mut Output) {
        let store = self.store.stats();
        for (name, value) in [
            ("bytes", store.item_bytes + store.items * KEPT_WITH_ITEM_BYTES),
            ("curr_items", store.items),
            // The store writes numbers that incr and decr have changed anew, but they are no new items.
            ("total_items", store.stored.saturating_sub(self.shared.numbers_changed())),
            ("slab_global_page_pool", 0),
            ("expired_unfetched", store.expired_unfetched),
            ("evicted_unfetched", store.evicted_unfetched),
            ("evicted_active", store.evicted_active),
            ("evictions", store.evicted),
            ("reclaimed", store.reclaimed),
            ("crawler_reclaimed", store.reclaimed_by_search),
            ("crawler_items_checked", 0),
            ("lrutail_reflocked", 0),
            ("moves_to_cold", 0),
            ("moves_to_warm", store.moved),
            ("moves_within_lru", 0),
            ("direct_reclaims", 0),
            ("lru_bumps_dropped", 0),
        ] {
            stat(output, name, value);
        }
    }
}
