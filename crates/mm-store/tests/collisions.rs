//! Keys chosen to collide by somebody who knows the hash function: with the seed the worst that can be, without it keys
//! like others.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;

use mm_base::choice::Choices;
use mm_store::{Config, Put, PutError, Sharing, Store};
#[cfg(feature = "smp")]
use mm_store::{Shared, StoreHandles};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline};

/// The one that is known.
const SEED: u64 = 1;

/// No item has to leave for want of room.
const LIMIT_BYTES: usize = 16 << 20;

/// Items beside those that collide: as many as make the index grow from its least size to fifty times that.
const OTHERS: u64 = 30_000;

/// Of these one in so many stays in the end, so that the index shrinks to a tenth.
const STAYS_ONE_IN: u64 = 10;

/// One request for a key that collides comes on so many for others.
const ATTACKS_ONE_IN: u64 = 3;

/// Slots of the two buckets that an item may stand in.
const SLOTS: usize = 18;

/// Buckets of the index that a write may move: four, and 200 for items removed.
const BUCKETS_PER_WRITE: u64 = 204;

/// The same where there are several shards: 64 more, which an insertion waits for.
#[cfg(feature = "smp")]
const BUCKETS_PER_SHARED_WRITE: u64 = BUCKETS_PER_WRITE + 64;

fn config(evict: bool, seed: u64) -> Config {
    Config { evict, ..Config::new(LIMIT_BYTES, seed) }
}

/// Keys with one and the same hash of 64 bits under `SEED`: their first half is what the hash function multiplies the
/// other half by when it is as good as zero.
fn of_one_hash(count: u64) -> Vec<Vec<u8>> {
    let zero = RapidSecrets::seed(SEED).secrets[1].to_le_bytes();
    (0..count).map(|number| [zero, number.to_le_bytes()].concat()).collect()
}

/// Keys whose hashes agree in their first ten bits under `SEED`: the first of their buckets is one of very few, however
/// many there are, and the other is anywhere.
fn of_one_bucket(count: usize) -> Vec<Vec<u8>> {
    let secrets = RapidSecrets::seed(SEED);
    let is_there = |key: &[u8]| rapidhash_v3_nano_inline::<true, false>(key, &secrets) >> (64 - 10) == 5;
    (0..)
        .map(|number: u64| format!("hot {number}").into_bytes())
        .filter(|key| is_there(key))
        .take(count)
        .collect()
}

fn other(number: u64) -> Vec<u8> {
    format!("other {number}").into_bytes()
}

/// A store, and what must be in it if it was not evicted.
struct Load<S: Sharing> {
    store: Store<S>,
    choices: Choices,
    expected: HashMap<Vec<u8>, u64>,
    version: u64,
    /// Items found missing.
    lost: u64,
    /// Of these, such as do not collide.
    lost_others: u64,
    refused: u64,
    /// Buckets of the index moved in one write at most.
    most_moved: u64,
}

impl<S: Sharing> Load<S> {
    fn new(store: Store<S>) -> Self {
        let (choices, expected) = (Choices::new(3), HashMap::new());
        Self { store, choices, expected, version: 0, lost: 0, lost_others: 0, refused: 0, most_moved: 0 }
    }

    fn lose(&mut self, key: &[u8]) {
        self.lost += 1;
        self.lost_others += u64::from(key.starts_with(b"other"));
    }

    /// Whether it is there, which must be the last version then.
    fn get(&mut self, key: &[u8]) -> bool {
        let item = self.store.get(self.store.key(key).unwrap(), 1);
        let version = item.ok().map(|item| u64::from_le_bytes(item.value().unwrap().try_into().unwrap()));
        if version.is_none() && self.expected.remove(key).is_some() {
            self.lose(key);
        }
        assert_eq!(version, self.expected.get(key).copied(), "{key:?}");
        version.is_some()
    }

