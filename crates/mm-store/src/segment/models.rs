//! A model of what several shards do at once with the lists of segments: `cargo xtask nightly`.

use loom::sync::Arc;
use loom::thread;

use super::{Place, Queue, Segments};
use crate::primitive::{AtomicU64, Ordering};
use crate::sharing::Shared;

/// Whoever writes to a segment that was opened after a flush was begun knows of the flush, and so does not write there
/// what it has found before.
#[test]
fn who_opens_a_segment_of_the_time_after_a_flush_knows_of_the_flush() {
    loom::model(|| {
        let segments = Arc::new(Segments::<Shared>::new(1, 1 << 14));
        let flushed_before = Arc::new(AtomicU64::new(0));
        let (its_segments, its_mark) = (Arc::clone(&segments), Arc::clone(&flushed_before));
        let flusher = thread::spawn(move || its_segments.mark_next(&its_mark));
        let place = Place { queue: Queue::Small, group: 0, generation: 0 };
        let opened = segments.open(place, || 1, 1).expect("there is one");
        let known = flushed_before.load(Ordering::Acquire);
        flusher.join().unwrap();
        let before = flushed_before.load(Ordering::Relaxed);
        let is_after = segments.get(opened).sequence() >= before;
        assert!(!is_after || known == before, "a segment of the time after, and no flush is seen");
    });
}

/// Whoever walks over the records of a segment that was emptied does not take what is in it by now for them.
#[test]
fn a_segment_opened_again_is_not_taken_for_what_it_was() {
    loom::model(|| {
        let segments = Arc::new(Segments::<Shared>::new(1, 1 << 14));
        let place = Place { queue: Queue::Small, group: 0, generation: 0 };
        let id = segments.open(place, || 1, 1).expect("there is one");
        let sequence = segments.get(id).sequence();
        assert!(segments.get(id).has_records_of(sequence));
        segments.release(id);
        let opening = Arc::clone(&segments);
        let opener = thread::spawn(move || opening.open(place, || 1, 1));
        assert!(!segments.get(id).has_records_of(sequence), "another life is taken for the first");
        assert_eq!(opener.join().unwrap(), Some(id));
    });
}
