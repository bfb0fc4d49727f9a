//! The end of a driver, and of what it has not yet given away.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mm_runtime::driver::uring::SIZES;
use mm_runtime::driver::{Address, Driver, Sent, SourceId};
use mm_runtime::limits::COPY_BYTES_MAX;
use mm_runtime::sys::socket::StreamOptions;
use rustix::net::{SendFlags, send};

use super::rules::{OWNER, PATIENCE_MS, Place, pattern};

/// Sends until the kernel has no room, and gets none from what is on its way, so that what was taken last is a rest.
/// How much was taken.
pub(super) fn leave_a_rest(place: &mut Place, stream: SourceId) -> usize {
    let mut taken = 0;
    while !place.driver.has_rest(stream) {
        while place.send(stream, &pattern(COPY_BYTES_MAX)).0 == Sent::All {
            taken += COPY_BYTES_MAX;
            place.poll(0);
        }
        place.poll(20);
    }
    taken
}

#[test]
fn a_rest_that_goes_with_the_driver_does_not_look_like_the_end() {
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    for is_closed in [false, true] {
        let mut place = Place::new(SIZES, options);
        let (stream, mut peer) = place.pair();
        leave_a_rest(&mut place, stream);
        if is_closed {
            place.driver.close(stream);
        }
        drop(place);
        let end = peer.read_to_end(&mut Vec::new());
        assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn an_answer_that_comes_out_short_as_the_driver_goes_does_not_look_whole() {
    const TRIES_MAX: usize = 20;
    for is_closed in [false, true] {
        assert!(
            (0..TRIES_MAX).any(|_| ends_cut(is_closed)),
            "closed: {is_closed}; there has always been room"
        );
    }
}

/// Whether an answer that a driver takes as its last is cut; else it must be whole.
fn ends_cut(is_closed: bool) -> bool {
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let mut place = Place::new(SIZES, options);
    let mut peer = place.connect();
    let socket = place.accept();
    let filling = socket.try_clone().unwrap();
    let stream = place.driver.add_stream(socket, OWNER).unwrap();
    assert_eq!(place.send(stream, &pattern(COPY_BYTES_MAX)).0, Sent::All);
    // Behind the driver's back, before it hands the answer over.
    let before = fill(&filling);
    drop(filling);
    if is_closed {
        place.driver.close(stream);
    }
    drop(place);
    let end = peer.read_to_end(&mut Vec::new());
    match &end {
        Ok(received) => assert_eq!(*received, before + COPY_BYTES_MAX, "closed: {is_closed}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    end.is_err()
}

/// Sends until the kernel has had no room for a while. Returns how much it took.
fn fill(socket: &OwnedFd) -> usize {
    let (flags, bytes) = (SendFlags::NOSIGNAL | SendFlags::DONTWAIT, pattern(COPY_BYTES_MAX));
    let (mut taken, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(20) {
        if let Ok(sent) = send(socket, &bytes, flags) {
            (taken, since) = (taken + sent, Instant::now());
        }
    }
    taken
}

#[test]
fn what_was_taken_is_sent_before_the_driver_ends() {
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    for is_closed in [false, true] {
        let mut place = Place::new(SIZES, options);
        let (stream, mut peer) = place.pair();
        let taken = leave_a_rest(&mut place, stream);
        if is_closed {
            place.driver.close(stream);
        }
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        place.driver.flush(PATIENCE_MS).unwrap();
        drop(place);
        assert_eq!(reading.join().unwrap().unwrap(), taken);
    }
}

#[test]
fn who_has_reset_before_being_accepted_is_not_taken_for_another_kind_of_peer() {
    let mut place = Place::usual();
    let gone = place.connect();
    // The kernel has accepted it.
    while place.poll(PATIENCE_MS).is_empty() {}
    rustix::net::sockopt::set_socket_linger(&gone, Some(Duration::ZERO)).unwrap();
    drop(gone);
    let peer = place.connect();
    let accepted = loop {
        if let Some((_, address)) = place.driver.accept(place.listener).unwrap() {
            break address;
        }
        place.poll(PATIENCE_MS);
    };
    assert_eq!(accepted, Address::Ip(peer.local_addr().unwrap()));
}
