//! The store against a model: a map of what was stored last. The store may have lost an item (it is a cache), but only
//! where it says so by its counters, and what it returns is what was stored last.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test, with small numbers"
)]

use std::collections::HashMap;

use mm_store::{ArithmeticError, CasRule, Config, Miss, Mode, Operation, Outcome, Put, PutError, Store};

/// SplitMix64.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: Vec<u8>,
    client_flags: u32,
    expiry_s: u32,
    cas: Option<u64>,
}

struct Run {
    store: Store,
    model: HashMap<Vec<u8>, Entry>,
    choices: Choices,
    now_s: u32,
    keys: u64,
    value_max: u64,
    /// One value in so many is up to `value_max` long, the others up to 200 bytes.
    long_in: u64,
    /// No item may be lost.
    roomy: bool,
    evict: bool,
    lost: u64,
}

impl Run {
    fn new(seed: u64, limit_bytes: usize, keys: u64, value_max: u64) -> Self {
        let config = Config::new(limit_bytes, seed);
        let store = Store::open(&config).unwrap();
        let choices = Choices(seed);
        Self {
            store,
            model: HashMap::new(),
            choices,
            now_s: 1,
            keys,
            value_max,
            long_in: 50,
            roomy: false,
            evict: true,
            lost: 0,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.choices.below(self.keys);
        let mut key = format!("key:{number}").into_bytes();
        key.resize(key.len() + (number % 40) as usize, b'.');
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let len =
            if self.choices.below(self.long_in) == 0 { self.value_max } else { 200.min(self.value_max) };
        let len = self.choices.below(len + 1) as usize;
        let first = self.choices.next() as u8;
        (0..len).map(|i| first.wrapping_add(i as u8)).collect()
    }

    fn options(&mut self) -> Put {
        let client_flags = if self.choices.below(3) == 0 { self.choices.next() as u32 } else { 0 };
        let expiry_s =
            if self.choices.below(3) == 0 { self.now_s + 1 + self.choices.below(30) as u32 } else { 0 };
        Put { client_flags, expiry_s, ..Put::default() }
    }

    /// What the model has, if its time is not over.
    fn expected(&self, key: &[u8]) -> Option<&Entry> {
        self.model.get(key).filter(|entry| entry.expiry_s == 0 || entry.expiry_s > self.now_s)
    }

    /// Compares an item with the model; forgets in the model what the store has lost.
    fn check(&mut self, bytes: &[u8]) -> bool {
        let key = self.store.key(bytes).unwrap();
        let expected = self.expected(bytes).cloned();
        match (self.store.get(key, self.now_s), expected) {
            (Ok(item), Some(entry)) => {
                let value: Vec<u8> = item.pieces().flatten().copied().collect();
                assert_eq!(value.len(), item.len());
                assert!(value == entry.value, "another value of {}", String::from_utf8_lossy(bytes));
                assert_eq!(item.client_flags(), entry.client_flags);
                assert_eq!(item.expiry_s(), entry.expiry_s);
                assert_eq!(item.key(), bytes);
                if self.choices.below(2) == 0 {
                    let cas = item.cas();
                    let known = &mut self.model.get_mut(bytes).unwrap().cas;
                    assert!(known.is_none_or(|known| known == cas), "the CAS value changed by itself");
                    *known = Some(cas);
                }
                true
            }
            (Ok(_), None) => panic!("an item that was never stored, removed or is expired"),
            (Err(miss), Some(_)) => {
                assert!(!self.roomy, "lost: {miss:?}");
                self.lost += 1;
                self.model.remove(bytes);
                false
            }
            (Err(_), None) => {
                self.model.remove(bytes);
                false
            }
        }
    }

    fn put(&mut self) {
        let (key_bytes, value, options) = (self.key(), self.value(), self.options());
        let is_there = self.check(&key_bytes);
        let old = self.expected(&key_bytes).cloned();
        let known = old.as_ref().and_then(|entry| entry.cas);
        let mode = match self.choices.below(12) {
            0 => Mode::Add,
            1 => Mode::Replace,
            2 => Mode::Append,
            3 => Mode::Prepend,
            4 => Mode::Cas(known.unwrap_or_else(|| self.choices.below(1000))),
            5 => Mode::AppendTo(known.unwrap_or_else(|| self.choices.below(1000))),
            6 => Mode::PrependTo(known.unwrap_or_else(|| self.choices.below(1000))),
            _ => Mode::Set,
        };
        let (appends, prepends) = (
            matches!(mode, Mode::Append | Mode::AppendTo(_)),
            matches!(mode, Mode::Prepend | Mode::PrependTo(_)),
        );
        let joins = appends || prepends;
        if joins && old.as_ref().is_some_and(|old| old.value.len() as u64 > 2 * self.value_max) {
            // The old value, the new piece and both joined have to find room at once.
            return;
        }
        let key = self.store.key(&key_bytes).unwrap();
        let put = Put { mode, ..options };
        let result = if self.choices.below(4) == 0 {
            self.upload(key, &put, &value)
        } else {
            self.store.put(key, &put, &value, self.now_s)
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(PutError::NoMemory) if !self.evict => return,
            Err(error) => panic!("{error}"),
        };
        let expected = expected_outcome(mode, is_there, old.as_ref());
        // Making room may have evicted the item that the mode asks about.
        let as_if_lost = match mode {
            Mode::Add => Outcome::Stored,
            Mode::Cas(_) => Outcome::NotFound,
            _ => Outcome::NotStored,
        };
        if outcome != expected && !self.roomy && is_there && outcome == as_if_lost {
            self.model.remove(&key_bytes);
            if mode != Mode::Add {
                return;
            }
        } else {
            // A CAS value that the model has not asked for may have been guessed.
            let by_luck = expected == Outcome::Exists && outcome == Outcome::Stored;
            assert!(outcome == expected || by_luck, "{mode:?}: {outcome:?}, not {expected:?}");
        }
        if outcome != Outcome::Stored {
            return;
        }
        let joined =
            |parts: [&[u8]; 2], old: &Entry| Entry { value: parts.concat(), cas: None, ..old.clone() };
        let entry = match &old {
            Some(old) if appends => joined([&old.value, &value], old),
            Some(old) if prepends => joined([&value, &old.value], old),
            _ => Entry { value, client_flags: options.client_flags, expiry_s: options.expiry_s, cas: None },
        };
        self.model.insert(key_bytes, entry);
    }

    fn upload(&mut self, key: mm_store::Key<'_>, put: &Put, value: &[u8]) -> Result<Outcome, PutError> {
        let mut upload = self.store.reserve(key, put, value.len(), self.now_s)?;
        let mut rest = value;
        while !rest.is_empty() {
            let wanted = 1 + self.choices.below(rest.len() as u64) as usize;
            let space = match self.store.space(&mut upload, self.now_s) {
                Ok(space) => space,
                Err(error) => {
                    self.store.abort(upload);
                    return Err(error);
                }
            };
            let len = space.len().min(wanted);
            space[..len].copy_from_slice(&rest[..len]);
            self.store.filled(&mut upload, len);
            rest = &rest[len..];
            if self.choices.below(40) == 0 {
                // The peer went away; another takes its place.
                self.store.abort(upload);
                return self.store.put(key, put, value, self.now_s);
            }
        }
        self.store.commit(upload, self.now_s)
    }

    fn step(&mut self) {
        match self.choices.below(100) {
            0..50 => self.put(),
            50..80 => {
                let key = self.key();
                self.check(&key);
            }
            80..85 => {
                let bytes = self.key();
                let is_there = self.check(&bytes);
                let key = self.store.key(&bytes).unwrap();
                assert_eq!(self.store.delete(key, None, self.now_s).is_ok(), is_there);
                self.model.remove(&bytes);
            }
            85..90 => self.touch(),
            90..95 => self.count(),
            95..98 => {
                self.store.maintain(64, self.now_s);
            }
            98 => self.now_s += self.choices.below(2) as u32,
            _ if self.choices.below(200) == 0 => {
                self.store.flush_all();
                self.model.clear();
            }
            _ => {}
        }
    }

    fn touch(&mut self) {
        let bytes = self.key();
        let is_there = self.check(&bytes);
        let expiry_s =
            if self.choices.below(3) == 0 { 0 } else { self.now_s + 1 + self.choices.below(30) as u32 };
        let key = self.store.key(&bytes).unwrap();
        match self.store.touch(key, expiry_s, self.now_s) {
            Ok(Ok(())) => {
                assert!(is_there);
                self.model.get_mut(&bytes).unwrap().expiry_s = expiry_s;
            }
            Ok(Err(error)) => assert!(!self.evict, "{error}"),
            Err(_) => assert!(!is_there),
        }
    }

    fn count(&mut self) {
        let bytes = self.key();
        let is_there = self.check(&bytes);
        let key = self.store.key(&bytes).unwrap();
        let number = self.choices.below(1 << 40);
        if is_there && self.choices.below(2) == 0 {
            let text = number.to_string().into_bytes();
            if self.store.put(key, &Put::default(), &text, self.now_s).is_ok() {
                self.model
                    .insert(bytes.clone(), Entry { value: text, client_flags: 0, expiry_s: 0, cas: None });
            }
        }
        let key = self.store.key(&bytes).unwrap();
        let before = self
            .expected(&bytes)
            .and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse::<u64>().ok());
        match self.store.arithmetic(key, Operation::Increment(7), CasRule::default(), self.now_s) {
            Ok(after) => {
                if let Some(before) = before {
                    assert_eq!(after, before + 7);
                }
                let entry = self.model.get_mut(&bytes).unwrap();
                entry.value = after.to_string().into_bytes();
                entry.cas = None;
            }
            Err(ArithmeticError::Miss(Miss::Absent)) if !is_there => {}
            Err(ArithmeticError::NotANumber) => assert_eq!(before, None),
            Err(error) => {
                assert!(!self.evict && error == ArithmeticError::Put(PutError::NoMemory), "{error:?}");
            }
        }
    }

