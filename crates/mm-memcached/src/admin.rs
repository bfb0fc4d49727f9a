//! Commands about the server.

use mm_store::Sharing;
use std::sync::atomic::Ordering;

use mm_base::buffer::Output;
use mm_proto::memcached::admin::{
    DebugTime, is_abbreviation, parse_cache_memlimit, parse_debug_time, parse_flush_all, parse_shutdown,
    parse_verbosity,
};
use mm_proto::memcached::number::{parse_i32, parse_u32};
use mm_proto::memcached::{Admin, AdminVerb, lines, tokens};

use crate::clock::Time;
use crate::datagrams::NOT_BY_UDP;
use crate::dump::{Dump, Form, parse_classes};
use crate::limits::{VERBOSITY_ALOUD, VERBOSITY_MAX};
use crate::long::Long;
use crate::service::{Call, Memcached};
use crate::storing::reply;
use crate::watch::kind;

/// The longest time that memcached's search for expired items may sleep, in microseconds.
const CRAWLER_SLEEP_MAX_US: u32 = 1_000_000;

/// The window of slab moves, in its lower and upper bound.
const WINDOW: std::ops::RangeInclusive<u32> = 3..=1800;

/// Why a memory limit was not set.
enum Unset {
    /// What the line says.
    Wrong(&'static [u8]),
    /// The store needs more.
    TooLow { least_mib: u64 },
}

impl<S: Sharing> Memcached<S> {
    /// A command about the server.
    pub(crate) fn admin(&mut self, admin: &Admin<'_>, call: &mut Call<'_>) {
        let arguments = admin.arguments;
        let line = match admin.verb {
            AdminVerb::Stats => return self.stats(arguments, call),
            AdminVerb::Shutdown => return self.shut_down(admin, call.output),
            AdminVerb::LruCrawler => match self.lru_crawler(arguments, call) {
                Some(line) => line,
                None => return,
            },
            AdminVerb::FlushAll => self.flush_all(admin, &call.time),
            AdminVerb::Verbosity => self.set_verbosity(arguments),
            AdminVerb::CacheMemlimit => match self.set_limit(arguments) {
                Ok(()) => lines::OK,
                Err(Unset::Wrong(line)) => line,
                Err(Unset::TooLow { least_mib }) => {
                    let line = lines::memlimit_too_small(least_mib);
                    return reply(call.output, admin.noreply, line.as_bytes());
                }
            },
            AdminVerb::DebugTime => self.move_time(arguments, call),
            AdminVerb::Slabs => slabs(arguments, self.shared.classes.len()),
            AdminVerb::Lru => lru(arguments),
            AdminVerb::Watch => match self.begin_watch(arguments, call) {
                Some(line) => line,
                None => return,
            },
            AdminVerb::Extstore | AdminVerb::RefreshCerts => lines::ERROR,
        };
        reply(call.output, admin.noreply, line);
    }

    fn flush_all(&mut self, admin: &Admin<'_>, time: &Time) -> &'static [u8] {
        self.counters.cmd_flush.count();
        if !self.shared.settings.allowed.flush {
            return lines::FLUSH_DISABLED;
        }
        match parse_flush_all(admin.arguments, admin.noreply) {
            Err(line) => return line,
            // A later command takes the place of one whose time has not come.
            Ok(delay @ 1..) => self.flush_at(time.future_s(delay), time),
            Ok(_) => {
                self.shared.set_flush(0);
                self.flush();
            }
        }
        lines::OK
    }

    fn set_verbosity(&self, arguments: &[u8]) -> &'static [u8] {
        match parse_verbosity(arguments) {
            Err(line) => line,
            Ok(level) => {
                let level = level.min(VERBOSITY_MAX);
                self.shared.verbosity.store(level, Ordering::Relaxed);
                self.shared.observed.set(kind::ALOUD, level >= VERBOSITY_ALOUD);
                lines::OK
            }
        }
    }

