//! What watchers are told, and what is counted by prefix. Nothing of this runs while nobody wants it.

use std::fmt::Write;
use std::sync::Arc;

use mm_base::Now;
use mm_proto::memcached::lines;
use mm_server::{Address, Stats, Token};
use mm_store::{Key, Miss, Mode, Outcome, Put, PutError, Sharing};

use crate::clock::Time;
use crate::limits::CONNECTION_EVENTS_MAX;
use crate::long::Long;
use crate::prefixes::Deed;
use crate::registry::Registered;
use crate::service::{Call, Memcached};
use crate::storing::item_bytes;
use crate::watch::{Moment, Watcher, kind, parse_kinds, write_key};

/// A shard's part in watching.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    /// The watchers among the shard's connections.
    watchers: Vec<(Token, Arc<Watcher>)>,
    moment: Moment,
    /// The number of the connection that is served, and the time in the store's seconds.
    asking: usize,
    now_s: u32,
    /// Connections that came or went, whose lines wait for the time to be known.
    connections: Vec<(Address, usize, Option<&'static str>)>,
    /// The server's counters of connections that ended otherwise than by their peers, as last seen.
    ended: Ended,
}

/// How connections ended, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    idle: u64,
    broken: u64,
}

impl Ended {
    fn of(server: &Stats) -> Self {
        Self { idle: server.idle_timeouts.get(), broken: server.socket_errors.get() }
    }
}

impl Watching {
    /// For a shard of which this was counted before.
    pub(crate) fn new(server: Option<&Stats>) -> Self {
        Self { ended: server.map_or_else(Ended::default, Ended::of), ..Self::default() }
    }
}

