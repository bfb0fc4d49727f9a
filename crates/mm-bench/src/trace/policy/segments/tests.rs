//! What eviction over segments promises.

use super::log::{Log, Queue};
use super::settings::Settings;
use super::{Policy, Segments};
use crate::trace::request::{Operation, Request};

const LIMIT: u64 = 1 << 20;

fn request(object: u32, bytes: u32, ttl_s: u32) -> Request {
    Request { object, bytes, time_s: 0, ttl_s, operation: Operation::Set }
}

#[test]
fn a_segment_of_holes_is_freed_at_once_and_an_open_one_is_not() {
    let mut log = Log::new(20, 800, 1);
    for object in 0..9 {
        log.append(Queue::Small, 0, object, 100);
    }
    assert_eq!(log.used_bytes(), 1600, "eight fit in one, the ninth did not");
    log.remove(8);
    assert_eq!(log.used_bytes(), 1600);
    (0..8).for_each(|object| log.remove(object));
    assert_eq!(log.used_bytes(), 800);
}

#[test]
fn an_item_larger_than_a_segment_is_charged_in_full() {
    let mut log = Log::new(10, 100, 1);
    log.append(Queue::Main, 0, 0, 250);
    assert_eq!(log.queue_bytes(Queue::Main), 250);
    log.append(Queue::Main, 0, 1, 10);
    assert_eq!(log.queue_bytes(Queue::Main), 350);
    log.remove(0);
    assert_eq!(log.queue_bytes(Queue::Main), 100);
}

#[test]
fn the_deadest_segment_is_found() {
    let mut log = Log::new(20, 800, 1);
    for object in 0..16 {
        log.append(Queue::Small, 0, object, 100);
    }
    log.seal_all();
    log.remove(2);
    (8..12).for_each(|object| log.remove(object));
    let (id, dead_permille) = log.deadest().unwrap();
    assert_eq!(dead_permille, 500);
    assert_eq!(log.live(id).collect::<Vec<_>>(), [12, 13, 14, 15]);
}

#[test]
fn what_was_read_twice_outlives_a_flood() {
    let mut cache = Segments::new(20_000, LIMIT, Settings::default());
    for object in 0..100 {
        cache.put(0, &request(object, 200, 0));
        assert!(cache.get(0, object) && cache.get(0, object));
    }
    for object in 100..15_000 {
        cache.put(0, &request(object, 200, 0));
    }
    assert_eq!((0..100).filter(|&object| cache.get(0, object)).count(), 100);
    assert!(!cache.get(0, 200));
}

#[test]
fn small_items_need_fewer_reads_than_large_ones() {
    let mut cache = Segments::new(30_000, LIMIT, Settings { lenient_above: 0, ..Settings::default() });
    let size = |object: u32| if object.is_multiple_of(2) { 40 } else { 1000 };
    for object in 0..20_000 {
        cache.put(0, &request(object, size(object), 0));
        cache.get(0, object);
    }
    let kept = |cache: &mut Segments, rest: u32| {
        (0..15_000).filter(|object| object % 2 == rest && cache.get(0, *object)).count()
    };
    let (small, large) = (kept(&mut cache, 0), kept(&mut cache, 1));
    assert!(small > 1000 && large == 0, "{small} small and {large} large of those read once");
}

#[test]
fn a_dropped_item_that_comes_back_goes_to_main() {
    let mut cache = Segments::new(20_000, LIMIT, Settings::default());
    for object in 0..5000 {
        cache.put(0, &request(object, 300, 0));
    }
    let dropped = (0..5000).rev().find(|&object| !cache.get(0, object)).unwrap();
    cache.put(0, &request(dropped, 300, 0));
    assert_eq!(cache.log.queue(dropped), Queue::Main);
}

#[test]
fn holes_are_given_back_before_anything_live_is_dropped() {
    let mut cache = Segments::new(5000, LIMIT, Settings::default());
    for object in 0..2500 {
        cache.put(0, &request(object, 300, 0));
    }
    for object in (0..2500).filter(|object| object % 2 == 0) {
        cache.remove(object);
    }
    for object in 2500..3600 {
        cache.put(0, &request(object, 300, 0));
    }
    assert_eq!((0..2500).filter(|&object| cache.get(0, object)).count(), 1250);
    assert!(cache.copied_bytes() > 0);
}

#[test]
fn the_limit_holds_whatever_is_written() {
    let mut cache = Segments::new(3000, LIMIT, Settings::default());
    for turn in 0..30_000_u32 {
        let object = turn.wrapping_mul(2_654_435_761) % 3000;
        cache.put(0, &request(object, 1 + turn.wrapping_mul(40_503) % 9000, turn % 5 * 100));
        assert!(!cache.is_full());
    }
}

#[test]
fn groups_by_time_to_live_grow_by_four() {
    let cache = Segments::new(1, LIMIT, Settings::default());
    let groups: Vec<u8> =
        [0, 1, 59, 60, 239, 240, 960, 3839, 3840, u32::MAX].map(|ttl_s| cache.ttl_group(ttl_s)).into();
    assert_eq!(groups, [0, 1, 1, 2, 2, 3, 4, 4, 5, 5]);
}
