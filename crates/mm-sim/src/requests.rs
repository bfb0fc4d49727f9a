//! Making requests: their bytes, and what they mean.

mod binary;
mod classic;
mod meta;
mod rare;

use std::collections::VecDeque;
use std::rc::Rc;

use mm_base::choice::Choices;
use mm_proto::memcached::{StoreVerb, lines};

use crate::op::{
    Count, Delete, Dialect, Flaw, Get, Group, KeyId, MetaGet, MetaStore, Order, Store, Tells, What, Wire,
};
use crate::plan::Work;
use crate::stream::Stream;
use crate::time::Moment;
use rare::{Rare, exptime};

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
    Watch,
    Limit,
    Quit,
    Debug,
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
    (Kind::Watch, 1),
    (Kind::Limit, 1),
    (Kind::Quit, 1),
    (Kind::Debug, 5),
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

/// memcached's measure of an item: 56 bytes, 4 for flags, the key and its end, the value and its line end.
pub(crate) const fn item_bytes(key_len: usize, flags: u32, len: usize) -> usize {
    56 + if flags == 0 { 0 } else { 4 } + key_len + 1 + len + 2
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

    /// The server begins anew: what was told before it means nothing now.
    pub(crate) fn restart(&mut self) {
        self.seen_cas.clear();
    }

    /// Adds a request to the stream, or several that belong together.
    pub(crate) fn make(&mut self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        self.made += 1;
        let what = match self.kind(choices) {
            Kind::Set => self.store(StoreVerb::Set, choices, around),
            Kind::Add => self.store(StoreVerb::Add, choices, around),
            Kind::Replace => self.store(StoreVerb::Replace, choices, around),
            Kind::Append => self.store(StoreVerb::Append, choices, around),
            Kind::Prepend => self.store(StoreVerb::Prepend, choices, around),
            Kind::Cas => self.store(StoreVerb::Cas, choices, around),
            Kind::Get => self.get(false, choices, around),
            Kind::GetTouching => self.get(true, choices, around),
            Kind::Multiget => {
                let count = 1 + choices.index(self.work.multiget_max);
                return self.multiget(count, choices, around);
            }
            Kind::Delete => self.delete(choices, around),
            Kind::Arithmetic => self.count(choices, around),
            Kind::Touch => {
                let exptime = self.exptime(choices, around.moment);
                What::Touch { key: self.key(choices, around), exptime }
            }
            Kind::Flush => What::Flush { delay_s: i32::try_from(choices.index(5)).unwrap_or(0) },
            Kind::Fixed => What::Plain,
            Kind::Stats if around.stream.is_binary => {
                What::Stats(Group::BINARY[choices.index(Group::BINARY.len())])
            }
            Kind::Stats => What::Stats(Group::CLASSIC[choices.index(Group::CLASSIC.len())]),
            Kind::Dump => rare::dump(choices),
            Kind::Watch => What::Watch,
            Kind::Limit => return self.limit(choices, around),
            Kind::Quit => What::Quit,
            Kind::Debug => What::Debug { key: self.key(choices, around) },
        };
        self.put(what, choices, around);
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

    /// Puts a request in one of the dialects that the connection speaks.
    fn put(&mut self, mut what: What, choices: &mut Choices, around: &mut Surroundings<'_>) {
        if self.work.is_recorded {
            tell_all(&mut what);
        }
        let wire = self.wire(&what, choices, around.stream.is_binary);
        fit(&mut what, wire);
        self.vary(&mut what, wire, around.moment, choices);
        if let (What::Plain, Dialect::Classic) = (&what, wire.dialect) {
            return fixed(choices, around);
        }
        self.put_as(what, wire, choices, around);
        if wire.quiet && wire.dialect == Dialect::Meta {
            meta::end_quiet(around.stream);
        }
    }

    /// The same, in this dialect.
    fn put_as(&self, mut what: What, mut wire: Wire, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let key = what.key().map_or(&[][..], |key| &around.keys[key]);
        let head = match wire.dialect {
            Dialect::Classic => classic::head(&what, wire, key, choices),
            Dialect::Meta => meta::head(&what, &mut wire, key, choices),
            Dialect::Binary => binary::head(&what, wire, key, choices),
        };
        let stream = &mut *around.stream;
        let line_end = stream.ask(&head);
        let What::Store(store) = &mut what else { return stream.push(what, wire) };
        store.line_end = line_end;
        if item_bytes(key.len(), store.flags, store.value.len()) > self.item_size_max {
            store.flaw = Flaw::TooLarge;
        }
        let (flaw, value) = (store.flaw, Rc::clone(&store.value));
        let end: &[u8] = match (wire.dialect, flaw) {
            (Dialect::Binary, _) => b"",
            (_, Flaw::BadEnd) => b"xy",
            _ => b"\r\n",
        };
        let data = [&value[..], end].concat();
        if flaw == Flaw::TooLarge {
            // It is refused by its line; the data are skipped.
            stream.push(what, wire);
            stream.ask(&data);
        } else {
            stream.ask(&data);
            stream.push(what, wire);
        }
    }

    /// How a request is put.
    fn wire(&self, what: &What, choices: &mut Choices, is_binary: bool) -> Wire {
        let has_meta = matches!(what, What::Get(_) | What::Store(_) | What::Delete(_) | What::Count(_));
        let dialect = match () {
            () if is_binary => Dialect::Binary,
            () if matches!(what, What::Debug { .. }) => Dialect::Meta,
            () if has_meta && choices.one_in(self.work.meta) => Dialect::Meta,
            () => Dialect::Classic,
        };
        let can_be_quiet = match (what, dialect) {
            // A value that is shorter arrives whole or is waited for, so that what becomes of it is known at once.
            (What::Store(store), _) => store.value.len() < SILENT_BYTES_MAX,
            (What::Get(_), _) => dialect != Dialect::Classic,
            (What::Delete(_) | What::Count(_) | What::Flush { .. }, _)
            | (What::Touch { .. }, Dialect::Classic) => true,
            _ => false,
        };
        let quiet = can_be_quiet && choices.one_in(self.work.noreply);
        let encoded = dialect == Dialect::Meta && choices.one_in(self.work.rare);
        let opaque = u32::try_from(self.made).unwrap_or(u32::MAX);
        Wire { dialect, opaque, quiet, encoded, tells: Tells::default() }
    }

    /// Adds what only a meta command can ask for.
    fn vary(&self, what: &mut What, wire: Wire, moment: Moment, choices: &mut Choices) {
        if wire.dialect == Dialect::Meta {
            meta::vary(what, Rare::new(&self.work, moment), self.seen(choices), choices);
        }
    }

    /// A key: now and then any, mostly one of a few.
    fn key(&self, choices: &mut Choices, around: &Surroundings<'_>) -> KeyId {
        let all = around.keys.len();
        if choices.one_in(2) { choices.index(all) } else { choices.index(all.div_ceil(8)) }
    }

    fn exptime(&self, choices: &mut Choices, moment: Moment) -> i32 {
        exptime(self.work.short_lives, moment, choices)
    }

    fn value(&self, choices: &mut Choices) -> Rc<[u8]> {
        let max = if choices.one_in(self.work.long_values) {
            self.work.value_bytes_max
        } else {
            self.work.short_bytes_max
        };
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

    fn store(&self, verb: StoreVerb, choices: &mut Choices, around: &Surroundings<'_>) -> What {
        let (mut key, mut cas) = (self.key(choices, around), 0);
        if verb == StoreVerb::Cas {
            (key, cas) = self.seen(choices).unwrap_or_else(|| (key, u64::MAX - choices.below(5)));
        }
        let joins = matches!(verb, StoreVerb::Append | StoreVerb::Prepend);
        let mut value = self.value(choices);
        if joins && value.len() > 100 && !choices.one_in(20) {
            value = value[..50].into();
        }
        let flags = if choices.one_in(4) { u32::try_from(choices.below(1 << 32)).unwrap_or(0) } else { 0 };
        let exptime = self.exptime(choices, around.moment);
        let is_bad = choices.one_in(self.work.flaws) && !value.is_empty();
        let flaw = if is_bad { Flaw::BadEnd } else { Flaw::None };
        let meta = MetaStore::default();
        What::Store(Store { key, verb, flags, exptime, value, cas, meta, flaw, line_end: 0, begun: None })
    }

    /// A key with a CAS value that was told of it lately.
    fn seen(&self, choices: &mut Choices) -> Option<(KeyId, u64)> {
        if self.seen_cas.is_empty() { None } else { Some(self.seen_cas[choices.index(self.seen_cas.len())]) }
    }

    fn get(&self, touches: bool, choices: &mut Choices, around: &Surroundings<'_>) -> What {
        let exptime = touches.then(|| self.exptime(choices, around.moment));
        let (tells_cas, tells_value) = (choices.one_in(3), !choices.one_in(4));
        let (key, meta) = (self.key(choices, around), MetaGet::default());
        What::Get(Get { key, tells_value, tells_cas, exptime, last: true, meta })
    }

    /// Many keys at once: one classic command, or look-ups that are not answered where there is no item.
    fn multiget(&mut self, count: usize, choices: &mut Choices, around: &mut Surroundings<'_>) {
        let mut what = self.get(choices.one_in(4), choices, around);
        if self.work.is_recorded {
            tell_all(&mut what);
        }
        let What::Get(mut get) = what else { return };
        let wire = self.wire(&What::Get(get), choices, around.stream.is_binary);
        if wire.dialect == Dialect::Classic {
            get.tells_value = true;
            let word = classic::get_word(&get);
            around.stream.ask(word.as_bytes());
            for number in 1..=count {
                let key = self.key(choices, around);
                let last = number == count;
                around.stream.ask(b" ");
                around.stream.ask(&around.keys[key]);
                if last {
                    around.stream.ask(b"\r\n");
                }
                around.stream.push(What::Get(Get { key, last, ..get }), wire);
            }
            return;
        }
        for _ in 0..count {
            self.made += 1;
            let opaque = u32::try_from(self.made).unwrap_or(u32::MAX);
            let wire = Wire { opaque, quiet: true, ..wire };
            let mut what = What::Get(Get { key: self.key(choices, around), ..get });
            fit(&mut what, wire);
            self.vary(&mut what, wire, around.moment, choices);
            self.put_as(what, wire, choices, around);
        }
        if wire.dialect == Dialect::Meta {
            meta::end_quiet(around.stream);
        } else {
            self.made += 1;
            let wire = Wire { opaque: u32::try_from(self.made).unwrap_or(u32::MAX), quiet: false, ..wire };
            self.put_as(What::Plain, wire, choices, around);
        }
    }

    fn delete(&self, choices: &mut Choices, around: &Surroundings<'_>) -> What {
        let key = self.key(choices, around);
        let seen = if choices.one_in(4) { self.seen(choices) } else { None };
        let (key, cas) = seen.unwrap_or((key, 0));
        What::Delete(Delete {
            key,
            cas,
            marks: false,
            empties: false,
            exptime: None,
            new_cas: None,
            flags: 0,
        })
    }

    fn count(&self, choices: &mut Choices, around: &Surroundings<'_>) -> What {
        let creates = choices.one_in(2).then(|| (choices.below(100), self.exptime(choices, around.moment)));
        let seen = if around.stream.is_binary && choices.one_in(4) { self.seen(choices) } else { None };
        let (key, cas) = seen.unwrap_or_else(|| (self.key(choices, around), 0));
        What::Count(Count {
            key,
            delta: below(choices, 10, (u64::MAX, 50)),
            decrement: choices.one_in(2),
            creates,
            tells_number: choices.one_in(2),
            cas,
            exptime: None,
            new_cas: None,
            order: Order::default(),
        })
    }

    /// Another memory limit.
    fn limit(&self, choices: &mut Choices, around: &mut Surroundings<'_>) {
        if around.stream.is_binary {
            return self.put_as(
                What::Plain,
                Wire { dialect: Dialect::Binary, ..Wire::CLASSIC },
                choices,
                around,
            );
        }
        let (megabytes, answer) = match self.work.limits_mb {
            Some((least, most)) => (choices.between(least, most), lines::OK),
            None => (choices.between(1, 7), lines::MEMLIMIT_TOO_SMALL),
        };
        around.stream.ask(format!("cache_memlimit {megabytes}\r\n").as_bytes());
        around.stream.push(What::Line(answer), Wire::CLASSIC);
    }
}

/// Has everything told that there is to know, and does it at once.
fn tell_all(what: &mut What) {
    match what {
        What::Get(get) => get.tells_value = true,
        What::Count(count) => {
            count.tells_number = true;
            count.delta = count.delta.min(i32::MAX as u64);
        }
        What::Flush { delay_s } => *delay_s = 0,
        _ => {}
    }
}

/// Leaves out what a dialect cannot say.
fn fit(what: &mut What, wire: Wire) {
    let least = |exptime: &mut i32| *exptime = (*exptime).max(1);
    match (what, wire.dialect) {
        (What::Get(get), Dialect::Classic) => get.tells_value = true,
        (What::Get(get), Dialect::Meta) => get.last = false,
        (What::Get(get), Dialect::Binary) => {
            (get.last, get.tells_value) = (false, true);
            // The binary protocol has no negative times.
            get.exptime.iter_mut().filter(|exptime| **exptime < 0).for_each(least);
        }
        (What::Store(store), Dialect::Binary) => {
            store.flaw = Flaw::None;
            [&mut store.exptime].into_iter().filter(|exptime| **exptime < 0).for_each(least);
        }
        (what @ (What::Dump(_) | What::Watch | What::Debug { .. }), Dialect::Binary) => *what = What::Plain,
        (What::Delete(delete), Dialect::Classic) => delete.cas = 0,
        (What::Count(count), Dialect::Classic) => count.creates = None,
        (What::Count(count), dialect) => {
            count.tells_number &= !(wire.quiet && dialect == Dialect::Meta);
            let exptimes = count.creates.iter_mut().map(|(_, exptime)| exptime);
            exptimes.filter(|exptime| **exptime < 0).for_each(least);
        }
        (What::Touch { exptime, .. }, Dialect::Binary) if *exptime < 0 => *exptime = 1,
        _ => {}
    }
}

/// A number below the first of two bounds once in `rare` times, else below the second.
fn below(choices: &mut Choices, rare: u64, (bound, usual): (u64, u64)) -> u64 {
    let bound = if choices.one_in(rare) { bound } else { usual };
    choices.below(bound)
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
        around.stream.push(What::Line(answer), Wire::CLASSIC);
    }
}
