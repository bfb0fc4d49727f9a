//! The suboptions of `-o`: names between commas, some with `=VALUE`.

use super::given::Given;
use crate::config::{Config, Name};
use crate::limits::{ITEM_SIZE_MAX, WATCHER_KIB_MAX};
use crate::refusal::{NO_TLS, Refusal, exit};

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
    /// Nothing, but that `stats settings` shows it under this name, in these words.
    Shown(&'static str, fn(&Given<'_>) -> Result<String, Refusal>),
    /// Nothing, and the help keeps quiet about it: memcached's tests take its mention as a promise.
    Quiet,
    /// Commands for tests exist. It itself exists only in the program for tests, `memcached-debug`.
    ForTests,
    /// Cannot be honoured, for this reason.
    Refused(&'static str),
}

use Meaning::{ForTests, Nothing, Quiet, Refused, Set, Shown};
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

/// One with a value that is only shown.
const fn shown(
    name: &'static str,
    setting: &'static str,
    show: fn(&Given<'_>) -> Result<String, Refusal>,
) -> Suboption {
    Suboption { name, value: Required, meaning: Shown(setting, show) }
}

/// One without a value that is only shown.
const fn switch(
    name: &'static str,
    setting: &'static str,
    show: fn(&Given<'_>) -> Result<String, Refusal>,
) -> Suboption {
    Suboption { name, value: Value::None, meaning: Shown(setting, show) }
}

const fn refused(name: &'static str, why: &'static str) -> Suboption {
    Suboption { name, value: Optional, meaning: Refused(why) }
}

const NO_FLASH: &str =
    "storing items on flash is not supported; leave the ext_ options out, and give -m the memory";
const NO_PROXY: &str =
    "the proxy is not supported; leave the proxy_ options out, and put a proxy before the server";
const NO_FILTER: &str =
    "filtering system calls is not supported; leave it out, systemd's SystemCallFilter= can do it";

/// What of memcached 1.4's defaults is only shown.
const NO_MODERN: [(&str, &str); 4] =
    [("slab_reassign", "no"), ("slab_automove", "0"), ("lru_crawler", "no"), ("lru_maintainer_thread", "no")];

/// Every suboption: first those with an effect, then those without, then those that cannot be honoured.
pub(super) const SUBOPTIONS: &[Suboption] = &[
    set(
        "idle_timeout",
        Required,
        "close TCP connections that are idle so many seconds (0: never)",
        |config, given| {
            let seconds = given.integer(i64::from(i32::MIN)..=i64::from(u32::MAX), exit::FAILURE)?;
            // As in memcached, a negative time is never over.
            config.service.idle_timeout_s = u32::try_from(seconds).unwrap_or(0);
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
        config.shown.settings.extend(NO_MODERN.map(|(name, value)| (name, value.to_owned())));
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
            let kib = given.integer_u32(1..=i64::from(u32::MAX), exit::FAILURE)?;
            config.service.watcher_kib = kib.min(WATCHER_KIB_MAX);
            Ok(())
        },
    ),
    nothing("modern"),
    shown("hashpower", "hashpower_init", |given| integer(given, 12, 32)),
    nothing("no_hashexpand"),
    switch("slab_reassign", "slab_reassign", |_| Ok("yes".to_owned())),
    switch("no_slab_reassign", "slab_reassign", |_| Ok("no".to_owned())),
    Suboption { name: "slab_automove", value: Optional, meaning: Shown("slab_automove", automove) },
    switch("no_slab_automove", "slab_automove", |_| Ok("0".to_owned())),
    shown("slab_automove_ratio", "slab_automove_ratio", ratio),
    shown("slab_automove_window", "slab_automove_window", |given| integer(given, 3, 1800)),
    shown("slab_automove_freeratio", "slab_automove_freeratio", |given| fraction(given, f64::NEG_INFINITY)),
    shown("tail_repair_time", "tail_repair_time", |given| integer(given, 10, i64::from(i32::MAX))),
    nothing_but("hash_algorithm", check_hash),
    switch("lru_crawler", "lru_crawler", |_| Ok("yes".to_owned())),
    switch("no_lru_crawler", "lru_crawler", |_| Ok("no".to_owned())),
    shown("lru_crawler_sleep", "lru_crawler_sleep", |given| integer(given, 0, 1_000_000)),
    shown("lru_crawler_tocrawl", "lru_crawler_tocrawl", |given| integer(given, 0, i64::from(u32::MAX))),
    switch("lru_maintainer", "lru_maintainer_thread", |_| Ok("yes".to_owned())),
    switch("no_lru_maintainer", "lru_maintainer_thread", |_| Ok("no".to_owned())),
    shown("hot_lru_pct", "hot_lru_pct", |given| integer(given, 1, 79)),
    shown("warm_lru_pct", "warm_lru_pct", |given| integer(given, 1, 79)),
    shown("hot_max_factor", "hot_max_factor", |given| fraction(given, 0.0)),
    shown("warm_max_factor", "warm_max_factor", |given| fraction(given, 0.0)),
    shown("temporary_ttl", "temporary_ttl", |given| integer(given, i64::from(i32::MIN), i64::from(i32::MAX))),
    shown("worker_logbuf_size", "worker_logbuf_size", |given| {
        given.integer(1..=i64::from(u32::MAX >> 10), exit::FAILURE).map(|kib| (kib << 10).to_string())
    }),
    shown("slab_sizes", "slab_sizes", slab_sizes),
    shown("slab_chunk_max", "slab_chunk_max", |given| {
        given.size(1, 1..=ITEM_SIZE_MAX).map(|bytes| bytes.to_string())
    }),
    nothing("no_chunked_items"),
    nothing("inline_ascii_resp"),
    nothing("no_inline_ascii_resp"),
    nothing_but("resp_obj_mem_limit", |given| integer(given, 0, i64::from(i32::MAX)).map(|_| ())),
    shown("read_buf_mem_limit", "read_buf_mem_limit", |given| {
        given.integer(0..=i64::from(i32::MAX), exit::FAILURE).map(|mib| (mib << 20).to_string())
    }),
    Suboption { name: "no_drop_privileges", value: Value::None, meaning: Quiet },
    Suboption { name: "relaxed_privileges", value: Value::None, meaning: ForTests },
    refused("drop_privileges", NO_FILTER),
    refused("sock_cookie_id", "marking sockets is not supported; leave it out"),
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
    // As in memcached, a value that none wants does not count.
    if suboption.value == Required && !has_value {
        return Err(given.refuse(exit::FAILURE, "needs a value"));
    }
    match suboption.meaning {
        Set(_, set) => return set(config, given),
        Nothing(check) => check(given)?,
        Shown(setting, show) => config.shown.settings.push((setting, show(given)?)),
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

fn integer(given: &Given<'_>, low: i64, high: i64) -> Result<String, Refusal> {
    given.integer(low..=high, exit::FAILURE).map(|number| number.to_string())
}

fn fraction(given: &Given<'_>, above: f64) -> Result<String, Refusal> {
    given.fraction(above).map(|number| format!("{number:.2}"))
}

fn automove(given: &Given<'_>) -> Result<String, Refusal> {
    if given.text().is_empty() { Ok("1".to_owned()) } else { integer(given, 0, 2) }
}

fn check_hash(given: &Given<'_>) -> Result<(), Refusal> {
    match given.text() {
        "jenkins" | "murmur3" | "xxh3" => Ok(()),
        _ => Err(given.refuse(exit::FAILURE, "must be jenkins, murmur3 or xxh3")),
    }
}

fn ratio(given: &Given<'_>) -> Result<String, Refusal> {
    match given.fraction(0.0)? {
        ratio if ratio > 1.0 => Err(given.refuse(exit::FAILURE, "must be at most 1")),
        ratio => Ok(format!("{ratio:.2}")),
    }
}

/// Sizes between dashes, each larger than the one before it.
fn slab_sizes(given: &Given<'_>) -> Result<String, Refusal> {
    let sizes: Option<Vec<u32>> = given.text().split('-').map(|size| size.parse().ok()).collect();
    match sizes {
        Some(sizes) if sizes[0] > 0 && sizes.is_sorted_by(|one, next| one < next) => {
            Ok(given.text().to_owned())
        }
        _ => Err(given.refuse(exit::USAGE, "must be sizes in bytes between dashes, from small to large")),
    }
}
