//! `watch`: lines about what happens, sent to connections that asked for them.
//!
//! Each watcher has a bounded buffer, into which the shards put lines and from which the shard of its connection sends.
//! A line that finds no room is skipped and counted, and the count stands before the next line that finds some: a
//! watcher that reads slowly delays nobody. While nobody watches, a request pays for one look at
//! [`Observed`], which it shares with the statistics by prefix.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mm_base::Now;
use mm_base::buffer::Output;
use mm_proto::memcached::admin::is_abbreviation;
use mm_proto::memcached::tokens;

use crate::limits::{VERBOSITY_ALOUD, WATCH_PIECE_BYTES, WATCHERS_MAX};
use crate::long::Progress;

/// What somebody wants to know of every request, one bit each: nothing at all, mostly.
#[derive(Debug, Default)]
pub(crate) struct Observed(AtomicU32);

/// Kinds of lines, and the statistics by prefix, as bits of [`Observed`].
pub(crate) mod kind {
    /// Look-ups.
    pub(crate) const FETCHERS: u32 = 1;
    /// Stores.
    pub(crate) const MUTATIONS: u32 = 1 << 1;
    /// Evictions.
    pub(crate) const EVICTIONS: u32 = 1 << 2;
    /// Connections that come and go.
    pub(crate) const CONNECTIONS: u32 = 1 << 3;
    /// Deletions.
    pub(crate) const DELETIONS: u32 = 1 << 4;
    /// What is asked for by name and does not happen here.
    pub(crate) const NOTHING: u32 = 1 << 5;
    /// Statistics by prefix, which are no lines.
    pub(crate) const PREFIXES: u32 = 1 << 6;
    /// Requests and responses, for the operator.
    pub(crate) const ALOUD: u32 = 1 << 7;
}

/// The names that `watch` knows. Any beginning stands for the first that fits.
const NAMES: [(&[u8], u32); 10] = [
    (b"rawcmds", kind::NOTHING),
    (b"evictions", kind::EVICTIONS),
    (b"fetchers", kind::FETCHERS),
    (b"mutations", kind::MUTATIONS),
    (b"sysevents", kind::NOTHING),
    (b"connevents", kind::CONNECTIONS),
    (b"proxyreqs", kind::NOTHING),
    (b"proxyevents", kind::NOTHING),
    (b"proxyuser", kind::NOTHING),
    (b"deletions", kind::DELETIONS),
];

impl Observed {
    /// With statistics by prefix on or off, and so many `-v`.
    pub(crate) fn new(prefixes: bool, verbosity: u32) -> Self {
        let observed = Self::default();
        observed.set(kind::PREFIXES, prefixes);
        observed.set(kind::ALOUD, verbosity >= VERBOSITY_ALOUD);
        observed
    }

    /// What is wanted.
    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns one kind on or off.
    pub(crate) fn set(&self, kind: u32, on: bool) {
        if on {
            self.0.fetch_or(kind, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!kind, Ordering::Relaxed);
        }
    }
}

/// All watchers of a server.
#[derive(Debug)]
pub(crate) struct Watchers {
    list: Mutex<Vec<Arc<Watcher>>>,
    buffer_bytes: usize,
    /// The number of the next line.
    next: AtomicU64,
    pub(crate) counts: Counts,
}

/// What `stats` tells of watchers.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Lines put together.
    pub(crate) written: AtomicU64,
    /// Lines that found no room in a watcher's buffer.
    pub(crate) skipped: AtomicU64,
    /// Lines put into a watcher's buffer.
    pub(crate) sent: AtomicU64,
}

/// One watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    kinds: u32,
    buffer_bytes: usize,
    waiting: Mutex<Waiting>,
    /// There are lines that its connection has not been woken for.
    wants_wake: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    skipped: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kinds that the words of `watch` name: look-ups where there are none. `None` where one is no kind.
pub(crate) fn parse_kinds(words: &[u8]) -> Option<u32> {
    let kind = |word| NAMES.iter().find(|(name, _)| is_abbreviation(word, name)).map(|(_, kind)| kind);
    let kinds = tokens(words).try_fold(0, |all, word| Some(all | kind(word)?))?;
    Some(if kinds == 0 { kind::FETCHERS } else { kinds })
}

impl Watchers {
    /// None yet. Each will have a buffer of so many bytes.
    pub(crate) fn new(buffer_bytes: usize) -> Self {
        let counts = Counts::default();
        Self { list: Mutex::default(), buffer_bytes, next: AtomicU64::new(1), counts }
    }

    /// Adds a watcher, unless there are as many as there may be.
    pub(crate) fn add(&self, kinds: u32, observed: &Observed) -> Option<Arc<Watcher>> {
        let mut list = lock(&self.list);
        if list.len() >= WATCHERS_MAX {
            return None;
        }
        let (waiting, wants_wake) = (Mutex::default(), AtomicBool::new(false));
        let watcher = Arc::new(Watcher { kinds, buffer_bytes: self.buffer_bytes, waiting, wants_wake });
        list.push(Arc::clone(&watcher));
        observed.set(kinds, true);
        Some(watcher)
    }

