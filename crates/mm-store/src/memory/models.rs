//! Models of what several shards do at once with the memory of segments, run over every order of their steps that
//! matters: `cargo xtask nightly`.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::epoch::Epochs;
use crate::primitive::{AtomicU32, Ordering};
use crate::segment::{Place, Queue, Segments};
use crate::sharing::{Shared, add, subtract};

/// Two places for a value, one of which the index names; memory that is used again is written.
struct Slot {
    epochs: Epochs,
    place: AtomicU32,
    memory: [UnsafeCell<u32>; 2],
    live: AtomicU32,
}

impl Slot {
    fn new() -> Arc<Self> {
        let memory = [UnsafeCell::new(7), UnsafeCell::new(0)];
        Arc::new(Self { epochs: Epochs::new(3), place: AtomicU32::new(0), memory, live: AtomicU32::new(2) })
    }

    /// What a reader finds.
    fn read(&self) -> u32 {
        let place = self.place.load(Ordering::Acquire) as usize;
        // SAFETY: none is claimed: loom watches whether somebody writes meanwhile.
        self.memory[place].with(|value| unsafe { *value })
    }

    fn write(&self, place: usize, value: u32) {
        // SAFETY: as for `read`.
        self.memory[place].with_mut(|cell| unsafe { *cell = value });
    }
}

fn reuse_beside_a_reader() {
    loom::model(|| {
        let slot = Slot::new();
        let reading = Arc::clone(&slot);
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                reading.epochs.enter(1);
                assert_eq!(reading.read(), 7);
                reading.epochs.rest(1);
            }
        });
        slot.epochs.enter(0);
        slot.write(1, 7);
        slot.place.store(1, Ordering::Release);
        let epoch = slot.epochs.retire::<Shared>();
        slot.epochs.rest(0);
        if slot.epochs.has_passed(epoch) {
            slot.write(0, 9);
        }
        reader.join().unwrap();
    });
}

/// A segment is written again only when nobody can be reading what stood there.
#[test]
fn memory_is_used_again_when_nobody_can_be_reading_it() {
    reuse_beside_a_reader();
}

/// The same with the fence left out by which a reader is seen.
#[cfg(feature = "canaries")]
#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_that_nobody_sees_is_caught() {
    mm_base::canary::choose(Some("reader without a fence"));
    reuse_beside_a_reader();
}

fn last_of_two_removes() {
    loom::model(|| {
        let slot = Slot::new();
        let remove = |slot: &Slot, shard: usize, place: u32| {
            slot.epochs.enter(shard);
            // Each takes one of two records of the segment out of the index; whoever finds it empty retires it.
            slot.place.fetch_add(place, Ordering::AcqRel);
            subtract::<Shared>(&slot.live, 1);
            let is_empty = slot.live.load(Ordering::Acquire) == 0;
            let epoch = is_empty.then(|| slot.epochs.retire::<Shared>());
            slot.epochs.rest(shard);
            if let Some(epoch) = epoch
                && slot.epochs.has_passed(epoch)
            {
                assert_eq!(slot.place.load(Ordering::Relaxed), 3, "both are out of the index");
            }
        };
        let other = Arc::clone(&slot);
        let second = thread::spawn(move || remove(&other, 1, 1));
        remove(&slot, 0, 2);
        second.join().unwrap();
    });
}

/// Whoever finds a segment empty has seen everybody take its records out of the index.
#[test]
fn an_emptied_segment_is_out_of_the_index() {
    last_of_two_removes();
}

/// A walk over the records of a segment that another shard empties in two steps, in the order given.
fn walk_beside_emptying(is_held_first: bool) {
    loom::model(move || {
        let (slot, segments) = (Slot::new(), Arc::new(Segments::<Shared>::new(1, 1 << 14)));
        let place = Place { queue: Queue::Small, group: 0, generation: 0 };
        let id = segments.open(place, || 1, 1).expect("there is one");
        let sequence = segments.get(id).sequence();
        let (walked, its_segments) = (Arc::clone(&slot), Arc::clone(&segments));
        let walker = thread::spawn(move || {
            walked.epochs.enter(1);
            if its_segments.get(id).has_records_of(sequence) {
                assert_eq!(walked.read(), 7);
            }
            walked.epochs.rest(1);
        });
        if is_held_first {
            segments.hold(id);
        }
        let epoch = slot.epochs.retire::<Shared>();
        if !is_held_first {
            segments.hold(id);
        }
        if slot.epochs.has_passed(epoch) {
            slot.write(0, 9);
        }
        walker.join().unwrap();
    });
}

/// Whoever walks over records is waited for, or sees that they are gone.
#[test]
fn a_walk_does_not_read_memory_that_is_used_again() {
    walk_beside_emptying(true);
}

/// The same in the other order.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_walk_beside_a_segment_that_is_retired_before_it_is_held_is_caught() {
    walk_beside_emptying(false);
}

/// Bytes that live are counted right when two add and take away at once.
#[test]
fn live_bytes_add_up() {
    loom::model(|| {
        let live = Arc::new(AtomicU32::new(8));
        let other = Arc::clone(&live);
        let second = thread::spawn(move || {
            add::<Shared>(&other, 4);
            subtract::<Shared>(&other, 8);
        });
        add::<Shared>(&live, 16);
        second.join().unwrap();
        assert_eq!(live.load(Ordering::Relaxed), 20);
    });
}
