//! What can be set about a server.

use std::num::{NonZeroU32, NonZeroUsize};

use mm_runtime::sys::socket::StreamOptions;

use crate::Log;

/// A server's settings. Read once, at its start. [`Config::default`] has what each field says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which driver to use; by default the best that works here.
    pub driver: DriverChoice,
    /// How long a shard looks for something to do before it sleeps, in microseconds. Takes latency down and processor
    /// time up, where the driver can do it (epoll, `io_uring`). By default 0: not at all.
    pub spin_us: u32,
    /// Threads that serve connections, each with a service of its own: by default 1. [`available_shards`] tells how
    /// many keep the machine busy.
    pub shards: NonZeroUsize,
    /// Connections open at a time, over all shards: by default 1024. Each needs a descriptor:
    /// [`allow_descriptors`](crate::process::allow_descriptors).
    pub connections_max: usize,
    /// Connections that one peer may have open at a time, over all shards. A peer is an IPv4 address, or the
    /// first half of an IPv6 one; those on Unix sockets are not limited. One connection more is closed at once.
    /// `None`, as by default: as many as there may be.
    pub connections_per_address_max: Option<usize>,
    /// What a connection above a limit is told before it is closed. `None`, as by default: one above the limit of
    /// all waits until another ends.
    pub refusal: Option<&'static [u8]>,
    /// Closes a connection on which for so long nothing has gone either way, in milliseconds; one with a write that
    /// waits is the write time-out's affair. A handler that has something of a request and does not read on owes an
    /// answer, for which its peer waits: its connection is not idle, however long that takes. A service that
    /// [parks](crate::Step::Park) does not see that its peer has gone: its connection is. `None`, as by default: never.
    pub idle_timeout_ms: Option<u64>,
    /// Closes a connection that for so long has taken nothing of the answers waiting for it, in milliseconds: by
    /// default 60,000. `None`: never.
    pub write_timeout_ms: Option<u64>,
    /// Unsent bytes from which on a connection's service is told that the output is full: by default 64 KiB.
    pub output_cap_bytes: usize,
    /// What all connections may hold in buffers, over all shards; each shard has an equal part. When its part
    /// is used up, a shard receives no more until some is freed, if need be by closing those that do not read
    /// their answers. By default 128 MiB.
    pub buffer_bytes_max: usize,
    /// How many connections may wait to be accepted: by default 1024.
    pub backlog: u32,
    /// How long a graceful stop waits for connections to finish, in milliseconds: by default 5,000.
    pub drain_ms: u64,
    /// How long a hand-over waits for connections to come between two requests, in milliseconds: by default 1,000; 0:
    /// only as long as it takes to let go of those that are.
    pub hand_over_ms: u64,
    /// How long a connection that we end while its peer still sends is kept for the peer to read our last
    /// words, in milliseconds; closed at once, a reset would destroy them on their way. By default 1,000; 0: not at
    /// all.
    pub linger_ms: u64,
    /// Whether each shard stays on a processor of its own: the first on the first that the process may use,
    /// and so on; helper threads and what [follows](crate::process::successor) run on any. Linux only: elsewhere the
    /// start fails. By default not.
    pub pinned: bool,
    /// Options of accepted sockets.
    pub stream: StreamOptions,
    /// Whether the server acts on the process's signals: see [`Server`](crate::Server). Off where it is a part of
    /// something else. By default it does.
    pub signals: bool,
    /// Where it says what an operator should know: stalls, and dumps that were asked for. By default the standard
    /// error.
    pub log: Log,
    /// How long a task, or the service in one turn, may keep its shard from everything else before a line in the log
    /// tells of it, in milliseconds (rounded up to the time between two looks, half of it). A thread looks twice in
    /// this time. By default 1,000. `None`: there is no such thread.
    pub stall_ms: Option<NonZeroU32>,
}

/// The choice of a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverChoice {
    /// The best that works here.
    #[default]
    Auto,
    /// Linux's epoll.
    Epoll,
    /// macOS's and the BSDs' kqueue.
    Kqueue,
    /// `poll`, which every Unix has, and which costs time for each idle connection.
    Poll,
    /// Linux's `io_uring`; epoll where that is missing or forbidden.
    Uring,
}

impl DriverChoice {
    /// The choices that there are on this system, by name; the default comes first.
    pub const HERE: &[(&str, Self)] = &[
        ("auto", Self::Auto),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        ("epoll", Self::Epoll),
        #[cfg(target_os = "linux")]
        ("uring", Self::Uring),
        #[cfg(any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "dragonfly",
            target_os = "netbsd",
            target_os = "openbsd"
        ))]
        ("kqueue", Self::Kqueue),
        ("poll", Self::Poll),
    ];

    /// The choice of this name.
    ///
    /// # Errors
    /// There is none on this system; the message names those that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::HERE.iter().find(|(known, _)| *known == name);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = Self::HERE.iter().map(|(name, _)| *name).collect();
            format!("there is no such driver here; there are {}", names.join(", "))
        })
    }
}

/// How many shards keep this process's share of the machine busy: the processors it may run on, fewer where its
/// control group (a container's limit) grants it less time than those have; at least one.
#[must_use]
pub fn available_shards() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Auto,
            spin_us: 0,
            shards: NonZeroUsize::MIN,
            connections_max: 1024,
            connections_per_address_max: None,
            refusal: None,
            idle_timeout_ms: None,
            write_timeout_ms: Some(60_000),
            output_cap_bytes: 64 * 1024,
            buffer_bytes_max: 128 * 1024 * 1024,
            backlog: 1024,
            drain_ms: 5_000,
            hand_over_ms: 1_000,
            linger_ms: 1_000,
            pinned: false,
            stream: StreamOptions::default(),
            signals: true,
            log: Log::stderr(),
            stall_ms: NonZeroU32::new(1_000),
        }
    }
}
