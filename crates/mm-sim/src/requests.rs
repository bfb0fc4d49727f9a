//! Making requests: their bytes, and what they mean.

use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;

use mm_base::choice::Choices;
use mm_proto::memcached::{StoreVerb, lines};

use crate::op::{Flaw, Get, KeyId, Store, What};
use crate::plan::Work;
use crate::stream::Stream;
use crate::time::Moment;

/// Kinds of request, each with how often it usually comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Set,
    Get,
    Multiget,
    GetTouching,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Delete,
    Arithmetic,
    Touch,
    Flush,
    Fixed,
    Stats,
    Dump,
    Quit,
}

/// All kinds; storing and asking come first.
pub(crate) const KINDS: &[(Kind, u64)] = &[
    (Kind::Set, 40),
    (Kind::Get, 60),
    (Kind::Multiget, 15),
    (Kind::GetTouching, 8),
    (Kind::Add, 10),
    (Kind::Replace, 10),
    (Kind::Append, 8),
    (Kind::Prepend, 8),
    (Kind::Cas, 15),
    (Kind::Delete, 15),
    (Kind::Arithmetic, 15),
    (Kind::Touch, 10),
    (Kind::Flush, 1),
    (Kind::Fixed, 5),
    (Kind::Stats, 1),
    (Kind::Dump, 1),
    (Kind::Quit, 1),
];

/// A value shorter than this arrives whole or is waited for, so that a command without an answer is executed at once.
const SILENT_BYTES_MAX: usize = 1000;

/// CAS values that are kept to be used.
const SEEN_CAS_MAX: usize = 32;

/// Makes the requests of one run.
pub(crate) struct Requests {
    work: Work,
    weights_total: u64,
    /// Bytes that values are cut from.
    text: Vec<u8>,
    made: u64,
    item_size_max: usize,
    /// CAS values told lately: key and value.
    seen_cas: VecDeque<(KeyId, u64)>,
}

/// What a request is made with.
pub(crate) struct Surroundings<'a> {
    pub(crate) keys: &'a [Vec<u8>],
    pub(crate) moment: Moment,
    pub(crate) stream: &'a mut Stream,
}

impl Requests {
    pub(crate) fn new(work: &Work, item_size_max: usize, choices: &mut Choices) -> Self {
        let text = (0..64 * 1024).map(|_| b"abcdefghijklmnopqrstuvwxyzABCDEF"[choices.index(32)]).collect();
        let weights_total = work.weights.iter().sum();
        Self { work: work.clone(), weights_total, text, made: 0, item_size_max, seen_cas: VecDeque::new() }
    }

    /// Keeps a CAS value to be used later.
    pub(crate) fn saw_cas(&mut self, key: KeyId, cas: u64) {
        if self.seen_cas.len() == SEEN_CAS_MAX {
            self.seen_cas.pop_front();
        }
        self.seen_cas.push_back((key, cas));
    }

    /// Adds a request to the stream.
    pub(crate) fn make(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        self.made += 1;
        match self.kind(choices) {
            Kind::Set => self.store(StoreVerb::Set, choices, around),
            Kind::Add => self.store(StoreVerb::Add, choices, around),
            Kind::Replace => self.store(StoreVerb::Replace, choices, around),
            Kind::Append => self.store(StoreVerb::Append, choices, around),
            Kind::Prepend => self.store(StoreVerb::Prepend, choices, around),
            Kind::Cas => self.store(StoreVerb::Cas, choices, around),
            Kind::Get => self.get(1, false, choices, around),
            Kind::Multiget => {
                let count = 1 + choices.index(self.work.multiget_max);
                self.get(count, false, choices, around);
            }
            Kind::GetTouching => self.get(1 + choices.index(3), true, choices, around),
            Kind::Delete => self.delete(choices, around),
            Kind::Arithmetic => self.arithmetic(choices, around),
            Kind::Touch => self.touch(choices, around),
            Kind::Flush => self.flush(choices, around),
            Kind::Fixed => fixed(choices, around),
            Kind::Stats => stats(choices, around),
            Kind::Dump => {
                around.stream.ask(b"lru_crawler metadump all\r\n");
                around.stream.push(What::Dump);
            }
            Kind::Quit => {
                around.stream.ask(b"quit\r\n");
                around.stream.push(What::Quit);
            }
        }
    }

