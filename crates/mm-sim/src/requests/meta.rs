//! Meta commands.

use std::io::Write;

use mm_base::choice::Choices;
use mm_proto::memcached::{StoreVerb, lines};

use super::Rare;
use crate::answer::encoded;
use crate::op::{Count, Delete, Get, KeyId, Order, Store, Tells, What, Wire};
use crate::stream::Stream;

/// The longest key that can be told in base64.
const ENCODABLE_BYTES: usize = 187;

/// The flags that an answer may repeat, by command.
const TOLD_BY_GET: &[u8] = b"fscthlOk";
const TOLD_BY_STORE: &[u8] = b"Okcs";
const TOLD_BY_DELETE: &[u8] = b"Ok";
const TOLD_BY_COUNT: &[u8] = b"tcOk";

/// The line of a request. Notes in `wire` what its answer is to tell, and whether its key is in base64.
pub(super) fn head(what: &What, wire: &mut Wire, key: &[u8], choices: &mut Choices) -> Vec<u8> {
    let (verb, told, order, mut flags) = match what {
        What::Get(get) => ("mg", TOLD_BY_GET, get.meta.order, get_flags(get, choices)),
        What::Store(store) => ("ms", TOLD_BY_STORE, Order::default(), store_flags(store, choices)),
        What::Delete(delete) => ("md", TOLD_BY_DELETE, Order::default(), delete_flags(delete)),
        What::Count(count) => ("ma", TOLD_BY_COUNT, count.order, count_flags(count, choices)),
        What::Debug { .. } => ("me", &b""[..], Order::default(), Vec::new()),
        _ => return b"mn\r\n".to_vec(),
    };
    wire.encoded &= key.len() <= ENCODABLE_BYTES;
    if verb != "me" {
        flags.extend(["k"].into_iter().filter(|_| choices.one_in(3)).map(str::to_owned));
        flags.push(format!("O{}", wire.opaque));
        flags.extend(["q"].into_iter().filter(|_| wire.quiet).map(str::to_owned));
    }
    flags.extend(["b"].into_iter().filter(|_| wire.encoded).map(str::to_owned));
    choices.shuffle(&mut flags);
    put_in_order(&mut flags, order);
    wire.tells = Tells::of(flags.iter(), told);
    let mut line = [verb.as_bytes(), b" "].concat();
    line.extend_from_slice(&if wire.encoded { encoded(key) } else { key.to_vec() });
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

/// Adds what only meta commands can ask for. `seen` is a CAS value that was told of this key. Where clients' answers
/// are all there is to know, nothing is asked for that may be answered in more ways than one.
pub(super) fn vary(what: &mut What, rare: Rare, seen: Option<(KeyId, u64)>, choices: &mut Choices) {
    let life = |choices: &mut Choices| choices.one_in(rare.rate).then(|| rare.exptime(choices));
    let exact = rare.is_recorded;
    match what {
        What::Get(get) => {
            let meta = &mut get.meta;
            meta.vivify = life(choices);
            meta.is_peek = choices.one_in(rare.rate);
            if !exact {
                meta.new_cas = rare.new_cas(choices).filter(|_| meta.vivify.is_some());
                meta.recache = life(choices);
                if let Some((key, cas)) = seen.filter(|_| choices.one_in(rare.rate)) {
                    (get.key, meta.known_cas) = (key, Some(cas));
                }
            }
            let tells_life = !exact && choices.one_in(2);
            meta.order = order(
                [get.exptime.is_some(), meta.vivify.is_some(), meta.recache.is_some(), tells_life],
                choices,
            );
        }
        What::Store(store) => {
            let joins = matches!(store.verb, StoreVerb::Append | StoreVerb::Prepend);
            store.meta.or_stale = store.verb == StoreVerb::Cas && choices.one_in(rare.rate);
            store.meta.vivify = life(choices).filter(|_| joins);
            store.meta.new_cas = if exact { None } else { rare.new_cas(choices) };
            if let Some((key, cas)) = seen.filter(|_| joins && choices.one_in(rare.rate)) {
                (store.key, store.cas) = (key, cas);
            }
        }
        What::Delete(delete) => {
            delete.marks = choices.one_in(rare.rate);
            delete.empties = !exact && choices.one_in(rare.rate);
            if (delete.marks || delete.empties) && !exact {
                delete.exptime = life(choices);
                delete.new_cas = rare.new_cas(choices);
                delete.flags = if choices.one_in(2) { 77 } else { 0 };
            }
        }
        What::Count(count) => {
            if let Some((key, cas)) = seen.filter(|_| choices.one_in(rare.rate)) {
                (count.key, count.cas) = (key, cas);
            }
            if !exact {
                count.exptime = life(choices);
                count.new_cas = rare.new_cas(choices);
            }
            let tells_life = !exact && choices.one_in(2);
            count.order =
                order([count.exptime.is_some(), count.creates.is_some(), false, tells_life], choices);
        }
        _ => {}
    }
}

/// The flags `T`, `N`, `R`, `t`, where they are there, in some order.
fn order(are_there: [bool; 4], choices: &mut Choices) -> Order {
    let mut letters = *b"TNRt";
    letters.iter_mut().zip(are_there).filter(|(_, is_there)| !is_there).for_each(|(letter, _)| *letter = 0);
    choices.shuffle(&mut letters);
    Order(letters)
}

/// Puts those of the flags whose order matters in this one, at the places that they have.
fn put_in_order(flags: &mut [String], order: Order) {
    let letter_of = |flag: &String| flag.bytes().next().unwrap_or_default();
    let mut letters = order.letters();
    let ordered: Vec<String> = letters
        .by_ref()
        .filter_map(|letter| flags.iter().find(|flag| letter_of(flag) == letter).cloned())
        .collect();
    let places = flags.iter_mut().filter(|flag| order.letters().any(|letter| letter == letter_of(flag)));
    for (place, flag) in places.zip(ordered) {
        *place = flag;
    }
}

fn get_flags(get: &Get, choices: &mut Choices) -> Vec<String> {
    let mut wanted = vec!["f", "s", "c", "h", "l"];
    wanted.retain(|_| choices.one_in(2));
    let meta = &get.meta;
    wanted.extend(
        [(get.tells_value, "v"), (meta.is_peek, "u")]
            .into_iter()
            .filter_map(|(is_set, flag)| is_set.then_some(flag)),
    );
    let mut flags: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
    let given = [('T', get.exptime), ('N', meta.vivify), ('R', meta.recache)];
    flags.extend(given.into_iter().filter_map(|(letter, time)| Some(format!("{letter}{}", time?))));
    let given = [('E', meta.new_cas), ('C', meta.known_cas)];
    flags.extend(given.into_iter().filter_map(|(letter, cas)| Some(format!("{letter}{}", cas?))));
    flags.extend(meta.order.letters().filter(|&letter| letter == b't').map(|_| "t".to_owned()));
    flags
}

fn store_flags(store: &Store, choices: &mut Choices) -> Vec<String> {
    let mode = match store.verb {
        StoreVerb::Cas if choices.one_in(2) => "MR",
        StoreVerb::Set | StoreVerb::Cas => "MS",
        StoreVerb::Add => "ME",
        StoreVerb::Replace => "MR",
        StoreVerb::Append => "MA",
        StoreVerb::Prepend => "MP",
    };
    let mut flags = vec![mode.to_owned(), format!("T{}", store.exptime), format!("F{}", store.flags)];
    if store.verb == StoreVerb::Cas || store.cas != 0 {
        flags.push(format!("C{}", store.cas));
    }
    flags.extend(store.meta.new_cas.map(|cas| format!("E{cas}")));
    flags.extend(store.meta.vivify.map(|exptime| format!("N{exptime}")));
    let wanted = [(store.meta.or_stale, "I"), (choices.one_in(3), "c"), (choices.one_in(3), "s")];
    flags.extend(wanted.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    flags
}

fn delete_flags(delete: &Delete) -> Vec<String> {
    let mut flags = Vec::new();
    flags.extend((delete.cas != 0).then(|| format!("C{}", delete.cas)));
    flags.extend(delete.new_cas.map(|cas| format!("E{cas}")));
    flags.extend(delete.exptime.map(|exptime| format!("T{exptime}")));
    flags.extend((delete.flags != 0).then(|| format!("F{}", delete.flags)));
    let wanted = [(delete.marks, "I"), (delete.empties, "x")];
    flags.extend(wanted.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    flags
}

fn count_flags(count: &Count, choices: &mut Choices) -> Vec<String> {
    let modes = if count.decrement { ["MD", "M-"] } else { ["MI", "M+"] };
    let mut flags = vec![modes[choices.index(2)].to_owned()];
    // What is added or taken away where nothing says how much.
    flags.extend((count.delta != 1).then(|| format!("D{}", count.delta)));
    flags.extend((count.cas != 0).then(|| format!("C{}", count.cas)));
    flags.extend(count.new_cas.map(|cas| format!("E{cas}")));
    flags.extend(count.exptime.map(|exptime| format!("T{exptime}")));
    if let Some((initial, exptime)) = count.creates {
        flags.extend([format!("J{initial}"), format!("N{exptime}")]);
    }
    let wanted = [(count.tells_number, "v"), (choices.one_in(3), "c")];
    flags.extend(wanted.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    flags.extend(count.order.letters().filter(|&letter| letter == b't').map(|_| "t".to_owned()));
    flags
}
