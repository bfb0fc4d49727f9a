//! What clients ask for.

use mm_base::choice::Choices;
use mm_sim::linear::key::{Answer, Count, Get, Mode, Op, Store};

use crate::history::KEYS;

/// Times to live, 0 for none.
const EXPIRIES_S: [u32; 3] = [0, 1_000, 5_000];

/// The requests of a client.
pub(crate) struct Requests {
    choices: Choices,
    client: usize,
    /// Whether what only the service does is asked for too.
    is_service: bool,
    made: u64,
    /// The CAS value that it saw last, for each key.
    told: [Option<u64>; KEYS],
}

impl Requests {
    pub(crate) fn new(choices: Choices, client: usize, is_service: bool) -> Self {
        Self { choices, client, is_service, made: 0, told: [None; KEYS] }
    }

    pub(crate) fn client(&self) -> usize {
        self.client
    }

    /// The next request and the key that it is for, or none where it is for all.
    pub(crate) fn next(&mut self, turn: usize) -> (Option<usize>, Op) {
        self.made += 1;
        if self.client == 0 && turn % 100 == 50 && self.choices.one_in(6) {
            return (None, Op::Flush);
        }
        let key = self.choices.index(KEYS);
        let op = match self.choices.below(100) {
            0..=39 => self.get(),
            40..=69 => self.store(key),
            70..=79 => self.count(key),
            80..=86 => Op::Delete { compare: self.sometimes(key, 3) },
            87..=93 => Op::Touch { expiry_s: self.expiry_s() },
            _ => {
                let expiry_s = self.choices.one_in(2).then(|| self.expiry_s());
                Op::MarkStale { compare: self.sometimes(key, 2), expiry_s }
            }
        };
        (Some(key), op)
    }

    /// Learns the CAS value that was told of a key.
    pub(crate) fn learn(&mut self, key: Option<usize>, answer: &Answer) {
        let cas = match answer {
            Answer::Seen(seen) => seen.cas,
            Answer::Stored { cas } | Answer::Number { cas, .. } => *cas,
            _ => None,
        };
        if let (Some(key), Some(cas)) = (key, cas) {
            self.told[key] = Some(cas);
        }
    }

    fn expiry_s(&mut self) -> u32 {
        EXPIRIES_S[self.choices.index(EXPIRIES_S.len())]
    }

    /// One time in so many a CAS value that was told.
    fn sometimes(&mut self, key: usize, one_in: u64) -> Option<u64> {
        self.told[key].filter(|_| self.choices.one_in(one_in))
    }

    fn get(&mut self) -> Op {
        let touch = self.choices.one_in(5).then(|| self.expiry_s());
        let vivify = (self.is_service && self.choices.one_in(6)).then(|| self.expiry_s());
        // memcached's get that touches does not vivify.
        let touch = touch.filter(|_| vivify.is_none());
        Op::Get(Get { touch, vivify, may_win: vivify.is_some() || self.choices.one_in(2) })
    }

    fn store(&mut self, key: usize) -> Op {
        let mode = match self.choices.below(10) {
            0..=2 => Mode::Set,
            3 => Mode::Add,
            4 => Mode::Replace,
            5 => {
                let compare = if self.is_service { self.sometimes(key, 3) } else { None };
                let vivify = (self.is_service && self.choices.one_in(3)).then(|| self.expiry_s());
                Mode::Append { compare, vivify }
            }
            6 if self.is_service => self.told[key].map_or(Mode::Set, Mode::CasOrStale),
            _ => self.told[key].map_or(Mode::Add, Mode::Cas),
        };
        // Each value is another one. Some are numbers, some are short, some go into extents.
        let mut value = format!("{}{:06}", self.client + 1, self.made).into_bytes();
        if self.choices.one_in(3) {
            let len = if self.choices.one_in(20) { 3_000 } else { self.choices.index(200) };
            value.extend(std::iter::repeat_n(b'v', len + 1));
        }
        Op::Store(Store { mode, value, expiry_s: self.expiry_s() })
    }

    fn count(&mut self, key: usize) -> Op {
        let delta = i32::try_from(self.choices.below(1_000)).unwrap() - 500;
        let vivify = (self.is_service && self.choices.one_in(2)).then(|| (self.made, self.expiry_s()));
        Op::Count(Count { delta, compare: self.sometimes(key, 4), vivify })
    }
}