    fn put(&mut self, key: &[u8]) {
        let had = self.get(key);
        self.version += 1;
        let (value, before) = (self.version.to_le_bytes(), self.store.stats().buckets_moved);
        match self.store.put(self.store.key(key).unwrap(), &Put::default(), &value, 1) {
            Ok(_) => {
                self.expected.insert(key.to_vec(), self.version);
                assert!(self.get(key), "{key:?} was just stored");
            }
            Err(error) => {
                assert_eq!(error, PutError::NoMemory);
                assert!(!had && !self.get(key), "{key:?} has a slot");
                self.refused += 1;
            }
        }
        self.most_moved = self.most_moved.max(self.store.stats().buckets_moved - before);
    }

    fn delete(&mut self, key: &[u8]) {
        let is_deleted = self.store.delete(self.store.key(key).unwrap(), None, 1).is_ok();
        match (self.expected.remove(key).is_some(), is_deleted) {
            (true, false) => self.lose(key),
            (had, _) => assert_eq!(had, is_deleted, "{key:?}"),
        }
    }

    /// Now and then a request for one of `keys`; and the end of a turn.
    fn attack(&mut self, keys: &[Vec<u8>]) {
        if self.choices.one_in(ATTACKS_ONE_IN) {
            let key = self.choices.pick(keys).unwrap();
            match self.choices.below(4) {
                0 => self.delete(key),
                1 => drop(self.get(key)),
                _ => self.put(key),
            }
        }
        self.store.rest();
    }

    /// Lets the index grow and shrink among requests for `keys`.
    fn run(&mut self, keys: &[Vec<u8>]) {
        for number in 0..OTHERS {
            self.put(&other(number));
            self.attack(keys);
        }
        self.check(keys);
        for number in (0..OTHERS).filter(|number| number % STAYS_ONE_IN != 0) {
            self.delete(&other(number));
            self.attack(keys);
        }
        self.check(keys);
        let buckets = self.store.stats().index_buckets;
        assert!((250..1_000).contains(&buckets), "{buckets} buckets: the index has not grown or not shrunk");
    }

    /// Nothing is missing that the store has not evicted, and nothing is there twice.
    fn check(&mut self, keys: &[Vec<u8>]) {
        while self.store.maintain(64, 1) {}
        let expected: Vec<_> = self.expected.keys().cloned().collect();
        let there = expected.iter().filter(|key| self.get(key)).count();
        let stats = self.store.stats();
        assert_eq!((stats.items, stats.evicted, stats.refused), (there as u64, self.lost, self.refused));
        let colliding = keys.iter().filter(|key| self.expected.contains_key(*key)).count();
        assert!(colliding >= SLOTS / 2, "{colliding} of {} keys", keys.len());
        self.store.tell_dead();
        self.store.verify().unwrap();
    }
}

/// Whether all keys have one hash in `store`.
fn have_one_hash<S: Sharing>(store: &Store<S>, keys: &[Vec<u8>]) -> bool {
    let hash = |key: &[u8]| store.key(key).unwrap().hash();
    keys.iter().all(|key| hash(key) == hash(&keys[0]))
}

/// Requests for keys of one hash: two buckets have room for so many, and what has another hash loses nothing.
fn attack_two_buckets<S: Sharing>(store: Store<S>, evict: bool) -> Load<S> {
    let keys = of_one_hash(1_000);
    assert!(have_one_hash(&store, &keys), "the store has another hash function");
    let mut load = Load::new(store);
    load.run(&keys);
    let colliding = keys.iter().filter(|key| load.get(key)).count();
    assert_eq!((colliding <= SLOTS, load.lost_others), (true, 0), "{colliding} keys of one hash");
    assert!(if evict {
        load.refused == 0 && load.lost > 1_000
    } else {
        load.refused > 1_000 && load.lost == 0
    });
    load
}

/// Requests for more keys of one bucket than it has slots: each has another bucket to go to.
fn attack_a_bucket<S: Sharing>(store: Store<S>, keys: &[Vec<u8>]) -> Load<S> {
    let mut load = Load::new(store);
    load.run(keys);
    assert_eq!((load.lost, load.refused), (0, 0));
    load
}

#[test]
fn keys_of_one_hash_take_slots_from_each_other() {
    for evict in [true, false] {
        let load = attack_two_buckets(Store::open(&config(evict, SEED)).unwrap(), evict);
        assert!(load.most_moved <= BUCKETS_PER_WRITE, "{} buckets in one write", load.most_moved);
    }
}

