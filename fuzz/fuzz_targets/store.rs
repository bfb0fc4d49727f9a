//! The store against a map: it may lose an item, but never returns another value than the last.

#![no_main]

use std::collections::HashMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mm_store::{Config, Mode, Outcome, Put, Store};

/// Bytes of the store's limit when it begins.
const LIMIT_BYTES: usize = 1 << 20;

#[derive(Debug, Arbitrary)]
enum Step {
    Put { how: How, key: u8, len: u16, ttl_s: u8, client_flags: bool, uploaded: bool },
    Get(u8),
    Delete(u8),
    Touch { key: u8, ttl_s: u8 },
    Abort { key: u8, len: u16 },
    Pass { seconds: u8 },
    Maintain { records: u8 },
    Limit { shift: u8 },
    Flush,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum How {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
}

struct Entry {
    value: Vec<u8>,
    client_flags: u32,
    expiry_s: u32,
}

struct Run {
    store: Store,
    model: HashMap<u8, Entry>,
    now_s: u32,
    /// What the next value begins with.
    next: u8,
}

fn key_bytes(key: u8) -> Vec<u8> {
    let mut bytes = format!("key{key}").into_bytes();
    // At least as long as it is, and shorter than the longest key.
    bytes.resize(4 + usize::from(key) / 2, b'.');
    bytes
}

impl Run {
    fn expires(&self, ttl_s: u8) -> u32 {
        if ttl_s == 0 { 0 } else { self.now_s + u32::from(ttl_s) }
    }

    fn value(&mut self, len: u16) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        (0..len).map(|place| self.next.wrapping_add(place as u8)).collect()
    }

    /// Whether the store has the key, which it may have forgotten, and has not mistaken.
    fn check(&mut self, key: u8) -> bool {
        let bytes = key_bytes(key);
        let found = self.store.get(self.store.key(&bytes).expect("the key is short"), self.now_s);
        let known = self.model.get(&key).filter(|entry| entry.expiry_s == 0 || entry.expiry_s > self.now_s);
        match (found, known) {
            (Ok(item), Some(entry)) => {
                let value: Vec<u8> = item.pieces().flatten().copied().collect();
                assert_eq!(value, entry.value);
                assert_eq!((item.client_flags(), item.expiry_s()), (entry.client_flags, entry.expiry_s));
                true
            }
            (Ok(_), None) => panic!("{key} is there and should not be"),
            (Err(_), _) => {
                self.model.remove(&key);
                false
            }
        }
    }

    fn put(&mut self, key: u8, put: &Put, value: &[u8], uploaded: bool) -> Option<Outcome> {
        let bytes = key_bytes(key);
        let key = self.store.key(&bytes)?;
        if !uploaded {
            return self.store.put(key, put, value, self.now_s).ok();
        }
        let mut upload = self.store.reserve(key, put, value.len(), self.now_s).ok()?;
        let mut rest = value;
        while !rest.is_empty() {
            let Ok(space) = self.store.space(&mut upload, self.now_s) else {
                self.store.abort(upload);
                return None;
            };
            let len = space.len().min(rest.len());
            space[..len].copy_from_slice(&rest[..len]);
            self.store.filled(&mut upload, len);
            rest = &rest[len..];
        }
        self.store.commit(upload, self.now_s).ok()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put { how, key, len, ttl_s, client_flags, uploaded } => {
                let is_there = self.check(key);
                let value = self.value(len);
                let (client_flags, expiry_s) = (u32::from(client_flags) * 77, self.expires(ttl_s));
                let mode = match how {
                    How::Set => Mode::Set,
                    How::Add => Mode::Add,
                    How::Replace => Mode::Replace,
                    How::Append => Mode::Append,
                    How::Prepend => Mode::Prepend,
                };
                let put = Put { mode, client_flags, expiry_s, ..Put::default() };
                if self.put(key, &put, &value, uploaded) != Some(Outcome::Stored) {
                    return;
                }
                assert!(is_there || matches!(how, How::Set | How::Add), "{how:?} of nothing");
                let joined = |parts: [&[u8]; 2], old: &Entry| Entry { value: parts.concat(), ..*old };
                let entry = match (how, self.model.get(&key)) {
                    (How::Append, Some(old)) => joined([&old.value, &value], old),
                    (How::Prepend, Some(old)) => joined([&value, &old.value], old),
                    _ => Entry { value, client_flags, expiry_s },
                };
                self.model.insert(key, entry);
            }
            Step::Get(key) => {
                self.check(key);
            }
            Step::Delete(key) => {
                let is_there = self.check(key);
                let bytes = key_bytes(key);
                let key_found = self.store.key(&bytes).expect("the key is short");
                assert_eq!(self.store.delete(key_found, None, self.now_s).is_ok(), is_there);
                self.model.remove(&key);
            }
            Step::Touch { key, ttl_s } => {
                let is_there = self.check(key);
                let expiry_s = self.expires(ttl_s);
                let bytes = key_bytes(key);
                let key_found = self.store.key(&bytes).expect("the key is short");
                let touched = self.store.touch(key_found, expiry_s, self.now_s);
                assert_eq!(touched.is_ok(), is_there);
                if touched == Ok(Ok(())) && let Some(entry) = self.model.get_mut(&key) {
                    entry.expiry_s = expiry_s;
                }
            }
            Step::Abort { key, len } => {
                let bytes = key_bytes(key);
                let key_found = self.store.key(&bytes).expect("the key is short");
                if let Ok(mut upload) = self.store.reserve(key_found, &Put::default(), usize::from(len), self.now_s)
                {
                    drop(self.store.space(&mut upload, self.now_s).map(|space| space.fill(b'x')));
                    self.store.abort(upload);
                }
                self.check(key);
            }
            Step::Pass { seconds } => self.now_s += u32::from(seconds),
            Step::Maintain { records } => {
                self.store.maintain(usize::from(records), self.now_s);
            }
            Step::Limit { shift } => {
                self.store.set_limit(LIMIT_BYTES << (shift % 3));
            }
            Step::Flush => {
                self.store.flush_all();
                self.model.clear();
            }
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let store = Store::open(&Config::new(LIMIT_BYTES, 1)).expect("there is memory for a store");
    let mut run = Run { store, model: HashMap::new(), now_s: 1, next: 0 };
    for step in steps {
        run.step(step);
    }
    run.store.verify().expect("the store is sound");
    for key in 0..=u8::MAX {
        run.check(key);
    }
});
