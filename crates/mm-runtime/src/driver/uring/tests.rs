//! What of the driver does not show from outside but by the time that it takes, or in an order that is rare.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use mm_base::buffer::{Output, Pool};

use super::*;
use crate::limits::COPY_BYTES_MAX;

/// Both ends of a new connection, the first in a driver.
fn pair() -> (UringDriver, SourceId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut driver = UringDriver::new(StreamOptions::default()).unwrap();
    let stream = driver.add_stream(socket.into(), Owner::Task).unwrap();
    (driver, stream, peer)
}

#[test]
fn a_finished_stream_with_a_rest_lets_the_driver_sleep() {
    let (mut driver, stream, mut peer) = pair();
    let mut events = Vec::new();
    let send = |driver: &mut UringDriver| {
        let mut output = Output::new(&Pool::new(usize::MAX), usize::MAX);
        output.write(&[7; COPY_BYTES_MAX]);
        driver.send(stream, &mut output).unwrap()
    };
    let mut sent = 0;
    while send(&mut driver) == Sent::All {
        sent += COPY_BYTES_MAX;
        driver.poll(Some(0), &mut events).unwrap();
        events.clear();
    }
    assert!(driver.source(stream).unwrap().has_rest(), "the peer takes nothing");
    driver.shutdown_output(stream).unwrap();
    driver.poll(Some(0), &mut events).unwrap();
    assert!(!driver.round.is_awaited(), "no wait would last");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    while !reader.is_finished() {
        driver.poll(Some(10), &mut events).unwrap();
        events.clear();
    }
    assert_eq!(reader.join().unwrap().unwrap(), sent);
}

/// It is asked for while input waits to be seen, which its owner then takes, and asks no more.
#[test]
fn a_stream_whose_release_was_given_up_is_heard_of() {
    let (mut driver, stream, mut peer) = pair();
    let mut events = Vec::new();
    driver.poll(Some(0), &mut events).unwrap();
    peer.write_all(b"one").unwrap();
    driver.ring.enter(Wait::Endless).unwrap();
    assert!(driver.release(stream).is_none());
    driver.complete(&mut events);
    let Received::Bytes(span) = driver.receive(stream).unwrap() else { panic!("nothing there") };
    assert_eq!(driver.bytes(span), b"one");
    driver.clear_inbox();
    events.clear();
    // Until the cancellation has been seen.
    while driver.source(stream).unwrap().marks.has(Marks::PAUSING) {
        driver.poll(Some(10), &mut events).unwrap();
    }
    peer.write_all(b"two").unwrap();
    driver.poll(Some(1_000), &mut events).unwrap();
    assert!(events.iter().any(|event| event.source == stream && event.readable), "deaf");
}

/// As after a submission in parts: its send is done, and the kernel has not seen all that names it.
#[test]
fn a_socket_that_a_queued_entry_names_stays_open() {
    let (mut driver, stream, mut peer) = pair();
    let mut events = Vec::new();
    driver.poll(Some(0), &mut events).unwrap();
    assert_eq!(driver.send(stream, &mut &b"last"[..]).unwrap(), Sent::All);
    driver.ring.enter(Wait::No).unwrap();
    driver.close(stream);
    driver.settle();
    assert!(!driver.round.is_awaited(), "it is still to be sent");
    assert!(driver.ring.has_retired(), "closed ahead of what names it");
    driver.poll(Some(0), &mut events).unwrap();
    assert!(!driver.ring.has_retired(), "never closed");
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"last");
}
