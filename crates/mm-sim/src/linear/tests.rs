//! The checker itself: it accepts what has an order and nothing else.

use super::key::{Answer, Get, Key, Mode, Op, Seen, Store};
use super::{Call, check};

const STRICT: Key = Key { may_vanish: false };
const EVICTING: Key = Key { may_vanish: true };

type Calls = Vec<Call<Op, Answer>>;

fn call((begun, ended): (u64, u64), op: Op, answer: Answer) -> Call<Op, Answer> {
    Call { client: 0, begun, ended, op, answer }
}

fn store(span: (u64, u64), mode: Mode, value: &[u8], answer: Answer) -> Call<Op, Answer> {
    call(span, Op::Store(Store { mode, value: value.to_vec(), expiry_s: 0 }), answer)
}

fn set(span: (u64, u64), value: &[u8]) -> Call<Op, Answer> {
    store(span, Mode::Set, value, Answer::Stored { cas: None })
}

fn get(span: (u64, u64), value: &[u8]) -> Call<Op, Answer> {
    call(span, Op::Get(Get::default()), Answer::Seen(Seen { value: value.to_vec(), ..Seen::default() }))
}

fn gets(span: (u64, u64), value: &[u8], cas: u64) -> Call<Op, Answer> {
    let seen = Seen { value: value.to_vec(), cas: Some(cas), ..Seen::default() };
    call(span, Op::Get(Get::default()), Answer::Seen(seen))
}

fn miss(span: (u64, u64)) -> Call<Op, Answer> {
    call(span, Op::Get(Get::default()), Answer::NotFound)
}

fn is_linear(model: Key, calls: &Calls) -> bool {
    check(&model, calls).is_ok()
}

#[test]
fn calls_at_the_same_time_may_have_come_in_either_order() {
    for (first, second) in [(b"a", b"b"), (b"b", b"a")] {
        let calls = vec![set((1, 10), b"a"), set((2, 9), b"b"), get((11, 12), first), get((13, 14), first)];
        assert!(is_linear(STRICT, &calls), "{first:?}");
        let calls = vec![set((1, 10), b"a"), set((2, 9), b"b"), get((11, 12), first), get((13, 14), second)];
        assert!(!is_linear(STRICT, &calls), "{first:?} became {second:?} and nobody stored it");
    }
}

#[test]
fn a_call_that_began_after_another_had_ended_comes_after_it() {
    assert!(!is_linear(STRICT, &vec![set((1, 2), b"a"), set((3, 4), b"b"), get((5, 6), b"a")]));
    assert!(is_linear(STRICT, &vec![set((1, 2), b"a"), set((3, 6), b"b"), get((5, 7), b"a")]));
    assert!(!is_linear(STRICT, &vec![set((1, 2), b"a"), miss((3, 4))]));
    assert!(is_linear(STRICT, &vec![set((1, 4), b"a"), miss((3, 5))]));
}

#[test]
fn readers_see_a_write_under_way_in_one_order() {
    let split = |first: Call<Op, Answer>, second: Call<Op, Answer>| {
        vec![set((1, 2), b"old"), set((3, 20), b"new"), first, second]
    };
    assert!(is_linear(STRICT, &split(get((5, 6), b"old"), get((7, 8), b"new"))));
    assert!(!is_linear(STRICT, &split(get((5, 6), b"new"), get((7, 8), b"old"))));
    assert!(is_linear(STRICT, &split(get((5, 9), b"new"), get((7, 8), b"old"))));
}

#[test]
fn one_of_two_who_add_succeeds() {
    let added = |span, answer| store(span, Mode::Add, b"x", answer);
    let stored = Answer::Stored { cas: None };
    assert!(is_linear(STRICT, &vec![added((1, 5), stored.clone()), added((2, 4), Answer::NotStored)]));
    assert!(!is_linear(STRICT, &vec![added((1, 5), stored.clone()), added((2, 4), stored.clone())]));
    assert!(!is_linear(STRICT, &vec![added((1, 5), Answer::NotStored), added((2, 4), Answer::NotStored)]));
    assert!(
        is_linear(EVICTING, &vec![added((1, 5), stored.clone()), added((2, 4), stored)]),
        "it was evicted"
    );
}

#[test]
fn what_an_evicting_cache_forgets_does_not_come_back() {
    assert!(is_linear(EVICTING, &vec![set((1, 2), b"a"), miss((3, 4))]));
    assert!(!is_linear(EVICTING, &vec![set((1, 2), b"a"), miss((3, 4)), get((5, 6), b"a")]));
    assert!(!is_linear(EVICTING, &vec![set((1, 2), b"a"), set((3, 4), b"b"), get((5, 6), b"a")]));
}

#[test]
fn a_cas_value_is_kept_told_to_be_the_same_and_grows() {
    let cas = |span, value, answer| store(span, Mode::Cas(value), b"c", answer);
    let stored = Answer::Stored { cas: None };
    let begin = || vec![set((1, 2), b"a"), gets((3, 4), b"a", 7)];
    let with = |calls: &[Call<Op, Answer>]| [begin(), calls.to_vec()].concat();
    assert!(is_linear(STRICT, &with(&[cas((5, 6), 7, stored.clone())])));
    assert!(!is_linear(STRICT, &with(&[cas((5, 6), 7, Answer::Exists)])), "nobody changed it");
    assert!(!is_linear(STRICT, &with(&[cas((5, 8), 7, stored.clone()), cas((6, 7), 7, stored.clone())])));
    assert!(is_linear(STRICT, &with(&[cas((5, 8), 7, stored), cas((6, 7), 7, Answer::Exists)])));
    assert!(!is_linear(STRICT, &with(&[gets((5, 6), b"a", 8)])), "it changed by itself");
    assert!(is_linear(STRICT, &with(&[set((5, 6), b"b"), gets((7, 8), b"b", 9)])));
    assert!(!is_linear(STRICT, &with(&[set((5, 6), b"b"), gets((7, 8), b"b", 6)])), "it fell");
}

#[test]
fn a_history_with_much_at_once_is_searched_without_trying_everything() {
    // Each value is stored by ten at a time, and all that can be seen of it is seen.
    let mut calls = Vec::new();
    for round in 0..100_u64 {
        let begun = round * 100;
        for writer in 0..6 {
            calls.push(set((begun + writer, begun + 50 + writer), format!("{round}-{writer}").as_bytes()));
        }
        let last = format!("{round}-{}", round * 5 % 6);
        calls.push(get((begun + 70, begun + 71), last.as_bytes()));
    }
    assert!(is_linear(STRICT, &calls));
    calls.push(get((100_000, 100_001), b"0-0"));
    let violation = check(&STRICT, &calls).unwrap_err().to_string();
    assert!(violation.starts_with("700 calls are explained"), "{violation}");
}