    fn kind(&self, choices: &mut Choices) -> Kind {
        let mut drawn = choices.below(self.weights_total);
        for ((kind, _), weight) in KINDS.iter().zip(&self.work.weights) {
            if drawn < *weight {
                return *kind;
            }
            drawn -= weight;
        }
        Kind::Get
    }

    /// A key: now and then any, mostly one of a few.
    fn key(&self, choices: &mut Choices, around: &Surroundings<'_>) -> KeyId {
        let all = around.keys.len();
        if choices.one_in(2) { choices.index(all) } else { choices.index(all.div_ceil(8)) }
    }

    fn noreply(&self, choices: &mut Choices) -> bool {
        choices.one_in(self.work.noreply)
    }

    fn exptime(&self, choices: &mut Choices, moment: Moment) -> i32 {
        if !choices.one_in(self.work.short_lives) {
            return if choices.one_in(10) { 1_000_000 } else { 0 };
        }
        match choices.below(10) {
            0 => -1,
            1 => moment.date(i64::try_from(choices.below(8)).unwrap_or(0) - 2),
            2 => 2_592_000,
            _ => i32::try_from(choices.between(1, 5)).unwrap_or(1),
        }
    }

    fn value(&self, choices: &mut Choices) -> Rc<[u8]> {
        let max = if choices.one_in(self.work.long_values) { self.work.value_bytes_max } else { 64 };
        let len = choices.index(max + 1);
        if choices.one_in(4) {
            let number = below(choices, 4, (u64::MAX, 100));
            return number.to_string().into_bytes().into();
        }
        let mut value = format!("v{};", self.made).into_bytes();
        let mut start = choices.index(self.text.len() / 2);
        while value.len() < len {
            let end = self.text.len().min(start + len - value.len());
            value.extend_from_slice(&self.text[start..end]);
            start = 0;
        }
        value.truncate(len);
        value.into()
    }

    fn store(&mut self, verb: StoreVerb, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let mut key = self.key(choices, around);
        let mut cas = 0;
        if verb == StoreVerb::Cas {
            cas = u64::MAX - choices.below(5);
            if !self.seen_cas.is_empty() {
                (key, cas) = self.seen_cas[choices.index(self.seen_cas.len())];
            }
        }
        let joins = matches!(verb, StoreVerb::Append | StoreVerb::Prepend);
        let mut value = self.value(choices);
        if joins && value.len() > 100 && !choices.one_in(20) {
            value = value[..50].into();
        }
        let flags = if choices.one_in(4) { u32::try_from(choices.below(1 << 32)).unwrap_or(0) } else { 0 };
        let exptime = self.exptime(choices, around.moment);
        let noreply = value.len() < SILENT_BYTES_MAX && self.noreply(choices);
        // memcached's measure of an item: 56 bytes, 4 for flags, the key and its end, the value and its line end.
        let name = &around.keys[key];
        let size = 56 + if flags == 0 { 0 } else { 4 } + name.len() + 1 + value.len() + 2;
        let flaw = match () {
            () if size > self.item_size_max => Flaw::TooLarge,
            () if choices.one_in(self.work.flaws) && !value.is_empty() => Flaw::BadEnd,
            () => Flaw::None,
        };
        let word = word_of(verb);
        let mut line = Vec::with_capacity(value.len() + name.len() + 64);
        line.extend_from_slice(word.as_bytes());
        line.push(b' ');
        line.extend_from_slice(name);
        // Writing to a Vec does not fail.
        write!(line, " {flags} {exptime} {}", value.len()).unwrap_or(());
        if verb == StoreVerb::Cas {
            write!(line, " {cas}").unwrap_or(());
        }
        line.extend_from_slice(if noreply { b" noreply\r\n" } else { b"\r\n" });
        let line_end = around.stream.ask(&line);
        let (kept, begun) = (Rc::clone(&value), None);
        let what = What::Store(Store {
            key,
            verb,
            flags,
            exptime,
            value: kept,
            cas,
            noreply,
            flaw,
            line_end,
            begun,
        });
        if flaw == Flaw::TooLarge {
            // It is refused by its line; the data are skipped.
            around.stream.push(what);
            around.stream.ask(&value);
            around.stream.ask(b"\r\n");
        } else {
            around.stream.ask(&value);
            around.stream.ask(if flaw == Flaw::BadEnd { b"xy" } else { b"\r\n" });
            around.stream.push(what);
        }
    }

