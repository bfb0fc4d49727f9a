//! What a service is told when it starts, and what its shards share.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mm_base::Now;
use mm_proto::memcached::admin::Shutdown;
use mm_store::{Sharing, Store};

use crate::classes::Classes;
use crate::clock::{Calendar, Left, START_S, Started, Time};
use crate::counters::Counters;
use crate::prefixes::Prefixes;
use crate::registry::Registry;
use crate::watch::{Observed, Watchers, kind};

/// The configuration, in the units and with the defaults of memcached's flags.
///
/// Some of it the service heeds; the rest it only tells in `stats settings`, where clients look for it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `version` answers. Clients decide by it what they may ask for, so it looks like memcached's.
    pub version: String,
    /// What items may be.
    pub items: Items,
    /// Which commands are allowed.
    pub allowed: Allowed,
    /// Whether `debugtime` moves the clock, for tests.
    pub has_debug: bool,
    /// The number of `-v`.
    pub verbosity: u32,
    /// `-D`: what ends a prefix in `stats detail`.
    pub prefix_delimiter: u8,
    /// Whether `stats detail` is on from the start, which `-D` does.
    pub counts_prefixes: bool,
    /// `-t`.
    pub threads: usize,
    /// `-c`.
    pub connections_max: u64,
    /// Whether connections beyond the limit are refused instead of left waiting.
    pub refuses_connections: bool,
    /// `-o idle_timeout`, in seconds; 0 for none.
    pub idle_timeout_s: u64,
    /// `-R`: how many requests of one connection are served before others have their turn. `None` where it was not
    /// given: all that arrived together.
    pub requests_per_turn: Option<NonZeroU32>,
    /// `-p`; 0 for none.
    pub tcp_port: u16,
    /// `-U`; 0 for none.
    pub udp_port: u16,
    /// `-l`, as given.
    pub interface: Option<String>,
    /// `-s`.
    pub unix_socket: Option<String>,
    /// `-a`.
    pub unix_mode: u32,
    /// `-b`.
    pub backlog: u64,
    /// `-B`.
    pub protocol: Protocol,
    /// The protocols of those listeners that differ from it, by their place among the listeners.
    pub listener_protocols: Vec<Option<Protocol>>,
    /// The addresses of the listeners, those for datagrams last, as memcached writes them: `tcp:127.0.0.1:11211`,
    /// `tcp6:[::1]:11211`, `udp:...`, `unix:/path`.
    pub listeners: Vec<String>,
    /// Settings of memcached's that mean nothing here and were given all the same, by their names in
    /// `stats settings`, which shows them; the last of a name counts.
    pub accepted: Vec<(&'static str, String)>,
    /// `-e`.
    pub memory_file: Option<String>,
    /// `-f`.
    pub growth_factor: f64,
    /// `-n`.
    pub chunk_size: u64,
    /// `-o watcher_logbuf_size`, in bytes: what may wait for a watcher that reads slowly.
    pub watcher_bytes: usize,
}

/// What items may be.
#[derive(Clone, Copy, Debug)]
pub struct Items {
    /// `-m`, in bytes: the memory of items and index.
    pub limit_bytes: u64,
    /// `-I`, in bytes: the largest item, its key and memcached's header of 48 bytes and more counted.
    pub item_size_max: usize,
    /// Not `-M`: old items make room for new ones.
    pub evicts: bool,
    /// Not `-C`: items have a CAS value.
    pub has_cas: bool,
    /// `-o track_sizes`: `stats sizes` tells the sizes of items.
    pub sizes_told: bool,
}

/// Which commands are allowed.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Not `-F`: `flush_all`.
    pub flush: bool,
    /// Not `-X`: dumps of keys, and statistics by prefix.
    pub dumps: bool,
    /// `-A`: `shutdown`.
    pub shutdown: bool,
    /// Not `-W`: `watch`.
    pub watch: bool,
}

/// Which protocols a listener's connections may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Either: the first byte of a connection tells.
    #[default]
    Auto,
    /// The text protocols.
    Ascii,
    /// The binary protocol.
    Binary,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto-negotiate",
            Self::Ascii => "ascii",
            Self::Binary => "binary",
        })
    }
}

