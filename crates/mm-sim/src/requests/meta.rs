//! Meta commands.

use std::io::Write;

use mm_base::choice::Choices;
use mm_proto::memcached::{StoreVerb, lines};

use crate::op::{Count, Get, Store, What, Wire};
use crate::stream::Stream;

/// The line of a request.
pub(super) fn head(what: &What, wire: Wire, key: &[u8], choices: &mut Choices) -> Vec<u8> {
    let (verb, mut flags) = match what {
        What::Get(get) => ("mg", get_flags(get, choices)),
        What::Store(store) => ("ms", store_flags(store)),
        What::Delete { cas: 0, .. } => ("md", Vec::new()),
        What::Delete { cas, .. } => ("md", vec![format!("C{cas}")]),
        What::Count(count) => ("ma", count_flags(count)),
        _ => ("mn", Vec::new()),
    };
    for flag in ["k", "c"] {
        // What deletes has no CAS to tell.
        let fits = flag == "k" || matches!(what, What::Store(_) | What::Count(_));
        if fits && choices.one_in(3) {
            flags.push(flag.to_owned());
        }
    }
    flags.push(format!("O{}", wire.opaque));
    if wire.quiet {
        flags.push("q".to_owned());
    }
    let mut line = [verb.as_bytes(), b" ", key].concat();
    if let What::Store(store) = what {
        // Writing to a Vec does not fail.
        write!(line, " {}", store.value.len()).unwrap_or(());
    }
    flags.iter().for_each(|flag| write!(line, " {flag}").unwrap_or(()));
    line.extend_from_slice(b"\r\n");
    line
}

/// Asks for something that is always answered, behind requests that may not be.
pub(super) fn end_quiet(stream: &mut Stream) {
    stream.ask(b"mn\r\n");
    stream.push(What::Line(lines::META_NOOP), Wire::CLASSIC);
}

fn get_flags(get: &Get, choices: &mut Choices) -> Vec<String> {
    let mut wanted = vec!["f", "t", "s", "c"];
    wanted.retain(|_| choices.one_in(2));
    if get.tells_value {
        wanted.push("v");
    }
    choices.shuffle(&mut wanted);
    // The time left is told as it is after what stands before it.
    let time = get.exptime.map(|exptime| format!("T{exptime}"));
    time.into_iter().chain(wanted.into_iter().map(str::to_owned)).collect()
}

fn store_flags(store: &Store) -> Vec<String> {
    let mode = match store.verb {
        StoreVerb::Set | StoreVerb::Cas => "MS",
        StoreVerb::Add => "ME",
        StoreVerb::Replace => "MR",
        StoreVerb::Append => "MA",
        StoreVerb::Prepend => "MP",
    };
    let mut flags = vec![mode.to_owned(), format!("T{}", store.exptime), format!("F{}", store.flags)];
    if store.verb == StoreVerb::Cas {
        flags.push(format!("C{}", store.cas));
    }
    flags
}

fn count_flags(count: &Count) -> Vec<String> {
    let mut flags = vec![format!("D{}", count.delta)];
    if count.decrement {
        flags.push("MD".to_owned());
    }
    if let Some((initial, exptime)) = count.creates {
        flags.push(format!("J{initial}"));
        flags.push(format!("N{exptime}"));
    }
    if count.tells_number {
        flags.push("v".to_owned());
    }
    flags
}
