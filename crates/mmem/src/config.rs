//! Everything the program was told, checked and in units.

use std::num::NonZeroU32;
use std::path::PathBuf;

use mm_memcached::Protocol;

use crate::limits::THREADS_MAX;

/// Where memcached listens when it is not told.
const MEMCACHED_PORT: u16 = 11211;

/// By which name the program was called: it decides the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// Ours: listens on loopback, drops to `nobody` when started as root.
    Mmem,
    /// `memcached` or a name beginning so: memcached's defaults.
    Memcached {
        /// `memcached-debug`, as memcached's own tests call it: options for tests exist.
        debug: bool,
    },
}

impl Name {
    /// The name under which messages appear.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mmem => "mmem",
            Self::Memcached { .. } => "memcached",
        }
    }
}

/// The whole configuration. Read once at start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// By which name the program was called.
    pub(crate) name: Name,
    /// Where to listen.
    pub(crate) listening: Listening,
    /// What the store may hold.
    pub(crate) memory: Memory,
    /// How much is served at a time.
    pub(crate) service: Service,
    /// Which commands are answered.
    pub(crate) commands: Commands,
    /// What kind of process to be.
    pub(crate) process: Process,
    /// What is only shown.
    pub(crate) shown: Shown,
    /// `-o relaxed_privileges` of `memcached-debug`: commands for tests exist, such as the one that moves the clock.
    pub(crate) for_tests: bool,
    /// Flags that were accepted and mean nothing here, as they were given.
    pub(crate) without_meaning: Vec<String>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening {
    /// `-p`, where it is given.
    pub(crate) port: Option<Port>,
    /// `-U`.
    pub(crate) udp_port: Port,
    /// `-l`; empty: what the name stands for.
    pub(crate) hosts: Vec<Listen>,
    /// `-s`: instead of the network.
    pub(crate) unix_socket: Option<PathBuf>,
    /// `-a`: the permissions of the Unix socket.
    pub(crate) unix_mode: u32,
    /// `-b`: how many connections may wait to be accepted.
    pub(crate) backlog: u32,
    /// Where to write the ports that were bound, for whoever asked for any free one.
    pub(crate) port_file: Option<PathBuf>,
}

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// None.
    Off,
    /// Whichever is free.
    Any,
    /// This one.
    Number(u16),
}

/// Whose port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// This machine's own addresses for itself, of both families.
    Loopback,
    /// All addresses, of both families.
    Any,
    /// An address, or a name that stands for some.
    Named(String),
}

impl Host {
    /// Whether it stands for an address of each family.
    pub(crate) fn is_of_both_families(&self) -> bool {
        matches!(self, Self::Loopback | Self::Any)
    }
}

/// One entry of `-l`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The address.
    pub(crate) host: Host,
    /// The entry as it was given.
    pub(crate) text: String,
    /// Instead of `-p`.
    pub(crate) port: Option<u16>,
    /// A name for the listener.
    pub(crate) tag: Option<String>,
    /// Instead of `-B`.
    pub(crate) protocol: Option<Protocol>,
}

/// One place to listen on, as it follows from the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A port.
    Port {
        /// Of which kind.
        transport: Transport,
        /// Whose port.
        host: Host,
        /// 0 for whichever is free.
        port: u16,
        /// What is spoken there, where it is not what is spoken everywhere.
        protocol: Option<Protocol>,
    },
    /// A Unix stream socket.
    Unix {
        /// Its file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// A kind of port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// For connections.
    Tcp,
    /// For datagrams.
    Udp,
}

impl Port {
    /// Its number, 0 for whichever is free; `None` for no port.
    pub(crate) fn number(self) -> Option<u16> {
        match self {
            Self::Off => None,
            Self::Any => Some(0),
            Self::Number(port) => Some(port),
        }
    }
}

impl Listening {
    /// The TCP port: that of `-p`, or else that of `-U`, or else memcached's.
    pub(crate) fn tcp_port(&self) -> Port {
        match (self.port, self.udp_port) {
            (None, Port::Off) => Port::Number(MEMCACHED_PORT),
            (Some(port), _) | (None, port) => port,
        }
    }

    /// The entries of `-l` as one list, as they were given; none for the default.
    pub(crate) fn interface(&self) -> Option<String> {
        let entries: Vec<&str> = self.hosts.iter().map(|listen| listen.text.as_str()).collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }

    /// The places to listen on, those for datagrams last.
    pub(crate) fn endpoints(&self, name: Name) -> Vec<Endpoint> {
        if let Some(path) = &self.unix_socket {
            return vec![Endpoint::Unix { path: path.clone(), mode: self.unix_mode }];
        }
        let host = match name {
            Name::Mmem => Host::Loopback,
            Name::Memcached { .. } => Host::Any,
        };
        let all = [Listen { host, text: String::new(), port: None, tag: None, protocol: None }];
        let hosts = if self.hosts.is_empty() { &all } else { self.hosts.as_slice() };
        let kinds = [(Transport::Tcp, self.tcp_port()), (Transport::Udp, self.udp_port)];
        // As in memcached, a port of -l is for both kinds; for datagrams only where -U asks for them.
        let of_kind = |(transport, default): (Transport, Port)| {
            hosts.iter().filter_map(move |listen| {
                let own = listen.port.filter(|_| transport == Transport::Tcp || default != Port::Off);
                let (host, protocol) = (listen.host.clone(), listen.protocol);
                Some(Endpoint::Port { transport, host, port: own.or_else(|| default.number())?, protocol })
            })
        };
        kinds.into_iter().flat_map(of_kind).collect()
    }
}