impl Settings {
    /// The protocol of a listener's connections.
    pub(crate) fn protocol_of(&self, listener: usize) -> Protocol {
        self.listener_protocols.get(listener).copied().flatten().unwrap_or(self.protocol)
    }

    /// A setting that means nothing here: as it was given, or else memcached's `default`.
    pub(crate) fn accepted<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.accepted.iter().rfind(|(given, _)| *given == name).map_or(default, |(_, value)| value)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: "1.6.45".to_owned(),
            items: Items {
                limit_bytes: 64 << 20,
                item_size_max: 1 << 20,
                evicts: true,
                has_cas: true,
                sizes_told: false,
            },
            allowed: Allowed { flush: true, dumps: true, shutdown: false, watch: true },
            has_debug: false,
            verbosity: 0,
            prefix_delimiter: b':',
            counts_prefixes: false,
            threads: 1,
            connections_max: 1024,
            refuses_connections: true,
            idle_timeout_s: 0,
            requests_per_turn: None,
            tcp_port: 11211,
            udp_port: 0,
            interface: None,
            unix_socket: None,
            unix_mode: 0o700,
            backlog: 1024,
            protocol: Protocol::Auto,
            listener_protocols: Vec::new(),
            listeners: vec!["tcp:0.0.0.0:11211".to_owned()],
            accepted: Vec::new(),
            memory_file: None,
            growth_factor: 1.25,
            chunk_size: 48,
            watcher_bytes: 256 << 10,
        }
    }
}

/// What only the program knows or can do.
pub trait Host: Send + Sync {
    /// The process's number.
    fn process_id(&self) -> u32;

    /// The processor time used so far, in user and in system mode, in microseconds.
    fn processor_us(&self) -> (u64, u64);

    /// Ends the server, as a signal would.
    fn shut_down(&self, mode: Shutdown);

    /// Whether a memory limit of so many bytes can be had where the items lie; one that is no higher than the limit
    /// now is never asked for.
    fn has_room(&self, limit_bytes: u64) -> bool {
        let _no_bound = limit_bytes;
        true
    }

    /// Writes lines, each with its end, to where the operator reads them.
    fn say(&self, lines: &str);
}

/// A host that knows nothing and does nothing, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn process_id(&self) -> u32 {
        1
    }

    fn processor_us(&self) -> (u64, u64) {
        (0, 0)
    }

    fn shut_down(&self, _mode: Shutdown) {}

    fn say(&self, _lines: &str) {}
}

/// What the services of all shards have in common. One per server.
pub struct Shared {
    pub(crate) settings: Settings,
    pub(crate) host: Box<dyn Host>,
    pub(crate) counters: Box<[Arc<Counters>]>,
    pub(crate) verbosity: AtomicU32,
    /// The memory limit in bytes, which `cache_memlimit` changes.
    pub(crate) limit_bytes: AtomicU64,
    /// Values refused for want of memory, where others could have been evicted for them.
    pub(crate) refusals: AtomicU64,
    /// What somebody wants to know of every request.
    pub(crate) observed: Observed,
    pub(crate) watchers: Arc<Watchers>,
    /// What was done to the keys of each prefix, by shard.
    pub(crate) prefixes: Arc<[Prefixes]>,
    /// The connections of all shards.
    pub(crate) registry: Registry,
    /// The classes of item sizes that tools are shown.
    pub(crate) classes: Classes,
    /// The server's counters when the statistics were last set back.
    pub(crate) server_base: ServerBase,
    started: OnceLock<Started>,
    /// How dates and the store's seconds go together.
    calendar: Calendar,
    /// What the server before this one has left.
    left: OnceLock<Left>,
    /// That the limit which it had is set.
    has_limit: OnceLock<()>,
    /// How far `debugtime` has moved the clock.
    moved_s: AtomicI64,
    /// When the store is to be flushed, in its seconds; 0 for not.
    flush_s: AtomicU32,
}

impl Shared {
    /// The common part of a server of so many shards.
    #[must_use]
    pub fn new(settings: Settings, shards: usize, host: Box<dyn Host>) -> Arc<Self> {
        Arc::new(Self::fresh(settings, shards, host))
    }

