//! Statistics, each of which has to be told once.

use mm_proto::memcached::lines;

use super::{Answered, Context, Model, Wrong};
use crate::answer::{Answers, shown};
use crate::op::{Dialect, Group, Wire};

/// What `stats` without a group tells, in memcached's order.
pub(super) const GENERAL: &[&str] = &[
    "pid",
    "uptime",
    "time",
    "version",
    "libevent",
    "pointer_size",
    "rusage_user",
    "rusage_system",
    "max_connections",
    "curr_connections",
    "total_connections",
    "rejected_connections",
    "connection_structures",
    "response_obj_oom",
    "response_obj_count",
    "response_obj_bytes",
    "read_buf_count",
    "read_buf_bytes",
    "read_buf_bytes_free",
    "read_buf_oom",
    "reserved_fds",
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "get_expired",
    "get_flushed",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "store_no_memory",
    "auth_cmds",
    "auth_errors",
    "idle_kicks",
    "bytes_read",
    "bytes_written",
    "limit_maxbytes",
    "accepting_conns",
    "listen_disabled_num",
    "time_in_listen_disabled_us",
    "threads",
    "conn_yields",
    "hash_power_level",
    "hash_bytes",
    "hash_is_expanding",
    "slab_reassign_rescues",
    "slab_reassign_chunk_rescues",
    "slab_reassign_inline_reclaim",
    "slab_reassign_busy_items",
    "slab_reassign_busy_deletes",
    "slab_reassign_busy_nomem",
    "slab_reassign_last_busy_status",
    "slab_reassign_running",
    "slabs_moved",
    "lru_crawler_running",
    "lru_crawler_starts",
    "lru_maintainer_juggles",
    "malloc_fails",
    "log_worker_dropped",
    "log_worker_written",
    "log_watcher_skipped",
    "log_watcher_sent",
    "log_watchers",
    "unexpected_napi_ids",
    "round_robin_fallback",
    "bytes",
    "curr_items",
    "total_items",
    "slab_global_page_pool",
    "expired_unfetched",
    "evicted_unfetched",
    "evicted_active",
    "evictions",
    "reclaimed",
    "crawler_reclaimed",
    "crawler_items_checked",
    "lrutail_reflocked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "lru_bumps_dropped",
];

/// Of these, what is told by some settings only.
pub(super) const BY_SETTINGS: [&str; 2] = ["rejected_connections", "idle_kicks"];

/// The names that are still to come.
struct Due(std::slice::Iter<'static, &'static str>);

impl Due {
    /// Those of a group; none where they are not looked at.
    fn of(group: Group) -> Option<Self> {
        (group == Group::General).then(|| Self(GENERAL.iter()))
    }

    /// One of them has come.
    fn told(&mut self, name: &[u8]) -> Result<(), Wrong> {
        match self.0.find(|due| due.as_bytes() == name || !BY_SETTINGS.contains(due)) {
            Some(due) if due.as_bytes() == name => Ok(()),
            Some(due) => Err(format!("{} is told where {due} was due", shown(name))),
            None => Err(format!("{} is told, and nothing was due", shown(name))),
        }
    }

    /// There are no more.
    fn end(mut self) -> Result<(), Wrong> {
        match self.0.find(|due| !BY_SETTINGS.contains(due)) {
            Some(due) => Err(format!("the statistics end where {due} was due")),
            None => Ok(()),
        }
    }
}

impl Model {
    /// Lines or packets of statistics, up to the last.
    pub(super) fn stats(
        &mut self,
        (group, wire): (Group, Wire),
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<Answered, Wrong> {
        let mut due = Due::of(group);
        let mut check = |name: &[u8], value: &[u8]| {
            due.as_mut().map_or(Ok(()), |due| due.told(name))?;
            self.check_stat((name, value), context)
        };
        let is_whole = if wire.dialect == Dialect::Binary {
            answers.packets_to_end(wire.opaque, check)?
        } else {
            answers.lines_to_end(lines::END, |line| {
                let told = line.strip_prefix(b"STAT ").and_then(|told| told.strip_suffix(b"\r\n"));
                let told =
                    told.ok_or_else(|| format!("a line that does not belong there: {}", shown(line)))?;
                let end = told.iter().position(|&byte| byte == b' ').unwrap_or(told.len());
                check(&told[..end], told.get(end + 1..).unwrap_or_default())
            })?
        };
        if !is_whole {
            return Ok(Answered::InPart);
        }
        due.map_or(Ok(()), Due::end)?;
        Ok(Answered::Whole)
    }
}
