//! Statistics, under memcached's names.

pub(crate) mod classes;
pub(crate) mod connections;
mod general;
mod settings;

use mm_store::Sharing;
use std::fmt::{Display, Write};

use mm_base::buffer::Output;
use mm_proto::memcached::admin::is_abbreviation;
use mm_proto::memcached::number::parse_u32;
use mm_proto::memcached::{lines, tokens};

use crate::counters::{Counter, Counters};
use crate::datagrams::NOT_BY_UDP;
use crate::dump::Dump;
use crate::long::Long;
use crate::prefixes::Prefixes;
use crate::service::{Call, Memcached};
use crate::survey::Subject;
use crate::watch::kind;

/// The classes that a client may ask for.
const CLASSES_MAX: u32 = 64;

impl<S: Sharing> Memcached<S> {
    /// stats and what follows it.
    ///
    /// Any beginning of the name of a group stands for it, the first that fits; items, slabs, sizes and server have to
    /// be spelled out.
    pub(crate) fn stats(&mut self, arguments: &[u8], call: &mut Call<'_>) {
        let mut words = tokens(arguments);
        let Some(group) = words.next() else {
            self.stats_general(call);
            return call.output.write(lines::END);
        };
        let is = |name: &[u8]| is_abbreviation(group, name);
        if is(b"reset") {
            self.reset_stats();
            return call.output.write(lines::RESET);
        }
        if is(b"detail") {
            return self.stats_detail(words.next().unwrap_or_default(), call.output);
        }
        if is(b"settings") {
            self.stats_settings(call.output);
        } else if is(b"cachedump") {
            return self.cachedump(words.next().zip(words.next()), call);
        } else if is(b"conns") {
            return self.stats_connections(call);
        } else {
            match group {
                b"items" => return self.begin_survey(Subject::Items, call),
                b"slabs" => return self.begin_survey(Subject::Slabs, call),
                b"sizes" if self.shared.settings.items.sizes_told => {
                    return self.begin_survey(Subject::Sizes, call);
                }
                b"sizes" => stat(call.output, "sizes_status", "disabled"),
                b"server" => self.stats_server(call.output),
                _ => return call.output.write(lines::ERROR),
            }
        }
        call.output.write(lines::END);
    }

    /// What the server beneath has counted since its start, as sums over the shards, and what belongs to uploads. Not
    /// of memcached's groups.
    fn stats_server(&self, output: &mut Output) {
        let mut shards = self.server.iter().map(mm_server::Stats::named);
        let Some(first) = shards.next() else { return };
        let mut sums = first.map(|(name, counter)| (name, counter.get()));
        for shard in shards {
            for ((_, sum), (_, counter)) in sums.iter_mut().zip(shard) {
                *sum = sum.wrapping_add(counter.get());
            }
        }
        for (name, sum) in sums {
            stat(output, name, sum);
        }
        stat(output, "upload_waits", self.sum(|all| &all.upload_waits));
    }

    fn stats_detail(&self, word: &[u8], output: &mut Output) {
        if !self.shared.settings.allowed.dumps {
            return output.write(b"CLIENT_ERROR stats detail not allowed\r\n");
        }
        let observed = &self.shared.observed;
        if is_abbreviation(word, b"dump") {
            return Prefixes::dump(&self.shared.prefixes, output);
        } else if is_abbreviation(word, b"on") {
            observed.set(kind::PREFIXES, true);
        } else if is_abbreviation(word, b"off") {
            observed.set(kind::PREFIXES, false);
        } else {
            return output.write(b"CLIENT_ERROR usage: stats detail on|off|dump\r\n");
        }
        output.write(lines::OK);
    }

    fn cachedump(&self, arguments: Option<(&[u8], &[u8])>, call: &mut Call<'_>) {
        let line = match arguments.map(|(class, limit)| (parse_u32(class), parse_u32(limit))) {
            _ if !self.shared.settings.allowed.dumps => {
                b"CLIENT_ERROR stats cachedump not allowed\r\n".as_slice()
            }
            _ if call.asking == 0 => NOT_BY_UDP,
            None => lines::BAD_LINE,
            Some((Some(class), Some(limit))) if class < CLASSES_MAX => {
                call.long = Some(Box::new(Long::Dump(Dump::of_class(class, limit))));
                return;
            }
            Some((Some(_), Some(_))) => b"CLIENT_ERROR Illegal slab id\r\n",
            Some(_) => lines::BAD_FORMAT,
        };
        call.output.write(line);
    }

    /// A counter's sum over all shards.
    fn sum(&self, counter: fn(&Counters) -> &Counter) -> u64 {
        self.shared.counters.iter().map(|counters| counter(counters).get()).sum()
    }

    fn reset_stats(&mut self) {
        for counters in &self.shared.counters {
            counters.reset();
        }
        self.store.reset_stats();
        self.shared.prefixes.iter().for_each(|prefixes| prefixes.lock().clear());
        self.shared.server_base.set(&self.server);
    }
}

/// Writes one statistic.
fn stat(output: &mut Output, name: &str, value: impl Display) {
    // Writing to an output does not fail.
    write!(output, "STAT {name} {value}\r\n").unwrap_or(());
}

/// The same, of a class.
fn class_stat(output: &mut Output, prefix: &str, class: usize, (name, value): (&str, u64)) {
    write!(output, "STAT {prefix}{class}:{name} {value}\r\n").unwrap_or(());
}