    /// The common part of this process's next server, when this one has ended: clock, counters and verbosity go on.
    /// What goes with the store comes with its [`note`](Self::note); its store is to
    /// [count on](mm_store::Kept::count_on_from), too.
    #[must_use]
    pub fn next(&self, host: Box<dyn Host>) -> Arc<Self> {
        let verbosity = self.verbosity.load(Ordering::Relaxed);
        Arc::new(Self {
            verbosity: AtomicU32::new(verbosity),
            observed: Observed::new(self.observed.get() & kind::PREFIXES != 0, verbosity),
            watchers: Arc::clone(&self.watchers),
            prefixes: Arc::clone(&self.prefixes),
            counters: self.counters.clone(),
            server_base: self.server_base.clone(),
            started: self.started.clone(),
            calendar: self.calendar.clone(),
            moved_s: AtomicI64::new(self.moved_s.load(Ordering::Relaxed)),
            ..Self::fresh(self.settings.clone(), self.counters.len(), host)
        })
    }

    /// How often incr and decr have changed a number.
    pub(crate) fn numbers_changed(&self) -> u64 {
        self.counters.iter().map(|counters| counters.incr_hits.get() + counters.decr_hits.get()).sum()
    }

    fn fresh(settings: Settings, shards: usize, host: Box<dyn Host>) -> Self {
        Self {
            verbosity: AtomicU32::new(settings.verbosity),
            limit_bytes: AtomicU64::new(settings.items.limit_bytes),
            refusals: AtomicU64::new(0),
            observed: Observed::new(settings.counts_prefixes, settings.verbosity),
            watchers: Arc::new(Watchers::new(settings.watcher_bytes)),
            prefixes: (0..shards).map(|_| Prefixes::default()).collect(),
            registry: Registry::new(shards),
            classes: Classes::new(&settings),
            settings,
            host,
            counters: (0..shards).map(|_| Arc::default()).collect(),
            server_base: ServerBase::default(),
            started: OnceLock::new(),
            calendar: Calendar::default(),
            left: OnceLock::new(),
            has_limit: OnceLock::new(),
            moved_s: AtomicI64::new(0),
            flush_s: AtomicU32::new(0),
        }
    }

    /// The time, counted from the first time that it was asked for.
    pub(crate) fn time(&self, now: Now) -> Time {
        let started = *self.started.get_or_init(|| Started {
            monotonic_ms: now.monotonic_ms,
            store_s: self.left.get().map_or(START_S, |left| left.store_s(now)),
        });
        Time::new(now, started, &self.calendar, self.moved_s.load(Ordering::Relaxed))
    }

    /// How long the server has been there, in seconds.
    pub(crate) fn uptime_s(&self, time: &Time) -> u32 {
        let before_s = self.started.get().map_or(0, |started| started.store_s - START_S);
        time.now_s.saturating_sub(before_s)
    }

    /// Writes down what whoever takes over the store has to know besides: how its seconds and the calendar go
    /// together, when it is to be flushed, and its memory limit.
    #[must_use]
    pub fn note(&self, now: Now) -> Vec<u8> {
        let left = Left {
            now_s: self.time(now).now_s,
            unix_s: now.unix_s,
            flush_s: self.flush_s.load(Ordering::Relaxed),
            limit_bytes: self.limit_bytes.load(Ordering::Relaxed),
        };
        left.to_bytes()
    }

    /// Goes on where a server stopped that wrote this [`note`](Self::note): the store's clock has moved on by as
    /// much as the calendar since. To be called before anything is served. False where it is no such note.
    pub fn resume(&self, note: &[u8]) -> bool {
        let Some(left) = Left::from_bytes(note) else { return false };
        self.set_flush(left.flush_s);
        self.left.set(left).is_ok()
    }

    /// Gives a store that has been taken over the limit that it had. It stays as it is where it cannot have that. The
    /// first call does it, with any shard's handle; a service does it itself when it is made.
    pub fn resume_limit<S: Sharing>(&self, store: &mut Store<S>) {
        self.has_limit.get_or_init(|| {
            let Some(left) = self.left.get().filter(|left| left.limit_bytes != 0) else { return };
            if self.has_room(left.limit_bytes)
                && usize::try_from(left.limit_bytes).is_ok_and(|bytes| store.set_limit(bytes))
            {
                self.limit_bytes.store(left.limit_bytes, Ordering::Relaxed);
            }
        });
    }

