//! Classic commands.

use std::io::Write;

use mm_base::choice::Choices;
use mm_proto::memcached::StoreVerb;

use crate::op::{Dump, DumpForm, Get, Group, What, Wire};

/// What can be watched.
const WATCHES: [&[u8]; 4] = [b"watch", b"watch mutations", b"watch evictions connevents", b"watch d f m e c"];

/// The line of a request.
pub(super) fn head(what: &What, wire: Wire, key: &[u8], choices: &mut Choices) -> Vec<u8> {
    let mut line = Vec::new();
    let mut words = |word: &str, numbers: &[&dyn std::fmt::Display]| {
        line.extend_from_slice(word.as_bytes());
        if !key.is_empty() {
            line.push(b' ');
            line.extend_from_slice(key);
        }
        // Writing to a Vec does not fail.
        numbers.iter().for_each(|number| write!(line, " {number}").unwrap_or(()));
    };
    match what {
        What::Get(get) => words(&get_word(get), &[]),
        What::Store(store) => {
            words(word_of(store.verb), &[&store.flags, &store.exptime, &store.value.len()]);
            if store.verb == StoreVerb::Cas {
                write!(line, " {}", store.cas).unwrap_or(());
            }
        }
        What::Delete(_) => words("delete", &[]),
        What::Count(count) => words(if count.decrement { "decr" } else { "incr" }, &[&count.delta]),
        What::Touch { exptime, .. } => words("touch", &[exptime]),
        What::Flush { delay_s: 0 } => words("flush_all", &[]),
        What::Flush { delay_s } => words("flush_all", &[delay_s]),
        What::Stats(Group::General) => words("stats", &[]),
        What::Stats(group) => words("stats", &[&group.words()]),
        What::Dump(dump) => words(&dump_line(dump), &[]),
        What::Watch => line.extend_from_slice(WATCHES[choices.index(WATCHES.len())]),
        What::Quit => words("quit", &[]),
        What::Line(_) | What::Plain | What::Debug { .. } => {}
    }
    line.extend_from_slice(if wire.quiet { b" noreply\r\n" } else { b"\r\n" });
    line
}

/// The word of a look-up, with its time.
pub(super) fn get_word(get: &Get) -> String {
    match (get.exptime, get.tells_cas) {
        (None, false) => "get".to_owned(),
        (None, true) => "gets".to_owned(),
        (Some(exptime), false) => format!("gat {exptime}"),
        (Some(exptime), true) => format!("gats {exptime}"),
    }
}

fn dump_line(dump: &Dump) -> String {
    let classes = if dump.class == 0 { "all".to_owned() } else { dump.class.to_string() };
    match dump.form {
        DumpForm::Meta => format!("lru_crawler metadump {classes}"),
        DumpForm::Commands => format!("lru_crawler mgdump {classes}"),
        DumpForm::Cache => format!("stats cachedump {} {}", dump.class, dump.lines_max),
    }
}

fn word_of(verb: StoreVerb) -> &'static str {
    match verb {
        StoreVerb::Set => "set",
        StoreVerb::Add => "add",
        StoreVerb::Replace => "replace",
        StoreVerb::Append => "append",
        StoreVerb::Prepend => "prepend",
        StoreVerb::Cas => "cas",
    }
}
