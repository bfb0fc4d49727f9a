//! What the model takes for explained.

use std::rc::Rc;

use super::*;
use crate::op::{Begun, Group, MetaStore, Store, Wire};

/// What a model is told besides a request and its answer, where the store has counted so much before and after it.
fn context(keys: &[Vec<u8>], before: Counted, after: Counted) -> Context<'_> {
    let (moment, counted) = (Moment::default(), (before, after));
    Context { moment, keys, item_size_max: 1 << 20, connections_max: 10, counted }
}

fn counted(evicted: u64, refused: u64) -> Counted {
    Counted { evicted, refused, moved: 0 }
}

fn keys(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|key| format!("k{key}").into_bytes()).collect()
}

fn set(key: KeyId) -> Op {
    let (value, verb) = (Rc::from(*b"value"), mm_proto::memcached::StoreVerb::Set);
    let (meta, flaw) = (MetaStore::default(), Flaw::None);
    let store =
        Store { key, verb, flags: 0, exptime: 0, value, cas: 0, meta, flaw, line_end: 0, begun: None };
    Op { what: What::Store(store), wire: Wire::CLASSIC, begun: 0, end: 0 }
}

fn execute(model: &mut Model, mut op: Op, answer: &[u8], context: &Context<'_>) -> Result<Answered, Wrong> {
    model.execute(&mut op, &mut Answers::new(answer), context)
}

#[test]
fn an_eviction_explains_one_lost_item() {
    let (keys, mut model) = (keys(3), Model::new(3));
    let context = |before, after| context(&keys, counted(before, 0), counted(after, 0));
    for key in 0..3 {
        execute(&mut model, set(key), b"STORED\r\n", &context(7, 7)).unwrap();
    }
    assert!(model.absent(0, &context(7, 7)).unwrap_err().contains("nothing was evicted"));
    assert_eq!(model.absent(0, &context(7, 8)), Ok(()));
    assert!(model.absent(1, &context(8, 8)).unwrap_err().contains("explains others"));
    assert_eq!(model.absent(1, &context(8, 9)), Ok(()));
    assert_eq!(model.lost, 2);
}

#[test]
fn an_eviction_before_an_item_was_seen_does_not_explain_its_loss() {
    let (keys, mut model) = (keys(1), Model::new(1));
    let context = |before, after| context(&keys, counted(before, 0), counted(after, 0));
    execute(&mut model, set(0), b"STORED\r\n", &context(0, 0)).unwrap();
    model.present(0, &context(5, 5)).unwrap();
    assert!(model.absent(0, &context(5, 5)).is_err());
    // In the run in which it was seen it may have been evicted after that.
    assert_eq!(model.absent(0, &context(5, 6)), Ok(()));
}

#[test]
fn an_answer_that_there_is_no_memory_needs_a_refusal_of_its_own() {
    const NO_MEMORY: &[u8] = b"SERVER_ERROR out of memory storing object\r\n";
    let (keys, mut model) = (keys(2), Model::new(2));
    let context = |before, after| context(&keys, counted(9, before), counted(9, after));
    let mut refuse = |op: Op, before, after| execute(&mut model, op, NO_MEMORY, &context(before, after));
    assert!(refuse(set(0), 0, 0).is_err(), "items were evicted, which is no refusal");
    assert!(refuse(set(0), 1, 1).is_err(), "something was refused before");
    refuse(set(0), 1, 2).unwrap();
    assert!(refuse(set(1), 1, 2).is_err(), "one of them was refused");
    // A value that comes in parts may have been refused at each of them.
    let upload = || {
        let mut upload = set(1);
        let What::Store(store) = &mut upload.what else { unreachable!() };
        store.begun = Some(Begun { moment: Moment::default(), refused: 2, server: 0 });
        upload
    };
    assert!(refuse(upload(), 2, 2).is_err());
    refuse(upload(), 4, 4).unwrap();
}

/// What `stats` tells by these names.
fn told(names: &[&str]) -> String {
    let value = |name| if name == "curr_connections" { 1 } else { 0 };
    let lines = names.iter().map(|name| format!("STAT {name} {}\r\n", value(*name)));
    lines.chain(["END\r\n".to_owned()]).collect()
}

#[test]
fn statistics_are_told_all_and_once() {
    let keys = keys(1);
    let stats = |names: &[&str]| {
        let op = Op { what: What::Stats(Group::General), wire: Wire::CLASSIC, begun: 0, end: 0 };
        let context = context(&keys, Counted::default(), Counted::default());
        execute(&mut Model::new(1), op, told(names).as_bytes(), &context)
    };
    let all = stats::GENERAL;
    assert_eq!(stats(all), Ok(Answered::Whole));
    for at in 0..all.len() {
        let without = [&all[..at], &all[at + 1..]].concat();
        assert_eq!(stats(&without).is_ok(), stats::BY_SETTINGS.contains(&all[at]), "{}", all[at]);
        assert!(stats(&[&all[..=at], &all[at..]].concat()).is_err(), "{} twice", all[at]);
    }
    assert!(stats(&[all, &["more"]].concat()).is_err());
    assert!(stats(&[]).is_err());
}

#[test]
fn connections_are_counted_no_less_than_one_and_no_more_than_there_can_be() {
    let keys = keys(1);
    let context = context(&keys, Counted::default(), Counted::default());
    let count = |number: u64| {
        let number = number.to_string();
        Model::new(1).check_stat((b"curr_connections", number.as_bytes()), &context)
    };
    assert_eq!([count(1), count(10)], [Ok(()), Ok(())]);
    assert!(count(0).is_err() && count(11).is_err());
}
