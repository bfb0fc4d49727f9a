//! Waits that have to end.

use std::io::Write;
use std::time::{Duration, Instant};

use mm_runtime::driver::Driver;
use mm_runtime::driver::uring::{SIZES, Sizes};
use mm_runtime::sys::socket::StreamOptions;

use super::{OWNER, PATIENCE_MS, Place};

/// What has been closed, or sent and closed, has the driver look at what has come of it before it waits: a wake must
/// not be lost there.
#[test]
fn a_wake_beside_a_close_ends_the_wait() {
    for sends in [false, true] {
        let mut place = Place::usual();
        let (stream, _peer) = place.pair();
        place.poll(0);
        if sends {
            place.send(stream, b"last");
        }
        place.driver.close(stream);
        place.driver.waker().wake();
        let begun = Instant::now();
        place.poll(PATIENCE_MS);
        assert!(begun.elapsed() < Duration::from_millis(PATIENCE_MS), "sleeps, with a send: {sends}");
    }
}

/// More streams than the submission queue has entries are in want of buffers at a time, and asked for again while
/// completions are taken.
#[test]
fn want_of_buffers_of_many_streams_ends_while_completions_are_taken() {
    const STREAMS: usize = 100;
    let mut place = Place::new(Sizes { submissions: 8, ..SIZES }, StreamOptions::default());
    let mut peers: Vec<_> = (0..STREAMS).map(|_| (place.connect(), place.accept())).collect();
    peers.iter_mut().for_each(|(peer, _)| peer.write_all(b"?").unwrap());
    let (_peers, sockets): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    let streams: Vec<_> =
        sockets.into_iter().map(|socket| place.driver.add_stream(socket, OWNER).unwrap()).collect();
    for stream in streams {
        assert_eq!(place.receive(stream, 1), b"?");
    }
}
