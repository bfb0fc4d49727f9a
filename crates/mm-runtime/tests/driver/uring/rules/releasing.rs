//! Streams that leave for another driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use mm_runtime::driver::uring::SIZES;
use mm_runtime::driver::{Driver, Sent};
use mm_runtime::sys::socket::StreamOptions;

use super::super::ends::leave_a_rest;
use super::{OWNER, Place};

/// Its peer sends the next request as soon as it has an answer, so that there is never a turn without one.
#[test]
fn a_stream_in_lock_step_is_released() {
    const ROUNDS_MAX: usize = 20;
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    // Here, so that none of the rounds passes before the other thread runs.
    peer.write_all(b"?").unwrap();
    let client = std::thread::spawn(move || {
        let mut answers = 0;
        while matches!(peer.read(&mut [0; 1]), Ok(1)) {
            answers += 1;
            peer.write_all(b"?").unwrap();
        }
        answers
    });
    let released = (0..ROUNDS_MAX).find_map(|_| {
        // Far longer than the peer takes.
        let events = place.poll(200);
        if events.iter().any(|event| event.source == stream && event.readable) {
            assert_eq!(place.receive(stream, 1), b"?");
            assert_eq!(place.send(stream, b"!").0, Sent::All);
        }
        place.driver.release(stream)
    });
    // The next driver's part: nothing has been lost on the way.
    let (socket, _) = released.expect("the stream is never released");
    let stream = place.driver.add_stream(socket, OWNER).unwrap();
    assert_eq!(place.receive(stream, 1), b"?");
    place.driver.close(stream);
    place.poll(0);
    assert!(client.join().unwrap() > 0);
}

/// The reset comes while the receiving is being stopped, when nobody is told of it.
#[test]
fn a_stream_that_is_reset_while_it_leaves_tells_of_that() {
    const ROUNDS_MAX: usize = 100;
    let mut place = Place::usual();
    let (stream, peer) = place.pair();
    place.poll(0);
    assert!(place.driver.release(stream).is_none());
    rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    drop(peer);
    let is_told = (0..ROUNDS_MAX).any(|_| {
        let events = place.poll(1);
        assert!(place.driver.release(stream).is_none(), "what is broken does not go on elsewhere");
        events.iter().any(|event| event.source == stream && event.readable)
    });
    assert!(is_told, "nothing tells that it is broken");
    assert!(place.driver.receive(stream).is_err());
}

/// Its peer has not read, so that the end of what was taken to be sent is still here.
#[test]
fn a_stream_is_released_with_what_the_kernel_had_no_room_for() {
    const ROUNDS_MAX: usize = 100;
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let mut place = Place::new(SIZES, options);
    let (stream, mut peer) = place.pair();
    let taken = leave_a_rest(&mut place, stream);
    let released = (0..ROUNDS_MAX).find_map(|_| {
        place.poll(1);
        place.driver.release_with_rest(stream)
    });
    let (socket, _, rest) = released.expect("the stream is never released");
    assert!(!rest.is_empty());
    // The first takes the cancellation of the wait for room, the second does what that brings about.
    (0..2).for_each(|_| drop(place.poll(0)));
    let reading = std::thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).map(|_| received.len())
    });
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(&rest).unwrap();
    drop(stream);
    assert_eq!(reading.join().unwrap().unwrap(), taken);
}