    /// Takes a watcher away.
    pub(crate) fn remove(&self, watcher: &Arc<Watcher>, observed: &Observed) {
        let mut list = lock(&self.list);
        list.retain(|other| !Arc::ptr_eq(other, watcher));
        let still = list.iter().fold(0, |all, watcher| all | watcher.kinds);
        observed.set(watcher.kinds & !still, false);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.list).len()
    }

    /// Tells all that watch `kind` of something that happened at `now`. `line` writes the part that is its own.
    pub(crate) fn tell(&self, kind: u32, now: Moment, line: impl FnOnce(&mut String)) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = format!("ts={}.{:06} gid={number} ", now.unix_s, now.micros);
        line(&mut text);
        text.push('\n');
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        for watcher in lock(&self.list).iter().filter(|watcher| watcher.kinds & kind != 0) {
            let count = if watcher.put(text.as_bytes()) { &self.counts.sent } else { &self.counts.skipped };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many events of a kind have happened of which nothing else is known.
    pub(crate) fn tell_missed(&self, kind: u32, events: u64) {
        for watcher in lock(&self.list).iter().filter(|watcher| watcher.kinds & kind != 0) {
            lock(&watcher.waiting).skipped += events;
            self.counts.skipped.fetch_add(events, Ordering::Relaxed);
        }
    }
}

impl Watcher {
    /// Whether there was room for the line.
    fn put(&self, line: &[u8]) -> bool {
        let mut waiting = lock(&self.waiting);
        let skipped = match waiting.skipped {
            0 => String::new(),
            skipped => format!("skipped={skipped}\n"),
        };
        if waiting.lines.len() + skipped.len() + line.len() > self.buffer_bytes {
            mm_base::mark!("line for a watcher skipped");
            waiting.skipped += 1;
            return false;
        }
        if waiting.lines.is_empty() {
            self.wants_wake.store(true, Ordering::Relaxed);
        }
        waiting.lines.extend_from_slice(skipped.as_bytes());
        waiting.skipped = 0;
        waiting.lines.extend_from_slice(line);
        true
    }

    /// Whether its connection has to be woken: asked once for what came in since it sent everything.
    pub(crate) fn take_wake(&self) -> bool {
        self.wants_wake.load(Ordering::Relaxed) && self.wants_wake.swap(false, Ordering::Relaxed)
    }

    /// Sends what waits, as far as the output has room.
    pub(crate) fn resume(&self, output: &mut Output) -> Progress {
        let mut waiting = lock(&self.waiting);
        let mut sent = 0;
        while sent < waiting.lines.len() && !output.is_full() {
            let end = waiting.lines.len().min(sent + WATCH_PIECE_BYTES);
            output.write(&waiting.lines[sent..end]);
            sent = end;
        }
        waiting.lines.drain(..sent);
        if waiting.lines.is_empty() { Progress::Waits } else { Progress::Full }
    }
}

/// The time of a line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    unix_s: u64,
    micros: u64,
    /// When this second began, on the monotonic clock, as far as it is known.
    second_began_ms: u64,
}

impl Moment {
    /// The time `now`. Its part of a second is counted from the first look in that second.
    pub(crate) fn update(&mut self, now: Now) {
        if now.unix_s != self.unix_s {
            *self = Self { unix_s: now.unix_s, micros: 0, second_began_ms: now.monotonic_ms };
        }
        self.micros = now.monotonic_ms.saturating_sub(self.second_began_ms).min(999) * 1000;
    }
}

/// Writes a key in the encoding of addresses of the web, as memcached writes it.
pub(crate) fn write_key(text: &mut String, key: &[u8]) {
    for &byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(text, "%{byte:02X}").unwrap_or(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_beginnings() {
        assert_eq!(parse_kinds(b""), Some(kind::FETCHERS));
        assert_eq!(parse_kinds(b"m fetchers e"), Some(kind::MUTATIONS | kind::FETCHERS | kind::EVICTIONS));
        assert_eq!(parse_kinds(b"c d"), Some(kind::CONNECTIONS | kind::DELETIONS));
        assert_eq!(parse_kinds(b"rawcmds proxyuser"), Some(kind::NOTHING));
        assert_eq!(parse_kinds(b"fetchers x"), None);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (observed, watchers) = (Observed::default(), Watchers::new(70));
        let watcher = watchers.add(kind::FETCHERS, &observed).unwrap();
        assert_eq!(observed.get(), kind::FETCHERS);
        for _ in 0..5 {
            watchers.tell(kind::FETCHERS, Moment::default(), |text| text.push('x'));
        }
        watchers.tell(kind::MUTATIONS, Moment::default(), |text| text.push('y'));
        assert!(watcher.take_wake() && !watcher.take_wake());
        let lines = std::mem::take(&mut lock(&watcher.waiting).lines);
        let kept = lines.iter().filter(|&&byte| byte == b'\n').count();
        watchers.tell(kind::FETCHERS, Moment::default(), |text| text.push('z'));
        let text = String::from_utf8(lock(&watcher.waiting).lines.clone()).unwrap();
        assert_eq!(text, format!("skipped={}\nts=0.000000 gid=7 z\n", 5 - kept));
        watchers.remove(&watcher, &observed);
        assert_eq!((observed.get(), watchers.len()), (0, 0));
    }
}
