//! The suboptions of `-o`: names between commas, some with `=VALUE`.

use super::given::Given;
use crate::config::{Config, Name};
use crate::limits::WATCHER_KIB_MAX;
use crate::refusal::{Refusal, exit};

/// One suboption.
pub(super) struct Suboption {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether a value belongs to it.
    pub(super) value: Value,
    /// What it does.
    pub(super) meaning: Meaning,
}

/// Whether a value belongs to a suboption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// None does.
    None,
    /// One may be given.
    Optional,
    /// One must be given.
    Required,
}

/// What a suboption does.
pub(super) enum Meaning {
    /// This, which the help says in these words.
    Set(&'static str, fn(&mut Config, &Given<'_>) -> Result<(), Refusal>),
    /// Nothing; its value is checked all the same.
    Nothing(fn(&Given<'_>) -> Result<(), Refusal>),
    /// Nothing, and the help keeps quiet about it: memcached's tests take its mention as a promise.
    Quiet,
    /// Commands for tests exist. It itself exists only in the program for tests, `memcached-debug`.
    ForTests,
    /// Cannot be honoured, for this reason.
    Refused(&'static str),
}

use Meaning::{ForTests, Nothing, Quiet, Refused, Set};
use Value::{Optional, Required};

const fn set(
    name: &'static str,
    value: Value,
    help: &'static str,
    set: fn(&mut Config, &Given<'_>) -> Result<(), Refusal>,
) -> Suboption {
    Suboption { name, value, meaning: Set(help, set) }
}

const fn nothing(name: &'static str) -> Suboption {
    Suboption { name, value: Value::None, meaning: Nothing(|_| Ok(())) }
}

const fn nothing_but(name: &'static str, check: fn(&Given<'_>) -> Result<(), Refusal>) -> Suboption {
    Suboption { name, value: Required, meaning: Nothing(check) }
}

const fn refused(name: &'static str, why: &'static str) -> Suboption {
    Suboption { name, value: Optional, meaning: Refused(why) }
}

const NO_FLASH: &str = "storing items on flash is not supported";
const NO_TLS: &str = "TLS is not supported";
const NO_PROXY: &str = "the proxy is not supported";

/// Every suboption: first those with an effect, then those without, then those that cannot be honoured.
pub(super) const SUBOPTIONS: &[Suboption] = &[
    set(
        "idle_timeout",
        Required,
        "close TCP connections that are idle so many seconds (0: never)",
        |config, given| {
            config.service.idle_timeout_s = given.integer_u32(0..=i64::from(u32::MAX), exit::FAILURE)?;
            Ok(())
        },
    ),
    set(
        "maxconns_fast",
        Value::None,
        "tell connections beyond -c so and close them (this is so)",
        |config, _| {
            config.service.refuses_when_full = true;
            Ok(())
        },
    ),
    set("no_maxconns_fast", Value::None, "let connections beyond -c wait", |config, _| {
        config.service.refuses_when_full = false;
        Ok(())
    }),
    set("no_modern", Value::None, "memcached 1.4's defaults: no_maxconns_fast", |config, _| {
        config.service.refuses_when_full = false;
        Ok(())
    }),
    set("track_sizes", Value::None, "let 'stats sizes' tell the sizes of items", |config, _| {
        config.shown.tracks_sizes = true;
        Ok(())
    }),
    set(
        "watcher_logbuf_size",
        Required,
        "KiB that wait for a watcher that reads slowly (256)",
        |config, given| {
            config.service.watcher_kib = given.integer_u32(1..=i64::from(WATCHER_KIB_MAX), exit::FAILURE)?;
            Ok(())
        },
    ),
    nothing("modern"),
    nothing_but("hashpower", |given| integer(given, 12, 32)),
    nothing("no_hashexpand"),
    nothing("slab_reassign"),
    nothing("no_slab_reassign"),
    Suboption { name: "slab_automove", value: Optional, meaning: Nothing(check_automove) },
    nothing("no_slab_automove"),
    nothing_but("slab_automove_ratio", |given| given.fraction(0.0).map(|_| ())),
    nothing_but("slab_automove_window", |given| integer(given, 3, 1800)),
    nothing_but("slab_automove_freeratio", |given| given.fraction(0.0).map(|_| ())),
    nothing_but("tail_repair_time", |given| integer(given, 10, i64::from(i32::MAX))),
    nothing_but("hash_algorithm", check_hash),
    nothing("lru_crawler"),
    nothing("no_lru_crawler"),
    nothing_but("lru_crawler_sleep", |given| integer(given, 0, 1_000_000)),
    nothing_but("lru_crawler_tocrawl", |given| integer(given, 0, i64::from(u32::MAX))),
    nothing("lru_maintainer"),
    nothing("no_lru_maintainer"),
    nothing_but("hot_lru_pct", |given| integer(given, 1, 79)),
    nothing_but("warm_lru_pct", |given| integer(given, 1, 79)),
    nothing_but("hot_max_factor", |given| given.fraction(0.0).map(|_| ())),
    nothing_but("warm_max_factor", |given| given.fraction(0.0).map(|_| ())),
    nothing_but("temporary_ttl", |given| integer(given, 0, i64::from(i32::MAX))),
    nothing_but("worker_logbuf_size", |given| integer(given, 1, i64::from(i32::MAX))),
    nothing_but("slab_sizes", |_| Ok(())),
    nothing_but("slab_chunk_max", |given| integer(given, 1, i64::from(i32::MAX))),
    nothing("no_chunked_items"),
    nothing("inline_ascii_resp"),
    nothing("no_inline_ascii_resp"),
    nothing_but("resp_obj_mem_limit", |given| integer(given, 0, i64::from(i32::MAX))),
    nothing_but("read_buf_mem_limit", |given| integer(given, 0, i64::from(i32::MAX))),
    Suboption { name: "no_drop_privileges", value: Value::None, meaning: Quiet },
    Suboption { name: "relaxed_privileges", value: Value::None, meaning: ForTests },
    refused("drop_privileges", "filtering system calls is not supported"),
    refused("sock_cookie_id", "marking sockets is not supported"),
    refused("ext_", NO_FLASH),
    refused("ssl_", NO_TLS),
    refused("proxy_", NO_PROXY),
];

/// Sets all that one `-o` names.
///
/// # Errors
/// A [`Refusal`] that names the suboption at fault.
pub(super) fn set_all(config: &mut Config, given: &Given<'_>) -> Result<(), Refusal> {
    for entry in given.text().split(',').filter(|entry| !entry.is_empty()) {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (entry, None),
        };
        let shown = format!("-o {name}");
        set_one(config, &Given::new(&shown, value.unwrap_or_default()), (name, value.is_some()))?;
    }
    Ok(())
}

fn set_one(config: &mut Config, given: &Given<'_>, (name, has_value): (&str, bool)) -> Result<(), Refusal> {
    let illegal =
        || Refusal::new(exit::FAILURE, format!("-o {name}: there is no such suboption; -h lists them all"));
    let suboption = SUBOPTIONS.iter().find(|suboption| suboption.is(name)).ok_or_else(illegal)?;
    match (suboption.value, has_value) {
        (Required, false) => return Err(given.refuse(exit::FAILURE, "needs a value")),
        (Value::None, true) => return Err(given.refuse(exit::FAILURE, "takes no value")),
        _ => {}
    }
    match suboption.meaning {
        Set(_, set) => return set(config, given),
        Nothing(check) => check(given)?,
        Quiet => {}
        ForTests if config.name == (Name::Memcached { debug: true }) => {
            config.for_tests = true;
            return Ok(());
        }
        ForTests => return Err(illegal()),
        Refused(why) => return Err(given.refuse(exit::USAGE, why)),
    }
    config.without_meaning.push(given.to_string());
    Ok(())
}

impl Suboption {
    /// Whether this is what `name` means; names of what is refused stand for all that begin so.
    fn is(&self, name: &str) -> bool {
        if self.name.ends_with('_') { name.starts_with(self.name) } else { name == self.name }
    }
}

fn integer(given: &Given<'_>, low: i64, high: i64) -> Result<(), Refusal> {
    given.integer(low..=high, exit::FAILURE).map(|_| ())
}

fn check_automove(given: &Given<'_>) -> Result<(), Refusal> {
    if given.text().is_empty() { Ok(()) } else { integer(given, 0, 2) }
}

fn check_hash(given: &Given<'_>) -> Result<(), Refusal> {
    match given.text() {
        "jenkins" | "murmur3" | "xxh3" => Ok(()),
        _ => Err(given.refuse(exit::USAGE, "must be jenkins, murmur3 or xxh3")),
    }
}