#[test]
fn keys_of_one_bucket_lose_nothing() {
    let load = attack_a_bucket(Store::open(&config(true, SEED)).unwrap(), &of_one_bucket(300));
    assert!(load.most_moved <= BUCKETS_PER_WRITE, "{} buckets in one write", load.most_moved);
}

#[cfg(feature = "smp")]
fn shared(evict: bool) -> Store<Shared> {
    StoreHandles::open(&config(evict, SEED), 2).unwrap().take().unwrap()
}

#[cfg(feature = "smp")]
#[test]
fn keys_of_one_hash_take_slots_from_each_other_where_shards_share_the_store() {
    for evict in [true, false] {
        let load = attack_two_buckets(shared(evict), evict);
        assert!(load.most_moved <= BUCKETS_PER_SHARED_WRITE, "{} buckets in one write", load.most_moved);
    }
}

#[cfg(feature = "smp")]
#[test]
fn keys_of_one_bucket_lose_nothing_where_shards_share_the_store() {
    attack_a_bucket(shared(true), &of_one_bucket(300));
}

/// Two shards at once, each with keys of its own and all of them of one hash: they take slots from each other too, and
/// from others in their two buckets where those cannot move, since a shard has locked where they would go.
#[cfg(feature = "smp")]
#[test]
fn shards_that_write_keys_of_one_hash_read_what_they_wrote_or_nothing() {
    let handles = StoreHandles::open(&config(true, SEED), 3).unwrap();
    let keys = of_one_hash(1_000);
    let work = |thread: u64, keys: &[Vec<u8>]| {
        let (mut store, mut choices) = (handles.take().unwrap(), Choices::new(thread));
        for number in 0..OTHERS / 2 {
            let key = other(2 * number + thread);
            store.put(store.key(&key).unwrap(), &Put::default(), b"another", 1).unwrap();
            let key = store.key(choices.pick(keys).unwrap()).unwrap();
            let value = number.to_le_bytes();
            store.put(key, &Put::default(), &value, 1).unwrap();
            if let Ok(item) = store.get(key, 1) {
                assert_eq!(item.value().unwrap(), value);
            }
            if choices.one_in(4) {
                let _deleted = store.delete(key, None, 1);
                assert!(store.get(key, 1).is_err());
            }
            store.rest();
        }
    };
    std::thread::scope(|scope| {
        for (thread, keys) in (0..).zip(keys.chunks(500)) {
            scope.spawn(move || work(thread, keys));
        }
    });
    let mut store = handles.take().unwrap();
    store.verify().unwrap();
    let is_lost = |number: &u64| store.get(store.key(&other(*number)).unwrap(), 1).is_err();
    let lost = (0..OTHERS).filter(is_lost).count();
    assert!(lost <= SLOTS, "{lost} of those that are elsewhere are lost");
    assert!(store.stats().items <= OTHERS + SLOTS as u64, "{:?}", store.stats());
}

#[test]
fn under_another_seed_chosen_keys_are_like_others() {
    let (keys, hot) = (of_one_hash(OTHERS), of_one_bucket(300));
    for seed in [0, SEED + 1] {
        let [mut attacked, mut ordinary] =
            [seed; 2].map(|seed| Load::new(Store::open(&config(true, seed)).unwrap()));
        for number in 0..OTHERS {
            ordinary.put(&other(number));
        }
        keys.iter().for_each(|key| attacked.put(key));
        let [of_keys, of_others] = [&attacked, &ordinary].map(|load| load.store.stats());
        assert_eq!((of_keys.items, of_keys.evicted), (OTHERS, 0), "seed {seed}");
        assert_eq!(of_keys.index_buckets, of_others.index_buckets, "seed {seed}");
        let mut hashes: Vec<_> =
            keys.iter().map(|key| format!("{:?}", attacked.store.key(key).unwrap().hash())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), keys.len(), "seed {seed}");
        attack_a_bucket(Store::open(&config(true, seed)).unwrap(), &hot);
    }
}
