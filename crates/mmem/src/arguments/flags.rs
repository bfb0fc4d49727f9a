//! All flags: their names, what they are for, and what they set.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::given::Given;
use super::{help, listen, suboptions};
use crate::config::{Config, Name, Port};
use crate::limits;
use crate::refusal::{NO_TLS, Refusal, exit};
use mm_memcached::Protocol;

/// One flag.
pub(super) struct Flag {
    /// The letter after `-`.
    pub(super) short: Option<char>,
    /// The word after `--`.
    pub(super) long: &'static str,
    /// What its value is called in the help; empty if it takes none.
    pub(super) value: &'static str,
    /// What it is for, as a phrase. `{drivers}` stands for the names of those that there are here, the default behind
    /// them.
    pub(super) help: &'static str,
    /// What it does.
    pub(super) meaning: Meaning,
}

/// What a flag does.
pub(super) enum Meaning {
    /// Prints this and ends.
    Print(fn(Name) -> String),
    /// Sets something.
    Set(fn(&mut Config, &Given<'_>) -> Result<(), Refusal>),
    /// Nothing, because what it is about does not exist here; its value is checked all the same, and may be shown.
    Nothing(fn(&mut Config, &Given<'_>) -> Result<(), Refusal>),
    /// Cannot be honoured, for this reason. The help leaves it out.
    Refused(&'static str),
}

/// Flags on one subject.
pub(super) struct Group {
    /// The subject, as a heading.
    pub(super) title: &'static str,
    /// Its flags, as the help lists them.
    pub(super) flags: &'static [Flag],
}

use Meaning::{Nothing, Print, Refused, Set};

/// A flag with a letter.
const fn flag(
    short: char,
    long: &'static str,
    value: &'static str,
    help: &'static str,
    meaning: Meaning,
) -> Flag {
    Flag { short: Some(short), long, value, help, meaning }
}

impl Flag {
    /// The flag as messages show it.
    pub(super) fn shown(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }
}

/// Every flag, by subject.
pub(super) const GROUPS: &[Group] = &[
    Group { title: "Listening", flags: LISTENING },
    Group { title: "Memory", flags: MEMORY },
    Group { title: "Service", flags: SERVICE },
    Group { title: "Commands", flags: COMMANDS },
    Group { title: "Process", flags: PROCESS },
    Group { title: "About", flags: ABOUT },
    Group { title: "Accepted for memcached's sake, without effect", flags: WITHOUT_EFFECT },
    Group { title: "", flags: REFUSED },
];

const LISTENING: &[Flag] = &[
    flag('p', "port", "PORT", "TCP port (11211); 0 for none, -1 for any that is free", Set(set_port)),
    flag(
        'l',
        "listen",
        "LIST",
        "addresses, [v6] and names, with :PORT if you like, between commas; * for all; may be given again",
        Set(|config, given| listen::add(&mut config.listening.hosts, given)),
    ),
    flag(
        's',
        "unix-socket",
        "FILE",
        "a Unix socket instead of the network",
        Set(|config, given| {
            config.listening.unix_socket = Some(path(given)?);
            Ok(())
        }),
    ),
    flag(
        'a',
        "unix-mask",
        "OCTAL",
        "permissions of the Unix socket (700)",
        Set(|config, given| {
            // As in memcached, what is not a permission does not count.
            let mode = u32::from_str_radix(given.text(), 8).map(|mode| mode & 0o777);
            config.listening.unix_mode =
                mode.map_err(|_none| given.refuse(exit::FAILURE, "must be an octal number"))?;
            Ok(())
        }),
    ),
    flag(
        'b',
        "listen-backlog",
        "NUMBER",
        "connections that may wait to be accepted (1024)",
        Set(|config, given| {
            config.listening.backlog = given.integer_u32(0..=i64::from(i32::MAX), exit::FAILURE)?;
            Ok(())
        }),
    ),
    flag(
        'U',
        "udp-port",
        "PORT",
        "UDP port (0, none), -1 for any that is free; the TCP port too, unless -p is given",
        Set(set_udp_port),
    ),
];

const MEMORY: &[Flag] = &[
    flag(
        'm',
        "memory-limit",
        "SIZE",
        "memory for items and their index, in MiB or with k, m, g, t behind it (64)",
        Set(|config, given| {
            // Where an address has 32 bits, there is no more than those reach.
            let most = limits::MEMORY_MIB_MAX.min(usize::MAX as u64 >> 20) << 20;
            let bounds = (limits::MEMORY_MIB_MIN << 20)..=most;
            config.memory.limit_bytes = given.size(1 << 20, bounds)?;
            Ok(())
        }),
    ),
    flag(
        'I',
        "max-item-size",
        "SIZE",
        "largest item, in bytes or with k, m, g behind it (1m)",
        Set(|config, given| {
            let bytes = given.size(1, limits::ITEM_SIZE_MIN..=limits::ITEM_SIZE_MAX)?;
            config.memory.item_size_max = u32::try_from(bytes).unwrap_or(u32::MAX);
            Ok(())
        }),
    ),
    flag(
        'M',
        "disable-evictions",
        "",
        "refuse new items when the memory is full, instead of removing old ones",
        Set(|config, _| {
            config.memory.evicts = false;
            Ok(())
        }),
    ),
    flag(
        'C',
        "disable-cas",
        "",
        "items without CAS values",
        Set(|config, _| {
            config.memory.has_cas = false;
            Ok(())
        }),
    ),
    flag(
        'k',
        "lock-memory",
        "",
        "keep all memory from being swapped out",
        Set(|config, _| {
            config.memory.locked = true;
            Ok(())
        }),
    ),
    flag(
        'L',
        "enable-largepages",
        "",
        "have all memory at the start, in large pages where the system grants them",
        Set(|config, _| {
            config.memory.populated = true;
            Ok(())
        }),
    ),
    flag(
        'e',
        "memory-file",
        "FILE",
        "keep items there (on tmpfs or DAX) while restarting after SIGUSR1",
        Set(|config, given| {
            config.memory.file = Some(path(given)?);
            Ok(())
        }),
    ),
];

const SERVICE: &[Flag] = &[
    flag(
        'c',
        "conn-limit",
        "NUMBER",
        "connections at a time (1024)",
        Set(|config, given| {
            config.service.connections_max = given.integer_u32(1..=limits::CONNECTIONS_MAX, exit::FAILURE)?;
            Ok(())
        }),
    ),
    flag(
        't',
        "threads",
        "NUMBER",
        "threads that serve (as many as there are processors for it)",
        Set(|config, given| {
            config.service.are_threads_given = true;
            config.service.threads = given.integer_u32(1..=i64::from(limits::THREADS_MAX), exit::FAILURE)?;
            Ok(())
        }),
    ),
    flag(
        'R',
        "max-reqs-per-event",
        "NUMBER",
        "requests of one connection served before it is another's turn (as many as arrive together)",
        Set(|config, given| {
            let number = given.integer_u32(1..=i64::from(i32::MAX), exit::FAILURE)?;
            config.service.requests_per_turn = NonZeroU32::new(number);
            Ok(())
        }),
    ),
    Flag {
        short: None,
        long: "driver",
        value: "NAME",
        help: "kernel interface: {drivers}",
        meaning: Set(|config, given| {
            given.text().clone_into(&mut config.service.driver);
            Ok(())
        }),
    },
    Flag {
        short: None,
        long: "spin",
        value: "MICROSECONDS",
        help: "look for requests so long before sleeping, for latency at the cost of processor time (0)",
        meaning: Set(|config, given| {
            config.service.spin_us = given.integer_u32(0..=limits::SPIN_US_MAX, exit::USAGE)?;
            Ok(())
        }),
    },
    Flag {
        short: None,
        long: "pin",
        value: "",
        help: "keep each thread that serves on a processor of its own (Linux)",
        meaning: Set(|config, _| {
            config.service.is_pinned = true;
            Ok(())
        }),
    },
    flag('o', "extended", "LIST", "further options, between commas; see below", Set(suboptions::set_all)),
];

const COMMANDS: &[Flag] = &[
    flag(
        'A',
        "enable-shutdown",
        "",
        "clients may end the server with 'shutdown'",
        Set(|config, _| {
            config.commands.shutdown = true;
            Ok(())
        }),
    ),
    flag(
        'F',
        "disable-flush-all",
        "",
        "refuse 'flush_all'",
        Set(|config, _| {
            config.commands.flush = false;
            Ok(())
        }),
    ),
    flag(
        'X',
        "disable-dumping",
        "",
        "refuse commands that list keys",
        Set(|config, _| {
            config.commands.dump = false;
            Ok(())
        }),
    ),
    flag(
        'W',
        "disable-watch",
        "",
        "refuse 'watch'",
        Set(|config, _| {
            config.commands.watch = false;
            Ok(())
        }),
    ),
    flag(
        'D',
        "prefix-delimiter",
        "CHARACTER",
        "count by key prefix, which ends there (:)",
        Set(set_delimiter),
    ),
    flag(
        'B',
        "protocol",
        "NAME",
        "auto, ascii or binary (auto, by a connection's first byte)",
        Set(set_protocol),
    ),
];

const PROCESS: &[Flag] = &[
    flag(
        'u',
        "user",
        "NAME",
        "the user to become after listening, when started as root",
        Set(|config, given| {
            config.process.user = Some(given.text().to_owned());
            Ok(())
        }),
    ),
    flag(
        'd',
        "daemon",
        "",
        "serve in the background",
        Set(|config, _| {
            config.process.daemon = true;
            Ok(())
        }),
    ),
    flag(
        'P',
        "pidfile",
        "FILE",
        "write the process's id there",
        Set(|config, given| {
            config.process.pid_file = Some(path(given)?);
            Ok(())
        }),
    ),
    flag(
        'r',
        "enable-coredumps",
        "",
        "dump core, as large as it gets, on a crash",
        Set(|config, _| {
            config.process.dumps_core = true;
            Ok(())
        }),
    ),
    flag(
        'v',
        "verbose",
        "",
        "say more on the standard error; -vv: each request and each answer, too",
        Set(|config, _| {
            config.process.verbosity = config.process.verbosity.saturating_add(1);
            Ok(())
        }),
    ),
];

const ABOUT: &[Flag] = &[
    flag('h', "help", "", "print this and end", Print(help::help)),
    flag('V', "version", "", "print the version and end", Print(help::version)),
    flag('i', "license", "", "print the licences and end", Print(help::licence)),
];

const WITHOUT_EFFECT: &[Flag] = &[
    flag(
        'f',
        "slab-growth-factor",
        "FACTOR",
        "statistics show classes of this kind, nothing else",
        Nothing(|config, given| {
            config.shown.growth_factor = given.fraction(1.0)?;
            Ok(())
        }),
    ),
    flag(
        'n',
        "slab-min-size",
        "BYTES",
        "statistics show classes of this kind, nothing else",
        Nothing(|config, given| {
            config.shown.chunk_bytes = given.integer_u32(1..=i64::from(i32::MAX), exit::FAILURE)?;
            Ok(())
        }),
    ),
    flag(
        'N',
        "napi-ids",
        "NUMBER",
        "connections are not placed by network queue",
        Nothing(|config, given| {
            let number = given.integer(0..=i64::from(i32::MAX), exit::FAILURE)?;
            config.shown.settings.push(("num_napi_ids", number.to_string()));
            Ok(())
        }),
    ),
];

const NO_AUTHENTICATION: &str =
    "authentication is not supported; leave it out, and let only your clients connect (-s, -l)";

const REFUSED: &[Flag] = &[
    flag('S', "enable-sasl", "", "", Refused(NO_AUTHENTICATION)),
    flag('Y', "auth-file", "FILE", "", Refused(NO_AUTHENTICATION)),
    flag('Z', "enable-ssl", "", "", Refused(NO_TLS)),
];

fn path(given: &Given<'_>) -> Result<PathBuf, Refusal> {
    if given.text().is_empty() {
        return Err(given.refuse(exit::USAGE, "needs the name of a file"));
    }
    Ok(PathBuf::from(given.text()))
}

fn set_port(config: &mut Config, given: &Given<'_>) -> Result<(), Refusal> {
    let number = given.integer(-1..=i64::from(u16::MAX), exit::USAGE)?;
    config.listening.port = Some(port(number));
    Ok(())
}

fn set_udp_port(config: &mut Config, given: &Given<'_>) -> Result<(), Refusal> {
    config.listening.udp_port = port(given.integer(-1..=i64::from(u16::MAX), exit::USAGE)?);
    Ok(())
}

/// A port as memcached writes it.
fn port(number: i64) -> Port {
    match u16::try_from(number) {
        Err(_) => Port::Any,
        Ok(0) => Port::Off,
        Ok(port) => Port::Number(port),
    }
}

fn set_delimiter(config: &mut Config, given: &Given<'_>) -> Result<(), Refusal> {
    let [delimiter] = given.text().as_bytes() else {
        return Err(given.refuse(exit::FAILURE, "must be one character"));
    };
    config.commands.prefix_delimiter = Some(*delimiter);
    Ok(())
}

fn set_protocol(config: &mut Config, given: &Given<'_>) -> Result<(), Refusal> {
    config.service.protocol = match given.text() {
        "auto" => Protocol::Auto,
        "ascii" => Protocol::Ascii,
        "binary" => Protocol::Binary,
        _ => return Err(given.refuse(exit::USAGE, "must be auto, ascii or binary")),
    };
    Ok(())
}