impl<S: Sharing> Memcached<S> {
    /// Whether somebody watches, or counts by prefix.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.shared.observed.get() != 0
    }

    fn is_watched(&self, kind: u32) -> bool {
        self.shared.observed.get() & kind != 0
    }

    /// `watch`. Returns what is answered where it does not begin.
    pub(crate) fn begin_watch(&mut self, words: &[u8], call: &mut Call<'_>) -> Option<&'static [u8]> {
        if !self.shared.settings.allowed.watch {
            return Some(lines::WATCH_DISABLED);
        }
        if call.asking == 0 {
            // A datagram: it has been forgotten when something happens.
            return Some(b"WATCHER_FAILED failed to add log watcher\r\n");
        }
        let Some(kinds) = parse_kinds(words) else { return Some(lines::ERROR) };
        let Some(watcher) = self.shared.watchers.add(kinds, &self.shared.observed) else {
            return Some(b"WATCHER_TOO_MANY log watcher limit reached\r\n");
        };
        self.watching.watchers.push((call.token, Arc::clone(&watcher)));
        call.output.write(lines::OK);
        call.long = Some(Box::new(Long::Watch(watcher)));
        None
    }

    /// A watcher's connection has ended.
    pub(crate) fn end_watch(&mut self, watcher: &Arc<Watcher>) {
        self.watching.watchers.retain(|(_, other)| !Arc::ptr_eq(other, watcher));
        self.shared.watchers.remove(watcher, &self.shared.observed);
    }

    /// At the beginning of a run: notes the time, and who asks.
    #[cold]
    #[inline(never)]
    pub(crate) fn observe_run(&mut self, now: Now, asking: usize, time: &Time) {
        self.watching.asking = asking;
        self.watching.now_s = time.now_s;
        self.observe_time(now);
    }

    /// Notes the time, and tells what waited for it.
    fn observe_time(&mut self, now: Now) {
        self.watching.moment.update(now);
        for (address, number, reason) in self.watching.connections.drain(..) {
            self.shared.watchers.tell(kind::CONNECTIONS, self.watching.moment, |text| {
                write_connection(text, &address, number, reason);
            });
        }
    }

    /// At the end of every turn: tells of evictions, and wakes the shard's watchers that have lines to send. Returns
    /// whether there are watchers here, for whom other shards may have lines at any time.
    pub(crate) fn observe_turn(&mut self, now: Now, now_s: u32) -> bool {
        let watched = self.is_watched(kind::EVICTIONS);
        self.store.observe_evictions(watched);
        if self.is_observed() {
            self.observe_time(now);
        }
        if watched {
            self.tell_evictions(now_s);
        }
        for (token, watcher) in &self.watching.watchers {
            if watcher.take_wake() {
                self.ready.wake(*token);
            }
        }
        !self.watching.watchers.is_empty()
    }

    fn tell_evictions(&mut self, now_s: u32) {
        let (shared, moment) = (&self.shared, self.watching.moment);
        let missed = self.store.take_evicted(|item| {
            let class = shared.classes.class_of(item_bytes(item.key.len(), item.client_flags, item.len));
            shared.watchers.tell(kind::EVICTIONS, moment, |text| {
                text.push_str("type=eviction key=");
                write_key(text, &item.key);
                let fetched = if item.was_fetched { "yes" } else { "no" };
                let left = match item.expiry_s {
                    0 => -1,
                    expiry_s => i64::from(expiry_s) - i64::from(now_s),
                };
                let age_s = now_s.saturating_sub(item.last_access_s);
                let size = item.len;
                write!(text, " fetch={fetched} ttl={left} la={age_s} clsid={class} size={size}")
                    .unwrap_or(());
            });
        });
        if missed > 0 {
            self.shared.watchers.tell_missed(kind::EVICTIONS, missed);
        }
    }

    /// A connection has come, or gone for a reason.
    pub(crate) fn observe_connection(
        &mut self,
        address: Address,
        of: &Registered,
        reason: Option<&'static str>,
    ) {
        let is_wanted = self.is_watched(kind::CONNECTIONS) && of.number != 0;
        if is_wanted && self.watching.connections.len() < CONNECTION_EVENTS_MAX {
            self.watching.connections.push((address, of.number, reason));
        } else if is_wanted {
            self.shared.watchers.tell_missed(kind::CONNECTIONS, 1);
        }
    }

    /// Why a connection has just ended: the server has counted it before it said so.
    pub(crate) fn end_reason(&mut self) -> &'static str {
        let Some(stats) = self.server.get(self.shard) else { return "normal" };
        let now = Ended::of(stats);
        let before = std::mem::replace(&mut self.watching.ended, now);
        match () {
            () if now.idle != before.idle => "idle_timeout",
            () if now.broken != before.broken => "error",
            () => "normal",
        }
    }

    /// A look-up of a key, successful or not.
    #[inline]
    pub(crate) fn observe_fetch(&mut self, key: &Key<'_>, miss: Option<Miss>) {
        if self.is_observed() {
            self.tell_fetch(key, miss);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_fetch(&mut self, key: &Key<'_>, miss: Option<Miss>) {
        let key = *key;
        self.count_deed(key, if miss.is_none() { Deed::Hit } else { Deed::Miss });
        if !self.is_watched(kind::FETCHERS) {
            return;
        }
        let status = match miss {
            None => "found",
            Some(Miss::Absent) => "not_found",
            Some(Miss::Flushed) => "flushed",
            Some(Miss::Expired) => "expired",
        };
        // The item was there, unless it has been given a time that is over.
        let item = self.store.peek(key, self.watching.now_s).ok().filter(|_| miss.is_none());
        let (class, len) = item.map_or((0, 0), |item| {
            let bytes = item_bytes(key.bytes().len(), item.client_flags(), item.len());
            (self.shared.classes.class_of(bytes), item.len())
        });
        let asking = self.watching.asking;
        self.shared.watchers.tell(kind::FETCHERS, self.watching.moment, |text| {
            text.push_str("type=item_get key=");
            write_key(text, key.bytes());
            write!(text, " status={status} clsid={class} cfd={asking} size={len}").unwrap_or(());
        });
    }

    /// A store of a value of `len` bytes, successful or not.
    #[inline]
    pub(crate) fn observe_store(
        &mut self,
        key: Key<'_>,
        put: &Put,
        len: usize,
        status: Result<Outcome, PutError>,
    ) {
        if self.is_observed() {
            self.tell_store(key, put, len, status);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_store(&mut self, key: Key<'_>, put: &Put, len: usize, status: Result<Outcome, PutError>) {
        self.count_deed(key, Deed::Set);
        if !self.is_watched(kind::MUTATIONS) {
            return;
        }
        let (text, refused) = match status {
            Ok(Outcome::Stored) => ("stored", false),
            Ok(Outcome::NotStored) => ("not_stored", false),
            Ok(Outcome::Exists) => ("exists", false),
            Ok(Outcome::NotFound) => ("not_found", false),
            Err(PutError::TooLarge) => ("too_large", true),
            Err(PutError::NoMemory) => ("no_memory", true),
        };
        let verb = match put.mode {
            Mode::Set => "set",
            Mode::Add => "add",
            Mode::Replace => "replace",
            Mode::Append | Mode::AppendTo(_) => "append",
            Mode::Prepend | Mode::PrependTo(_) => "prepend",
            Mode::Cas(_) | Mode::CasAndState { .. } => "cas",
        };
        // What an item has become by joining values is the item's own.
        let now_s = self.watching.now_s;
        let is_joined = matches!(verb, "append" | "prepend") && status == Ok(Outcome::Stored);
        let item = if is_joined { self.store.peek(key, now_s).ok() } else { None };
        let (len, flags, expiry_s) = item.map_or((len, put.client_flags, put.expiry_s), |item| {
            (item.len(), item.client_flags(), item.expiry_s())
        });
        let (asking, status) = (self.watching.asking, text);
        let (len, left_s) = if refused { (0, 0) } else { (len, expiry_s.saturating_sub(now_s)) };
        let class = self.shared.classes.class_of(item_bytes(key.bytes().len(), flags, len));
        self.shared.watchers.tell(kind::MUTATIONS, self.watching.moment, |text| {
            text.push_str("type=item_store key=");
            write_key(text, key.bytes());
            write!(text, " status={status} cmd={verb} ttl={left_s} clsid={class} cfd={asking} size={len}")
                .unwrap_or(());
        });
    }

    /// Counts a deed by the key's prefix, where that is wanted.
    fn count_deed(&mut self, key: Key<'_>, deed: Deed) {
        if self.is_watched(kind::PREFIXES) {
            let delimiter = self.shared.settings.prefix_delimiter;
            self.shared.prefixes[self.shard].lock().count(key.bytes(), delimiter, deed);
        }
    }

    /// A deletion by a command, before it is done, whether the item is there or not, of an item that has the CAS value
    /// `wanted` where one is given.
    #[inline]
    pub(crate) fn observe_deletion(&mut self, key: Key<'_>, command: &str, wanted: Option<u64>) {
        if self.is_observed() {
            self.tell_deletion(key, command, wanted);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_deletion(&mut self, key: Key<'_>, command: &str, wanted: Option<u64>) {
        self.count_deed(key, Deed::Delete);
        if !self.is_watched(kind::DELETIONS) {
            return;
        }
        let Ok(item) = self.store.peek(key, self.watching.now_s) else { return };
        if wanted.is_some_and(|cas| cas != item.current_cas()) {
            return;
        }
        let len = item.len();
        let class = self.shared.classes.class_of(item_bytes(key.bytes().len(), item.client_flags(), len));
        self.shared.watchers.tell(kind::DELETIONS, self.watching.moment, |text| {
            text.push_str("type=deleted key=");
            write_key(text, key.bytes());
            write!(text, " cmd={command} clsid={class} size={len}").unwrap_or(());
        });
    }
}

fn write_connection(text: &mut String, address: &Address, number: usize, reason: Option<&str>) {
    let (ip, port, transport) = match address {
        Address::Ip(address) => (address.ip().to_string(), address.port(), "tcp"),
        Address::Unix => ("unix".to_owned(), 0, "local"),
    };
    let event = if reason.is_some() { "conn_close" } else { "conn_new" };
    write!(text, "type={event} rip={ip} rport={port} transport={transport}").unwrap_or(());
    if let Some(reason) = reason {
        write!(text, " reason={reason}").unwrap_or(());
    }
    write!(text, " cfd={number}").unwrap_or(());
}