    fn run(mut self, steps: u64) -> Self {
        for step in 0..steps {
            self.step();
            if step % (steps / 10) == 0 {
                self.store.verify().unwrap();
            }
        }
        let keys: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        for key in keys {
            self.check(&key);
        }
        self.store.verify().unwrap();
        self
    }
}

/// What `mode` should lead to.
fn expected_outcome(mode: Mode, is_there: bool, old: Option<&Entry>) -> Outcome {
    match mode {
        Mode::Set => Outcome::Stored,
        Mode::Add => {
            if is_there {
                Outcome::NotStored
            } else {
                Outcome::Stored
            }
        }
        Mode::Replace | Mode::Append | Mode::Prepend if is_there => Outcome::Stored,
        Mode::Replace | Mode::Append | Mode::Prepend => Outcome::NotStored,
        Mode::AppendTo(_) | Mode::PrependTo(_) if !is_there => Outcome::NotStored,
        Mode::Cas(_) if !is_there => Outcome::NotFound,
        Mode::Cas(cas) | Mode::AppendTo(cas) | Mode::PrependTo(cas)
            if old.and_then(|entry| entry.cas) == Some(cas) =>
        {
            Outcome::Stored
        }
        Mode::Cas(_) | Mode::AppendTo(_) | Mode::PrependTo(_) => Outcome::Exists,
        Mode::CasAndState { .. } => unreachable!("the model has no state"),
    }
}

