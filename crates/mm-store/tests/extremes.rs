//! Sizes, times to live and CAS values at their extremes, against a model of a few keys.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;

use mm_store::limits::KEY_MAX_BYTES;
use mm_store::{CasRule, Config, DeleteError, Mode, Outcome, Put, PutError, Store};
use proptest::prelude::*;
use proptest::sample::select;

/// Nothing is evicted: what is stored is less.
const LIMIT_BYTES: usize = 8 << 20;
const NOW_S: u32 = 1_000;

#[derive(Debug, Clone)]
enum Step {
    Put(usize, Put, usize),
    Touch(usize, u32),
    Delete(usize, Option<u64>),
    MarkStale(usize, Option<u64>, Option<u64>),
}

/// What a key has: the length of its value, client flags, expiry, and the CAS value if a client gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    len: usize,
    client_flags: u32,
    expiry_s: u32,
    cas: Option<u64>,
}

/// Numbers within 16 of the points where something may turn over.
fn near_u64() -> impl Strategy<Value = u64> {
    let points = select(vec![0, 1 << 31, 1 << 32, 1 << 60, 1 << 63, u64::MAX]);
    (points, -16_i64..=16).prop_map(|(point, off)| point.checked_add_signed(off).unwrap_or(point))
}

fn near_u32() -> impl Strategy<Value = u32> {
    let points = select(vec![0, NOW_S, i32::MAX.cast_unsigned(), i32::MIN.cast_unsigned(), u32::MAX]);
    (points, -16_i32..=16).prop_map(|(point, off)| point.checked_add_signed(off).unwrap_or(point))
}

/// Lengths of values: none, what one and two bytes hold, a record, half of the limit.
fn near_len() -> impl Strategy<Value = usize> {
    let points =
        select(vec![0, 1 << 8, 1 << 13, 1 << 16, 1 << 20, LIMIT_BYTES / 2, LIMIT_BYTES, usize::MAX >> 24]);
    (points, -16_isize..=16).prop_map(|(point, off)| point.checked_add_signed(off).unwrap_or(point))
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_usize;
    let put = (near_u32(), near_u32(), proptest::option::of(near_u64()), near_u64(), 0..3_usize).prop_map(
        |(client_flags, expiry_s, cas, compared, mode)| Put {
            mode: [Mode::Set, Mode::Add, Mode::Cas(compared)][mode],
            client_flags,
            expiry_s,
            cas,
            ..Put::default()
        },
    );
    let given = || proptest::option::of(near_u64());
    prop_oneof![
        6 => (key.clone(), put, near_len()).prop_map(|(key, put, len)| Step::Put(key, put, len)),
        1 => (key.clone(), near_u32()).prop_map(|(key, expiry_s)| Step::Touch(key, expiry_s)),
        1 => (key.clone(), given()).prop_map(|(key, cas)| Step::Delete(key, cas)),
        1 => (key, given(), given()).prop_map(|(key, cas, new)| Step::MarkStale(key, cas, new)),
    ]
}

/// Keys of one byte and of the most.
fn key(number: usize) -> Vec<u8> {
    let len = [1, 2, KEY_MAX_BYTES / 2, KEY_MAX_BYTES - 1, KEY_MAX_BYTES, KEY_MAX_BYTES][number];
    [&[b'a' + u8::try_from(number).unwrap()], &vec![b'k'; len - 1][..]].concat()
}

struct World {
    store: Store,
    model: HashMap<usize, Kept>,
}

impl World {
    fn live(&self, number: usize) -> Option<Kept> {
        self.model.get(&number).copied().filter(|kept| kept.expiry_s == 0 || kept.expiry_s > NOW_S)
    }