    fn get(&mut self, count: usize, touches: bool, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let tells_cas = choices.one_in(3);
        let exptime = touches.then(|| self.exptime(choices, around.moment));
        let word = match (touches, tells_cas) {
            (false, false) => "get",
            (false, true) => "gets",
            (true, false) => "gat",
            (true, true) => "gats",
        };
        around.stream.ask(word.as_bytes());
        if let Some(exptime) = exptime {
            around.stream.ask(format!(" {exptime}").as_bytes());
        }
        for number in 1..=count {
            let key = self.key(choices, around);
            let last = number == count;
            around.stream.ask(b" ");
            around.stream.ask(&around.keys[key]);
            if last {
                around.stream.ask(b"\r\n");
            }
            around.stream.push(What::Get(Get { key, tells_cas, exptime, last }));
        }
    }

    fn line(&self, words: &[&[u8]], noreply: bool, what: What, around: &mut Surroundings<'_>) {
        let mut line = words.join(&b' ');
        line.extend_from_slice(if noreply { b" noreply\r\n" } else { b"\r\n" });
        around.stream.ask(&line);
        around.stream.push(what);
    }

    fn delete(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let (key, noreply) = (self.key(choices, around), self.noreply(choices));
        self.line(&[b"delete", &around.keys[key]], noreply, What::Delete { key, noreply }, around);
    }

    fn arithmetic(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let (key, noreply, decrement) = (self.key(choices, around), self.noreply(choices), choices.one_in(2));
        let delta = below(choices, 10, (u64::MAX, 50));
        let word: &[u8] = if decrement { b"decr" } else { b"incr" };
        let what = What::Arithmetic { key, delta, decrement, noreply };
        self.line(&[word, &around.keys[key], delta.to_string().as_bytes()], noreply, what, around);
    }

    fn touch(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let (key, noreply) = (self.key(choices, around), self.noreply(choices));
        let exptime = self.exptime(choices, around.moment);
        let what = What::Touch { key, exptime, noreply };
        self.line(&[b"touch", &around.keys[key], exptime.to_string().as_bytes()], noreply, what, around);
    }

    fn flush(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let noreply = self.noreply(choices);
        let delay_s = 0;
        self.line(&[b"flush_all"], noreply, What::Flush { delay_s, noreply }, around);
    }
}

/// A number below the first of two bounds once in `rare` times, else below the second.
fn below(choices: &mut Choices, rare: u64, (bound, usual): (u64, u64)) -> u64 {
    let bound = if choices.one_in(rare) { bound } else { usual };
    choices.below(bound)
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

/// Requests whose answers do not depend on anything.
const FIXED: &[(&[u8], &[u8])] = &[
    (b"mn\r\n", lines::META_NOOP),
    (b"version\r\n", b"VERSION 1.6.45\r\n"),
    (b"verbosity 1\r\n", lines::OK),
    (b"nonsense\r\n", lines::ERROR),
    (b"incr a x\r\n", lines::BAD_DELTA),
    (b"touch a x\r\n", lines::BAD_EXPTIME),
    (b"set a b c\r\n", lines::BAD_FORMAT),
];

fn fixed(choices: &mut Choices, around: &mut Surroundings<'_>) {
    if let Some((request, answer)) = choices.pick(FIXED) {
        around.stream.ask(request);
        around.stream.push(What::Line(answer));
    }
}

fn stats(choices: &mut Choices, around: &mut Surroundings<'_>) {
    let groups: [&[u8]; 5] =
        [b"stats\r\n", b"stats settings\r\n", b"stats items\r\n", b"stats slabs\r\n", b"stats conns\r\n"];
    around.stream.ask(groups[choices.index(groups.len())]);
    around.stream.push(What::Stats);
}