    /// What is above a lower limit goes step by step, beside writes and in the background.
    fn set_limit(&mut self, arguments: &[u8]) -> Result<(), Unset> {
        let limit_bytes = u64::from(parse_cache_memlimit(arguments).map_err(Unset::Wrong)?) << 20;
        let least_bytes = self.store.least_limit() as u64;
        if limit_bytes < least_bytes {
            return Err(Unset::TooLow { least_mib: least_bytes.div_ceil(1 << 20) });
        }
        let set = |bytes| self.shared.has_room(limit_bytes) && self.store.set_limit(bytes);
        if !usize::try_from(limit_bytes).is_ok_and(set) {
            return Err(Unset::Wrong(lines::MEMLIMIT_FAILED));
        }
        self.shared.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Says nothing where it is carried out: the connection ends with the server.
    fn shut_down(&self, admin: &Admin<'_>, output: &mut Output) {
        if !self.shared.settings.allowed.shutdown {
            return reply(output, admin.noreply, lines::SHUTDOWN_DISABLED);
        }
        match parse_shutdown(admin.arguments) {
            Ok(mode) => self.shared.host.shut_down(mode),
            Err(line) => reply(output, admin.noreply, line),
        }
    }

    fn move_time(&mut self, arguments: &[u8], call: &mut Call<'_>) -> &'static [u8] {
        if !self.shared.settings.has_debug {
            return lines::ERROR;
        }
        match parse_debug_time(arguments) {
            Err(line) => return line,
            Ok(DebugTime::Move(seconds)) => {
                self.shared.move_clock(seconds);
                call.time.move_on(seconds);
                self.flush_if_due(&call.time);
            }
            // The clock is the server's and does not stop.
            Ok(DebugTime::Pause | DebugTime::Resume) => {}
        }
        lines::OK
    }

    /// The search for expired items needs no command here; the commands are answered for the tools that send them.
    /// Returns nothing where a dump has begun.
    fn lru_crawler(&self, arguments: &[u8], call: &mut Call<'_>) -> Option<&'static [u8]> {
        let words: Vec<&[u8]> = tokens(arguments).take(3).collect();
        let number = |word| parse_u32(word).ok_or(lines::BAD_FORMAT);
        let classes = |words| parse_classes(words).ok_or(b"BADCLASS invalid class id\r\n".as_slice());
        let dumps = self.shared.settings.allowed.dumps;
        Some(match words[..] {
            [b"enable"] => b"ERROR failed to start lru crawler thread\r\n",
            [b"disable"] => lines::OK,
            [b"crawl", b"hash"] => b"ERROR an unknown error happened\r\n",
            [b"crawl", words] => classes(words).map_or_else(|line| line, |_| lines::OK),
            [b"metadump", _] if !dumps => b"ERROR metadump not allowed\r\n",
            [b"mgdump", _] if !dumps => b"ERROR key dump not allowed\r\n",
            [b"metadump" | b"mgdump", _] if call.asking == 0 => NOT_BY_UDP,
            [word @ (b"metadump" | b"mgdump"), words] => match classes(words) {
                Err(line) => line,
                Ok(classes) => {
                    let form = if word == b"mgdump" { Form::Commands } else { Form::Meta };
                    call.output.write(lines::OK);
                    call.long = Some(Box::new(Long::Dump(Dump::new(form, classes))));
                    return None;
                }
            },
            [b"tocrawl", count] => number(count).map_or_else(|line| line, |_| lines::OK),
            [b"sleep", sleep] => match number(sleep) {
                Err(line) => line,
                Ok(sleep) if sleep > CRAWLER_SLEEP_MAX_US => {
                    b"CLIENT_ERROR sleep must be one second or less\r\n"
                }
                Ok(_) => lines::OK,
            },
            _ => lines::ERROR,
        })
    }
}

/// There are no slabs; the answers are those of a server whose slabs have nothing to spare.
fn slabs(arguments: &[u8], classes: usize) -> &'static [u8] {
    let words: Vec<&[u8]> = tokens(arguments).take(4).collect();
    match words[..] {
        [word, source, destination] if is_abbreviation(word, b"reassign") => {
            let (Some(source), Some(destination)) = (parse_i32(source), parse_i32(destination)) else {
                return lines::BAD_FORMAT;
            };
            let classes = 1..=i32::try_from(classes).unwrap_or(i32::MAX);
            if source == destination {
                b"SAME src and dst class are identical\r\n"
            } else if !(source == -1 || classes.contains(&source))
                || !(destination == 0 || classes.contains(&destination))
            {
                b"BADCLASS invalid src or dst class id\r\n"
            } else {
                b"NOSPARE source class has no spare pages\r\n"
            }
        }
        [word, ..] if !is_abbreviation(word, b"automove") => lines::ERROR,
        [_, word, value] if is_abbreviation(word, b"ratio") || is_abbreviation(word, b"freeratio") => {
            if parse_float(value).is_some() {
                lines::OK
            } else {
                lines::ERROR
            }
        }
        [_, word, value] if is_abbreviation(word, b"window") => match parse_u32(value) {
            None => lines::BAD_FORMAT,
            Some(window) if WINDOW.contains(&window) => lines::OK,
            Some(_) => b"CLIENT_ERROR automove window too low or too high\r\n",
        },
        [_, level, ..] => match parse_u32(level) {
            None => lines::BAD_FORMAT,
            Some(..3) => lines::OK,
            Some(_) => lines::ERROR,
        },
        _ => lines::ERROR,
    }
}

/// The order of eviction has no such settings; they are checked and accepted.
fn lru(arguments: &[u8]) -> &'static [u8] {
    let words: Vec<&[u8]> = tokens(arguments).take(6).collect();
    match words[..] {
        [b"tune", hot, warm, hot_factor, warm_factor, ..] => {
            let percents = parse_u32(hot).zip(parse_u32(warm));
            let factors = parse_float(hot_factor).zip(parse_float(warm_factor));
            match percents.zip(factors) {
                None => lines::ERROR,
                Some(((hot, warm), _)) if hot.saturating_add(warm) > 80 => {
                    b"ERROR hot and warm pcts must not exceed 80\r\n"
                }
                Some((_, (hot, warm))) if hot <= 0.0 || warm <= 0.0 => {
                    b"ERROR hot/warm age factors must be greater than 0\r\n"
                }
                Some(_) => lines::OK,
            }
        }
        [b"mode", b"flat" | b"segmented", ..] => lines::OK,
        [b"temp_ttl", ttl, ..] if parse_i32(ttl).is_some() => lines::OK,
        _ => lines::ERROR,
    }
}

fn parse_float(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}