#[test]
fn with_room_for_all_nothing_is_lost() {
    for seed in 1..=4 {
        let mut run = Run::new(seed, 64 << 20, 3_000, 5_000);
        run.roomy = true;
        let run = run.run(60_000);
        assert_eq!(run.store.stats().evicted, 0, "seed {seed}");
    }
}

#[test]
fn under_eviction_every_hit_is_the_last_value_stored() {
    for seed in 1..=4 {
        let run = Run::new(seed, 1 << 20, 60_000, 3_000).run(200_000);
        assert!(run.store.stats().evicted > 1_000, "seed {seed}: {:?}", run.store.stats());
    }
}

#[test]
fn large_values_under_eviction_are_whole() {
    for seed in 1..=4 {
        let mut run = Run::new(seed, 8 << 20, 1_000, 200_000);
        run.long_in = 4;
        let run = run.run(20_000);
        assert!(run.store.stats().evicted > 100, "seed {seed}: {:?}", run.store.stats());
    }
}

#[test]
fn without_eviction_stored_items_stay() {
    let mut refused = 0;
    for seed in 1..=3 {
        let mut run = Run::new(seed, 1 << 20, 50_000, 500);
        let config = Config { evict: false, ..Config::new(1 << 20, seed) };
        run.store = Store::open(&config).unwrap();
        (run.roomy, run.evict) = (true, false);
        let run = run.run(100_000);
        assert_eq!(run.store.stats().evicted, 0, "seed {seed}");
        refused += run.store.stats().refused;
    }
    assert!(refused > 0, "the limit was met");
}
