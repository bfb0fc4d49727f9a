//! Waits that have to end.

use std::collections::HashMap;
use std::io::Write;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mm_runtime::driver::uring::{SIZES, Sizes};
use mm_runtime::driver::{Driver, Sent};
use mm_runtime::limits::EVENTS_MAX;
use mm_runtime::sys::socket::{ListenAddress, Listener, StreamOptions};

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

/// As many completions as are taken at a time, or more, are there at each poll, and each asks for another one.
#[test]
fn who_waits_for_a_round_is_told_however_much_there_is_to_take() {
    const POLLS_MAX: usize = 20;
    for sockets in [EVENTS_MAX, EVENTS_MAX + 50] {
        let mut place = Place::usual();
        let (stream, _peer) = place.pair();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut addresses = HashMap::new();
        for _ in 0..sockets {
            let socket = Listener::bind_datagrams("127.0.0.1:0".parse().unwrap()).unwrap();
            let ListenAddress::Ip(address) = *socket.address() else { panic!("another kind of address") };
            sender.send_to(b"x", address).unwrap();
            addresses.insert(place.driver.add_datagrams(socket, OWNER).unwrap(), address);
        }
        assert_eq!(place.send(stream, b"one").0, Sent::All);
        assert_eq!(place.send(stream, b"two").0, Sent::Blocked);
        let is_told = (0..POLLS_MAX).any(|_| {
            let events = place.poll(0);
            for event in &events {
                let Some(address) = addresses.get(&event.source) else { continue };
                while place.driver.receive_datagram(event.source, &mut [0; 8]).unwrap().is_some() {}
                // So the wait that has begun again ends at once.
                sender.send_to(b"x", address).unwrap();
            }
            events.iter().any(|event| event.source == stream && event.writable)
        });
        assert!(is_told, "{sockets} sockets: the second send is never asked for");
    }
}