/// What the store may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Memory {
    /// `-m`, in bytes: items, index and all that goes with them.
    pub(crate) limit_bytes: u64,
    /// `-I`, in bytes: key, value and overhead of one item.
    pub(crate) item_size_max: u32,
    /// Not `-M`: old items make room for new ones.
    pub(crate) evicts: bool,
    /// Not `-C`: items have a CAS value.
    pub(crate) has_cas: bool,
    /// `-k`: keep the process's memory from being swapped out.
    pub(crate) locked: bool,
    /// `-L`: have the memory of items resident before the server begins.
    pub(crate) populated: bool,
    /// `-e`: where items are kept while the server is restarted.
    pub(crate) file: Option<PathBuf>,
}

/// How much is served at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// `-c`.
    pub(crate) connections_max: u32,
    /// `-t`: shards.
    pub(crate) threads: u32,
    /// Whether `-t` was given.
    pub(crate) are_threads_given: bool,
    /// `-R`: requests of one connection per turn; none: all that arrive together.
    pub(crate) requests_per_turn: Option<NonZeroU32>,
    /// `-o idle_timeout`, in seconds; 0 for none.
    pub(crate) idle_timeout_s: u32,
    /// `-o watcher_logbuf_size`, in KiB.
    pub(crate) watcher_kib: u32,
    /// Whether connections beyond the limit are told so and closed, or wait.
    pub(crate) refuses_when_full: bool,
    /// `-B`.
    pub(crate) protocol: Protocol,
    /// `--driver`: which kernel interface to use.
    pub(crate) driver: String,
    /// `--spin`: how long to look for requests before sleeping, in microseconds.
    pub(crate) spin_us: u32,
    /// `--pin`: each shard stays on a processor of its own.
    pub(crate) is_pinned: bool,
}

/// Which commands are answered.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commands {
    /// `-A`: `shutdown`.
    pub(crate) shutdown: bool,
    /// Not `-F`: `flush_all`.
    pub(crate) flush: bool,
    /// Not `-X`: dumps of keys and statistics by prefix.
    pub(crate) dump: bool,
    /// Not `-W`: `watch`.
    pub(crate) watch: bool,
    /// `-D`: what ends a prefix in the statistics by prefix; given, they are counted from the start.
    pub(crate) prefix_delimiter: Option<u8>,
}

/// What has no effect but on what statistics show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// `-f`.
    pub(crate) growth_factor: f64,
    /// `-n`, in bytes.
    pub(crate) chunk_bytes: u32,
    /// `-o track_sizes`: `stats sizes` tells the sizes of items.
    pub(crate) tracks_sizes: bool,
    /// What was given without effect, by its name in `stats settings`; the last of a name counts.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Shown {
    /// A setting without effect, where it was given and is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// A setting without effect, where it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.settings.iter().rfind(|(given, _)| *given == name).map(|(_, text)| text.as_str())
    }
}

/// What kind of process to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// `-u`: the user to become after listening, if started as root.
    pub(crate) user: Option<String>,
    /// `-d`: in the background.
    pub(crate) daemon: bool,
    /// `-P`.
    pub(crate) pid_file: Option<PathBuf>,
    /// `-r`: dump core when crashing.
    pub(crate) dumps_core: bool,
    /// How many `-v`.
    pub(crate) verbosity: u8,
}

impl Config {
    /// How long a connection may be idle, in milliseconds; `None` for ever. As in memcached, those of a Unix socket,
    /// which is listened on instead of the network, are never closed for that.
    pub(crate) fn idle_timeout_ms(&self) -> Option<u64> {
        let is_bound = self.service.idle_timeout_s > 0 && self.listening.unix_socket.is_none();
        is_bound.then_some(u64::from(self.service.idle_timeout_s) * 1000)
    }

    /// What holds when nothing is said.
    pub(crate) fn new(name: Name) -> Self {
        Self {
            name,
            listening: Listening {
                port: None,
                udp_port: Port::Off,
                hosts: Vec::new(),
                unix_socket: None,
                unix_mode: 0o700,
                backlog: 1024,
                port_file: None,
            },
            memory: Memory {
                limit_bytes: 64 << 20,
                item_size_max: 1 << 20,
                evicts: true,
                has_cas: true,
                locked: false,
                populated: false,
                file: None,
            },
            service: Service {
                connections_max: 1024,
                threads: default_threads(),
                are_threads_given: false,
                requests_per_turn: None,
                idle_timeout_s: 0,
                watcher_kib: 256,
                refuses_when_full: true,
                protocol: Protocol::Auto,
                driver: "auto".to_owned(),
                spin_us: 0,
                is_pinned: false,
            },
            commands: Commands {
                shutdown: false,
                flush: true,
                dump: true,
                watch: true,
                prefix_delimiter: None,
            },
            process: Process { user: None, daemon: false, pid_file: None, dumps_core: false, verbosity: 0 },
            shown: Shown { growth_factor: 1.25, chunk_bytes: 48, tracks_sizes: false, settings: Vec::new() },
            for_tests: false,
            without_meaning: Vec::new(),
        }
    }
}

/// As many threads as the process may use processors, in a program that was built for several.
fn default_threads() -> u32 {
    if cfg!(feature = "smp") { processors().min(THREADS_MAX) } else { 1 }
}

/// How many processors the process may use, by affinity and control group.
pub(crate) fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    u32::try_from(processors).unwrap_or(u32::MAX)
}
