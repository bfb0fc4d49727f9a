//! What was taken to be sent and the kernel then had no room for.

use std::io::Read;
use std::net::Shutdown;
use std::time::Instant;

use mm_runtime::driver::uring::SIZES;
use mm_runtime::driver::{Driver, Sent, SourceId};
use mm_runtime::limits::COPY_BYTES_MAX;
use mm_runtime::sys::socket::StreamOptions;

use super::Place;

/// Whether a wait is not ended at once, as something that the driver alone has to know may do.
fn sleeps(place: &mut Place) -> bool {
    let begun = Instant::now();
    place.poll(50);
    begun.elapsed().as_millis() >= 50
}

/// Sends until the kernel has had no room for a while. Returns how much was taken.
fn fill(place: &mut Place, stream: SourceId) -> usize {
    let (mut taken, mut waits) = (0, 0);
    while waits < 3 {
        if place.send(stream, &[7; COPY_BYTES_MAX]).0 == Sent::All {
            (taken, waits) = (taken + COPY_BYTES_MAX, 0);
            place.poll(0);
        } else {
            waits = if sleeps(place) { waits + 1 } else { 0 };
        }
    }
    taken
}

#[test]
fn a_rest_for_a_peer_that_has_finished_and_does_not_read_lets_the_driver_sleep() {
    // So little room that a rest does not find it before the peer reads.
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    for closed in [false, true] {
        let mut place = Place::new(SIZES, options);
        let (stream, mut peer) = place.pair();
        let sent = fill(&mut place, stream);
        place.driver.shutdown_output(stream).unwrap();
        if closed {
            place.driver.close(stream);
        }
        peer.shutdown(Shutdown::Write).unwrap();
        assert!((0..20).any(|_| sleeps(&mut place)), "no wait lasts");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).map(|_| bytes.len())
        });
        while !reader.is_finished() {
            place.poll(10);
        }
        assert_eq!(reader.join().unwrap().unwrap(), sent);
    }
}