    fn cas(&mut self, number: usize) -> Option<u64> {
        let bytes = key(number);
        self.store.peek(self.store.key(&bytes).unwrap(), NOW_S).ok().map(|item| item.cas())
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(number, put, len) => self.put(number, &put, len),
            Step::Touch(number, expiry_s) => {
                let bytes = key(number);
                let touched = self.store.touch(self.store.key(&bytes).unwrap(), expiry_s, NOW_S);
                assert_eq!(touched.is_ok(), self.live(number).is_some());
                if let Some(kept) = self.live(number) {
                    self.model.insert(number, Kept { expiry_s, ..kept });
                }
            }
            Step::Delete(number, cas) => {
                let (bytes, is_right) = (key(number), cas.is_none() || cas == self.cas(number));
                let deleted = self.store.delete(self.store.key(&bytes).unwrap(), cas, NOW_S);
                match self.live(number) {
                    None => assert!(matches!(deleted, Err(DeleteError::Miss(_)))),
                    Some(_) => assert_eq!(deleted, if is_right { Ok(()) } else { Err(DeleteError::Exists) }),
                }
                if deleted.is_ok() {
                    self.model.remove(&number);
                }
            }
            Step::MarkStale(number, compare, assign) => {
                let (bytes, is_right) = (key(number), compare.is_none() || compare == self.cas(number));
                let rule = CasRule { compare, assign };
                let marked = self.store.mark_stale(self.store.key(&bytes).unwrap(), None, rule, NOW_S);
                assert_eq!(marked.is_ok(), is_right && self.live(number).is_some());
                if marked.is_ok() {
                    self.model.entry(number).and_modify(|kept| kept.cas = assign);
                }
            }
        }
    }

    fn put(&mut self, number: usize, put: &Put, len: usize) {
        let bytes = key(number);
        let (before, cas) = (self.live(number), self.cas(number));
        let expected = match put.mode {
            Mode::Add if before.is_some() => Outcome::NotStored,
            Mode::Cas(_) if before.is_none() => Outcome::NotFound,
            Mode::Cas(compared) if cas != Some(compared) => Outcome::Exists,
            _ => Outcome::Stored,
        };
        // An upload says before it has its value that it is too long.
        let too_large = len > LIMIT_BYTES / 2;
        if too_large {
            let refused = self.store.reserve(self.store.key(&bytes).unwrap(), put, len, NOW_S);
            assert!(matches!(refused, Err(PutError::TooLarge)), "{len}");
            return;
        }
        let value = vec![b'a' + u8::try_from(number).unwrap(); len];
        match self.store.put(self.store.key(&bytes).unwrap(), put, &value, NOW_S) {
            Ok(outcome) => assert_eq!(outcome, expected),
            // Key and head come to it.
            Err(PutError::TooLarge) => return assert!(len + 400 > LIMIT_BYTES / 2, "{len}"),
            Err(error) => unreachable!("{error}"),
        }
        if expected == Outcome::Stored {
            let Put { client_flags, expiry_s, cas, .. } = *put;
            self.model.insert(number, Kept { len, client_flags, expiry_s, cas });
        }
    }

    fn check(&mut self, number: usize) {
        let (bytes, expected) = (key(number), self.live(number));
        let found = self.store.get(self.store.key(&bytes).unwrap(), NOW_S).ok();
        assert_eq!(found.is_some(), expected.is_some(), "{number}: {expected:?}");
        let (Some(item), Some(kept)) = (found, expected) else { return };
        let is_whole = item.pieces().all(|piece| piece.iter().all(|&byte| byte == bytes[0]));
        let len = item.pieces().map(<[u8]>::len).sum::<usize>();
        assert!(is_whole && len == kept.len, "{number}: {len} bytes of {kept:?}");
        assert_eq!((item.client_flags(), item.expiry_s()), (kept.client_flags, kept.expiry_s));
        assert!(kept.cas.is_none_or(|cas| cas == item.cas()) && (kept.cas.is_some() || item.cas() != 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_extreme_is_kept_or_refused(steps in proptest::collection::vec(step(), 1..40)) {
        let store = Store::open(&Config::new(LIMIT_BYTES, 1)).unwrap();
        let mut world = World { store, model: HashMap::new() };
        for step in &steps {
            // One large value at a time, and none over one so large: what is stored has room.
            if let Step::Put(number, _, len) = step
                && *len > 1 << 19
            {
                let most = |key| if key == number { (LIMIT_BYTES / 4 * 3).saturating_sub(*len) } else { 1 << 19 };
                let others = world.model.iter().filter(|(key, kept)| kept.len > most(*key));
                for key_of_other in others.map(|(key, _)| *key).collect::<Vec<_>>() {
                    world.step(&Step::Delete(key_of_other, None));
                }
            }
            world.step(step);
            (0..6).for_each(|number| world.check(number));
        }
        world.store.verify().unwrap();
    }
}
