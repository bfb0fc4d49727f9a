//! The end of a driver.

use std::io::Read;

use mm_runtime::driver::uring::SIZES;
use mm_runtime::driver::{Driver, Sent};
use mm_runtime::limits::COPY_BYTES_MAX;
use mm_runtime::sys::socket::StreamOptions;

use super::rules::{PATIENCE_MS, Place, pattern};

#[test]
fn what_was_taken_is_sent_before_the_driver_ends() {
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    for is_closed in [false, true] {
        let mut place = Place::new(SIZES, options);
        let (stream, mut peer) = place.pair();
        let mut taken = 0;
        // Until the kernel has no room, so that the last that was taken is a rest.
        while place.send(stream, &pattern(COPY_BYTES_MAX)).0 == Sent::All {
            taken += COPY_BYTES_MAX;
            place.poll(0);
        }
        assert!(place.driver.has_rest(stream));
        if is_closed {
            place.driver.close(stream);
        }
        place.driver.flush(1).unwrap();
        assert!(place.driver.has_unsent(), "the peer has not read");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        place.driver.flush(PATIENCE_MS).unwrap();
        drop(place);
        assert_eq!(reading.join().unwrap().unwrap(), taken);
    }
}
