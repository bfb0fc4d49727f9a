//! Keys that were looked ahead for lead to the same items as others, whatever happens between the look and the call:
//! the item is stored anew, moved, removed or evicted; the index grows or shrinks.

#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test, with small numbers")]

use std::collections::HashMap;

use mm_base::choice::Choices;
use mm_store::{Config, Key, Mode, Outcome, Put, Store};

const BATCH: usize = 24;
const NOW_S: u32 = 1;

/// What was stored last of each key, and whether items may get lost.
struct World {
    store: Store,
    values: HashMap<Vec<u8>, Vec<u8>>,
    choices: Choices,
    evicts: bool,
}

impl World {
    fn run_batch(&mut self, keys: usize) {
        let names: Vec<Vec<u8>> = (0..BATCH)
            .map(|_| {
                let number = self.choices.index(keys);
                format!("{number}{}", "-".repeat(number % 40)).into_bytes()
            })
            .collect();
        let mut ahead: Vec<Key<'_>> = names.iter().map(|name| self.store.key_ahead(name).unwrap()).collect();
        ahead.iter_mut().for_each(|key| self.store.look_ahead(key));
        for key in ahead {
            match self.choices.index(8) {
                0..3 => self.put(key, Mode::Set),
                3 => self.put(key, Mode::Add),
                4 => {
                    let is_there = self.store.delete(key, None, NOW_S).is_ok();
                    self.found(key, is_there);
                    self.values.remove(key.bytes());
                }
                _ => self.get(key),
            }
        }
    }

    fn get(&mut self, key: Key<'_>) {
        let value = self.store.get(key, NOW_S).ok().map(|item| item.value().unwrap().to_vec());
        self.found(key, value.is_some());
        if let Some(value) = value {
            assert_eq!(Some(&value), self.values.get(key.bytes()), "not what was stored last");
        }
    }

    fn put(&mut self, key: Key<'_>, mode: Mode) {
        let value = vec![self.choices.next_u64() as u8; self.choices.index(300)];
        match self.store.put(key, &Put { mode, ..Put::default() }, &value, NOW_S).unwrap() {
            Outcome::Stored => {
                let before = self.values.insert(key.bytes().to_vec(), value);
                assert!(mode == Mode::Set || self.evicts || before.is_none(), "added though it was there");
            }
            _ => self.found(key, true),
        }
    }

    /// An item is there or not: only one that was evicted may be missing.
    fn found(&mut self, key: Key<'_>, is_there: bool) {
        let expected = self.values.contains_key(key.bytes());
        assert!(is_there == expected || expected && self.evicts, "there: {is_there}, stored: {expected}");
        if !is_there {
            self.values.remove(key.bytes());
        }
    }
}

fn run(evicts: bool, keys: usize, batches: usize) {
    let config = Config { evict: evicts, ..Config::new(if evicts { 2 << 20 } else { 64 << 20 }, 3) };
    let store = Store::open(&config).unwrap();
    let mut world = World { store, values: HashMap::new(), choices: Choices::new(keys as u64), evicts };
    for batch in 0..batches {
        // Now more keys, now fewer, so that the index grows and shrinks.
        world.run_batch(if batch / 2000 % 2 == 0 { keys } else { keys / 8 });
        if batch / 2000 % 2 == 1 {
            world.store.maintain(64, NOW_S);
        }
    }
    world.store.verify().unwrap();
}

#[test]
fn nothing_is_lost_or_mixed_up_while_the_index_grows() {
    run(false, 60_000, 12_000);
}

#[test]
fn what_was_evicted_meanwhile_is_not_found() {
    run(true, 40_000, 12_000);
}

#[test]
fn a_key_that_comes_twice_in_a_batch_is_found_as_it_is() {
    run(false, 8, 4_000);
}