    /// Whether the limit may be so high.
    pub(crate) fn has_room(&self, limit_bytes: u64) -> bool {
        limit_bytes <= self.limit_bytes.load(Ordering::Relaxed) || self.host.has_room(limit_bytes)
    }

    /// Moves the clock.
    pub(crate) fn move_clock(&self, seconds: i64) {
        self.moved_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sets when the store is to be flushed; 0 for not.
    pub(crate) fn set_flush(&self, flush_s: u32) {
        self.flush_s.store(flush_s, Ordering::Relaxed);
    }

    /// Whether the time for a flush has come.
    #[inline]
    pub(crate) fn is_flush_due(&self, time: &Time) -> bool {
        let flush_s = self.flush_s.load(Ordering::Relaxed);
        flush_s != 0 && flush_s <= time.now_s
    }

    /// Takes the flush whose time has come, so that of all shards only the first does it.
    pub(crate) fn take_flush(&self, time: &Time) -> bool {
        let flush_s = self.flush_s.load(Ordering::Relaxed);
        flush_s != 0
            && flush_s <= time.now_s
            && self.flush_s.compare_exchange(flush_s, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Sums of the server's counters over all shards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerCounts {
    pub(crate) connections: u64,
    pub(crate) connections_total: u64,
    pub(crate) connections_rejected: u64,
    pub(crate) accept_pauses: u64,
    pub(crate) is_accepting: bool,
    pub(crate) accept_paused_ms: u64,
    pub(crate) idle_timeouts: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) yields: u64,
}

impl ServerCounts {
    fn of(server: &[mm_server::Stats]) -> Self {
        let sum = |counter: fn(&mm_server::Stats) -> &mm_server::Counter| -> u64 {
            server.iter().map(|stats| counter(stats).get()).sum()
        };
        // The shards pause together.
        let most = |counter: fn(&mm_server::Stats) -> &mm_server::Counter| -> u64 {
            server.iter().map(|stats| counter(stats).get()).max().unwrap_or(0)
        };
        Self {
            connections: sum(|stats| &stats.connections),
            connections_total: sum(|stats| &stats.connections_total),
            connections_rejected: sum(|stats| &stats.connections_rejected),
            accept_pauses: most(|stats| &stats.accept_pauses),
            is_accepting: server.iter().all(|stats| stats.accept_pauses.get() <= stats.accept_resumes.get()),
            accept_paused_ms: most(|stats| &stats.accept_paused_ms),
            idle_timeouts: sum(|stats| &stats.idle_timeouts),
            bytes_read: sum(|stats| &stats.bytes_read),
            bytes_written: sum(|stats| &stats.bytes_written),
            yields: sum(|stats| &stats.yields),
        }
    }
}

/// What the server's counters were when the statistics were last set back, which they themselves never are.
#[derive(Debug, Default)]
pub(crate) struct ServerBase(Mutex<ServerCounts>);

impl Clone for ServerBase {
    fn clone(&self) -> Self {
        Self(Mutex::new(*self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ServerBase {
    /// Sets the statistics back.
    pub(crate) fn set(&self, server: &[mm_server::Stats]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ServerCounts::of(server);
    }

    /// What has been counted since then. The number of open connections is the true one.
    pub(crate) fn since(&self, server: &[mm_server::Stats]) -> ServerCounts {
        let base = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = ServerCounts::of(server);
        ServerCounts {
            connections: counts.connections,
            connections_total: counts.connections_total - base.connections_total,
            connections_rejected: counts.connections_rejected - base.connections_rejected,
            accept_pauses: counts.accept_pauses - base.accept_pauses,
            is_accepting: counts.is_accepting,
            accept_paused_ms: counts.accept_paused_ms.saturating_sub(base.accept_paused_ms),
            idle_timeouts: counts.idle_timeouts - base.idle_timeouts,
            bytes_read: counts.bytes_read - base.bytes_read,
            bytes_written: counts.bytes_written - base.bytes_written,
            yields: counts.yields - base.yields,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
