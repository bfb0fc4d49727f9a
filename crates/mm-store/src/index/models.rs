//! Models of what several shards do at once with the index, run over every order of their steps that matters:
//! `cargo xtask nightly`.

use loom::sync::Arc;
use loom::thread;

use super::geometry::Geometry;
use super::{Contents, Index, Patience, Slot};
use crate::hash::KeyHash;
use crate::memory::{Location, SLOTS, Table};
use crate::sharing::Shared;

/// Hashes of keys by their locations.
struct Keys(Vec<(Location, KeyHash)>);

impl Keys {
    /// Keys whose two positions are these, as the numbers of buckets go.
    fn new(wanted: &[&[(usize, [usize; 2])]]) -> Self {
        let belongs = |hash: KeyHash, positions: &[(usize, [usize; 2])]| {
            positions
                .iter()
                .all(|&(len, at)| Geometry { len, next_len: len, boundary: 0 }.positions(hash) == at)
        };
        let mut keys: Vec<(Location, KeyHash)> = Vec::new();
        for (number, positions) in wanted.iter().enumerate() {
            let hashes = (1_u64..).map(|n| KeyHash(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let fits = |hash: &KeyHash| {
                belongs(*hash, positions) && keys.iter().all(|(_, other)| other.tag() != hash.tag())
            };
            let hash = hashes.take(100_000).find(fits).expect("there is such a hash");
            let raw = u32::try_from(number).unwrap() + 1;
            keys.push((Location::from_raw(raw).unwrap(), hash));
        }
        Self(keys)
    }

    fn hash_of(&self, location: Location) -> KeyHash {
        self.0.iter().find(|(at, _)| *at == location).expect("a location of the model").1
    }
}

/// An index with keys in it, each in its second position: a reader has passed the first when it comes there.
struct Model {
    index: Index<Shared>,
    keys: Keys,
}

impl Model {
    fn new((capacity, len): (usize, usize), keys: Keys, there: usize) -> Arc<Self> {
        let index = Index::with(Table::of(capacity), len);
        for &(location, hash) in &keys.0[..there] {
            let [_, position] = index.positions(hash);
            let number = index.table.line(position).empty_slot().expect("room for the model's keys");
            let contents = Contents { tag: hash.tag(), location: location.raw(), mark: 0, is_seen: false };
            index.fill(Slot::new(position, number), contents);
        }
        Arc::new(Self { index, keys })
    }

    /// What a reader finds of a key.
    fn find(&self, key: usize) -> Option<Location> {
        let mut found = None;
        let (_, hash) = self.keys.0[key];
        self.index.find(hash, |location| {
            found = Some(location);
            self.keys.hash_of(location) == hash
        })?;
        found
    }

    fn assert_found(&self, key: usize) {
        assert_eq!(self.find(key), Some(self.keys.0[key].0), "a key that is there is found");
    }

    /// Moves the buckets of a resize, as far as nobody is in the way.
    fn step(&self) {
        let lost = self.index.step(true, |location| self.keys.hash_of(location));
        assert!(lost.iter().flatten().all(Option::is_none), "nothing gets lost");
    }
}

fn one_key(positions: &[(usize, [usize; 2])]) -> Keys {
    Keys::new(&[positions])
}

fn move_beside_a_reader() {
    loom::model(|| {
        let model = Model::new((2, 2), one_key(&[(2, [0, 1])]), 1);
        let reading = Arc::clone(&model);
        let reader = thread::spawn(move || reading.assert_found(0));
        let (_, hash) = model.keys.0[0];
        let locked = model.index.lock(hash);
        let from = Slot::new(1, 0);
        let to = model.index.empty_slot(0).expect("the other bucket is empty");
        assert!(model.index.transfer(from, to));
        model.index.unlock(locked);
        reader.join().unwrap();
        model.assert_found(0);
    });
}

/// An item that moves to its other bucket is found all the time.
#[test]
fn a_reader_meets_an_item_on_its_way() {
    move_beside_a_reader();
}

/// The same where a reader does not look whether an item has moved.
#[cfg(feature = "canaries")]
#[test]
#[should_panic(expected = "a key that is there is found")]
fn a_reader_that_does_not_look_again_is_caught() {
    mm_base::canary::choose(Some("move not noticed"));
    move_beside_a_reader();
}

/// The same where an item may be seen to have left before it is seen to have been counted.
#[cfg(feature = "canaries")]
#[test]
#[should_panic(expected = "a key that is there is found")]
fn a_weakened_ordering_is_caught() {
    mm_base::canary::choose(Some("tag without release"));
    move_beside_a_reader();
}

fn resize_beside_a_reader((len, next_len): (usize, usize), positions: &[(usize, [usize; 2])]) {
    let capacity = len.max(next_len);
    let positions = positions.to_vec();
    loom::model(move || {
        let model = Model::new((capacity, len), one_key(&positions), 1);
        let boundary = if next_len > len { len } else { 0 };
        model.index.layout.set::<Shared>(Geometry { len, next_len, boundary });
        let moving = Arc::clone(&model);
        let mover = thread::spawn(move || {
            for _ in 0..len {
                moving.step();
            }
            assert!(!moving.index.is_moving(), "all buckets are moved");
        });
        model.assert_found(0);
        mover.join().unwrap();
        model.assert_found(0);
    });
}

/// An item is found while the index grows and its bucket is moved.
#[test]
fn a_reader_meets_growth() {
    resize_beside_a_reader((1, 2), &[(1, [0, 0]), (2, [1, 1])]);
}

/// An item is found while the index shrinks and its bucket is given back.
#[test]
fn a_reader_meets_shrinking() {
    resize_beside_a_reader((2, 1), &[(2, [1, 1]), (1, [0, 0])]);
}

/// A writer that waited for its buckets meets them where they are after a step of growth.
#[test]
fn a_writer_meets_growth() {
    loom::model(|| {
        let model = Model::new((2, 1), one_key(&[(1, [0, 0]), (2, [1, 1])]), 1);
        model.index.layout.set::<Shared>(Geometry { len: 1, next_len: 2, boundary: 1 });
        let moving = Arc::clone(&model);
        let mover = thread::spawn(move || moving.step());
        let (location, hash) = model.keys.0[0];
        let locked = model.index.lock(hash);
        let slot = model.index.find(hash, |at| at == location).expect("it is locked where it is");
        model.index.remove(slot);
        model.index.unlock(locked);
        mover.join().unwrap();
        assert_eq!(model.find(0), None, "what was removed does not come back");
    });
}

/// Who has locked only the bucket that an item was seen in overwrites it where it is, or learns that it is gone.
#[test]
fn a_value_that_is_overwritten_under_one_lock_meets_growth() {
    loom::model(|| {
        let mut keys = one_key(&[(1, [0, 0]), (2, [1, 1])]);
        let (old, hash) = keys.0[0];
        let new = Location::from_raw(2).unwrap();
        keys.0.push((new, hash));
        let model = Model::new((2, 1), keys, 1);
        model.index.layout.set::<Shared>(Geometry { len: 1, next_len: 2, boundary: 1 });
        let moving = Arc::clone(&model);
        let mover = thread::spawn(move || moving.step());
        let index = &model.index;
        let hint = index.look_ahead(hash, index.prefetch(hash)).map(|(hint, _)| hint);
        let seat = hint.and_then(|hint| index.lock_hinted(hint, &Patience::default()));
        let is_done = seat.is_some_and(|(locked, seat)| {
            seat.replace(new);
            index.unlock(locked);
            true
        });
        mover.join().unwrap();
        assert_eq!(model.find(0), Some(if is_done { new } else { old }));
        let mut slots = 0;
        index.for_each(|_, _, _| slots += 1);
        assert_eq!(slots, 1, "it stands in one place");
    });
}

/// One of two who add a key at the same time finds the other's.
#[test]
fn a_key_is_added_once() {
    loom::model(|| {
        let model = Model::new((2, 2), one_key(&[(2, [0, 1])]), 0);
        let add = |model: &Model| {
            let (location, hash) = model.keys.0[0];
            let locked = model.index.lock(hash);
            let is_first = model.find(0).is_none();
            if is_first {
                model
                    .index
                    .insert(&locked, hash, location, |at| model.keys.hash_of(at))
                    .expect("there is room");
            }
            model.index.unlock(locked);
            usize::from(is_first)
        };
        let other = Arc::clone(&model);
        let second = thread::spawn(move || add(&other));
        let firsts = add(&model);
        assert_eq!(firsts + second.join().unwrap(), 1);
        let mut slots = 0;
        model.index.for_each(|_, _, _| slots += 1);
        assert_eq!(slots, 1);
    });
}

/// A slot that is made by displacing another item costs nobody an item.
#[test]
fn a_reader_meets_a_displacement() {
    loom::model(|| {
        // The second bucket of three is full of items that may all stand in the first too; the one that comes may
        // stand in the second only.
        let full: [(usize, [usize; 2]); 1] = [(3, [0, 1])];
        let new: [(usize, [usize; 2]); 1] = [(3, [1, 1])];
        let wanted: Vec<&[(usize, [usize; 2])]> =
            (0..SLOTS).map(|_| &full[..]).chain(std::iter::once(&new[..])).collect();
        let model = Model::new((3, 3), Keys::new(&wanted), SLOTS);
        let adding = Arc::clone(&model);
        let adder = thread::spawn(move || {
            let (location, hash) = adding.keys.0[SLOTS];
            let locked = adding.index.lock(hash);
            adding.index.insert(&locked, hash, location, |at| adding.keys.hash_of(at)).expect("room is made");
            adding.index.unlock(locked);
        });
        model.assert_found(0);
        adder.join().unwrap();
        (0..=SLOTS).for_each(|key| model.assert_found(key));
    });
}
