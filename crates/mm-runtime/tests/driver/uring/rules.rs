//! What goes wrong where a kernel holds on to descriptors and memory: one test for each way.
//!
//! - Memory that the kernel may touch is the driver's until it is done: `idle_connections_hold_no_buffer`,
//!   `a_driver_that_is_dropped_in_the_middle_of_everything_leaves_nothing`.
//! - A full submission queue loses no cancel and no operation: the suite on a ring of one entry (`tiny_tcp`,
//!   `tiny_unix`).
//! - What was accepted for nobody is closed: `connections_of_a_closed_listener_are_closed`.
//! - Input of a wait that ended, or of a receive that was cancelled, is not lost:
//!   `a_wait_that_ends_early_loses_no_input`, `a_large_upload_goes_past_the_buffers_in_order`,
//!   `a_receive_by_call_does_not_overtake_the_ring`, `what_follows_a_large_upload_is_told_of_each_time`, the suite's
//!   `a_released_stream_goes_on_elsewhere`, `a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere`,
//!   `a_stream_in_lock_step_is_released`,
//!   `a_stream_that_is_reset_while_it_leaves_tells_of_that`.
//! - The end drains what is in flight before memory goes:
//!   `a_driver_that_is_dropped_in_the_middle_of_everything_leaves_nothing`.
//! - Time-outs are the shard's, none is linked to an operation: the suite's `a_wait_ends_in_time`; there is no such
//!   entry.
//! - Late completions reach nobody's successor: the suite's `a_closed_source_is_never_heard_of_again`,
//!   `a_tag_comes_back_as_it_was`.
//! - Completions that do not fit the queue come all the same:
//!   `more_completions_than_the_queue_holds_are_all_delivered`, `tiny_tcp`.
//! - Want of buffers starves nobody and ends by itself: `those_who_do_not_take_their_input_starve_nobody`,
//!   `want_of_buffers_of_many_streams_ends_while_completions_are_taken`, `tiny_tcp`.
//! - A wake is not lost in the looks before a wait: `a_wake_beside_a_close_ends_the_wait`.
//! - What waits for other completions is not put off by more of them than are taken at a time:
//!   `who_waits_for_a_round_is_told_however_much_there_is_to_take`.
//! - A close follows what was taken to be sent, and nothing is received after it:
//!   `what_was_taken_is_sent_before_a_close_even_if_the_peer_is_slow`, `the_end_of_output_follows_what_was_taken`,
//!   `what_was_taken_is_sent_before_the_driver_ends`, `a_second_send_before_the_wait_waits_for_it`,
//!   `an_answer_that_comes_out_short_as_the_driver_goes_does_not_look_whole`, and beside the driver
//!   `a_finished_stream_with_a_rest_lets_the_driver_sleep`.
//! - What is refused at any step is named, and epoll serves: `a_ring_that_the_kernel_refuses_names_the_step`,
//!   `a_probe_leaves_the_thread_that_asks_alone`, and the program's tests under a filter of system calls.

mod releasing;
mod rests;
mod waking;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mm_base::buffer::{Output, Pool};
use mm_base::slab::Key;
use mm_runtime::driver::uring::{SIZES, Sizes, UringDriver, probe};
use mm_runtime::driver::{Driver, Event, Owner, Received, Sent, SourceId};
use mm_runtime::limits::{BULK_BYTES, COPY_BYTES_MAX, EVENTS_MAX, RECEIVE_BYTES_MAX};
use mm_runtime::sys::socket::{ListenAddress, Listener, StreamOptions};

pub(super) const PATIENCE_MS: u64 = 20_000;
pub(super) const OWNER: Owner = Owner::Work(Key::reserved(1));

/// A driver and a listener of it.
pub(super) struct Place {
    pub(super) driver: UringDriver,
    pub(super) listener: SourceId,
    address: SocketAddr,
}

impl Place {
    pub(super) fn new(sizes: Sizes, options: StreamOptions) -> Self {
        let mut driver = UringDriver::with_sizes(options, sizes).unwrap();
        let listener = Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1024).unwrap();
        let ListenAddress::Ip(address) = *listener.address() else { panic!("another kind of address") };
        let listener = driver.add_listener(listener, OWNER).unwrap();
        Self { driver, listener, address }
    }

    pub(super) fn usual() -> Self {
        Self::new(SIZES, StreamOptions::default())
    }

    /// With so few buffers that a handful of streams takes them all.
    pub(super) fn short_of_buffers() -> Self {
        Self::new(Sizes { buffers: 4, ..SIZES }, StreamOptions::default())
    }

    pub(super) fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_nodelay(true).unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).unwrap();
        peer
    }

    pub(super) fn poll(&mut self, timeout_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        self.driver.poll(Some(timeout_ms), &mut events).unwrap();
        assert!(events.len() <= EVENTS_MAX);
        events
    }

    /// Both ends of a new connection.
    pub(super) fn pair(&mut self) -> (SourceId, TcpStream) {
        let peer = self.connect();
        let socket = self.accept();
        (self.driver.add_stream(socket, OWNER).unwrap(), peer)
    }

    pub(super) fn accept(&mut self) -> OwnedFd {
        loop {
            if let Some((socket, _)) = self.driver.accept(self.listener).unwrap() {
                return socket;
            }
            self.poll(PATIENCE_MS);
        }
    }

    /// Receives until there are `bytes` bytes of a stream.
    pub(super) fn receive(&mut self, stream: SourceId, bytes: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < bytes {
            self.driver.clear_inbox();
            match self.driver.receive(stream).unwrap() {
                Received::Bytes(span) => received.extend_from_slice(self.driver.bytes(span)),
                Received::Blocked => drop(self.poll(PATIENCE_MS)),
                Received::End => break,
            }
        }
        self.driver.clear_inbox();
        received
    }

    pub(super) fn send(&mut self, stream: SourceId, bytes: &[u8]) -> (Sent, Output) {
        let mut output = Output::new(&Pool::new(usize::MAX), usize::MAX);
        output.write(bytes);
        let sent = self.driver.send(stream, &mut output).unwrap();
        (sent, output)
    }
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[test]
fn idle_connections_hold_no_buffer() {
    let mut place = Place::short_of_buffers();
    let mut idle: Vec<_> = (0..100).map(|_| place.pair()).collect();
    // Each has had a request, more of them than there are buffers.
    for (stream, peer) in &mut idle {
        peer.write_all(b"once").unwrap();
        assert_eq!(place.receive(*stream, 4), b"once");
    }
    let (stream, mut peer) = place.pair();
    let request = pattern(4 * RECEIVE_BYTES_MAX);
    peer.write_all(&request).unwrap();
    assert_eq!(place.receive(stream, request.len()), request);
}

#[test]
fn those_who_do_not_take_their_input_starve_nobody() {
    let mut place = Place::short_of_buffers();
    let mut stalled: Vec<_> = (0..10).map(|_| place.pair()).collect();
    let unread = pattern(2 * RECEIVE_BYTES_MAX);
    for (_, peer) in &mut stalled {
        peer.write_all(&unread).unwrap();
    }
    for _ in 0..20 {
        place.poll(1);
    }
    let (stream, mut peer) = place.pair();
    for _ in 0..10 {
        peer.write_all(b"request").unwrap();
        assert_eq!(place.receive(stream, 7), b"request");
    }
    for (stream, _) in &stalled {
        assert_eq!(place.receive(*stream, unread.len()), unread);
    }
}

#[test]
fn more_completions_than_the_queue_holds_are_all_delivered() {
    let mut place = Place::new(Sizes { submissions: 8, completions: 8, ..SIZES }, StreamOptions::default());
    let mut pairs: Vec<_> = (0..200).map(|_| place.pair()).collect();
    for round in 0..5_u8 {
        for (_, peer) in &mut pairs {
            peer.write_all(&[round; 30]).unwrap();
        }
        for (stream, _) in &pairs {
            assert_eq!(place.receive(*stream, 30), [round; 30]);
        }
        for (stream, _) in &pairs {
            while place.send(*stream, &[round; 20]).0 == Sent::Blocked {
                place.poll(1);
            }
        }
        place.poll(0);
        for (_, peer) in &mut pairs {
            let mut answer = [0; 20];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round; 20]);
        }
    }
}

#[test]
fn connections_of_a_closed_listener_are_closed() {
    let mut place = Place::usual();
    let early = place.connect();
    while place.poll(PATIENCE_MS).is_empty() {}
    let late = place.connect();
    place.driver.close(place.listener);
    for mut peer in [early, late] {
        place.poll(0);
        // An end or a reset, and not a wait until there is no patience left.
        let read = peer.read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(matches!(read, Ok(0) | Err(ErrorKind::ConnectionReset)), "{read:?}");
    }
    assert!(place.driver.accept(place.listener).is_err());
}

#[test]
fn a_wait_that_ends_early_loses_no_input() {
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    for round in 0..50_u8 {
        assert_eq!(place.driver.receive(stream).unwrap(), Received::Blocked);
        place.poll(u64::from(round % 3));
        peer.write_all(&[round; 100]).unwrap();
        place.poll(0);
        assert_eq!(place.receive(stream, 100), [round; 100]);
    }
}

#[test]
fn a_large_upload_goes_past_the_buffers_in_order() {
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    for len in [BULK_BYTES, 5 * BULK_BYTES + 7, 1 << 20] {
        let upload = pattern(len);
        let sending = upload.clone();
        let writer = std::thread::spawn(move || {
            peer.write_all(b"request").unwrap();
            peer.write_all(&sending).unwrap();
            peer.write_all(b"next").unwrap();
            peer
        });
        assert_eq!(place.receive(stream, 1)[0], b'r');
        // What came with the first byte is not looked at here.
        let mut space = vec![0; len + 10];
        let mut filled = 0;
        while !space[..filled].ends_with(b"next") {
            let whole = space.len();
            match place.driver.receive_into(stream, &mut space[filled..whole]).unwrap() {
                Received::Bytes(bytes) => filled += bytes,
                Received::Blocked => drop(place.poll(PATIENCE_MS)),
                Received::End => panic!("it has not ended"),
            }
        }
        let upload_end = &space[..filled - 4];
        assert!(upload.ends_with(&upload_end[upload_end.len().saturating_sub(len)..]));
        peer = writer.join().unwrap();
        // Short requests again.
        peer.write_all(b"short").unwrap();
        assert_eq!(place.receive(stream, 5), b"short");
    }
}

/// What does not fit into the queue is submitted at once, and then the kernel may receive.
#[test]
fn a_receive_by_call_does_not_overtake_the_ring() {
    let sizes = Sizes { submissions: 1, buffers: 1, ..SIZES };
    let mut place = Place::new(sizes, StreamOptions::default());
    let (stream, mut peer) = place.pair();
    let (other, _its_peer) = place.pair();
    let upload = pattern(BULK_BYTES);
    for _ in 0..3 {
        place.poll(0);
        assert_eq!(place.driver.receive(stream).unwrap(), Received::Blocked);
        place.poll(0);
        peer.write_all(&upload).unwrap();
        assert_eq!(place.send(other, b"takes the only entry").0, Sent::All);
        let (mut space, mut filled) = (vec![0; upload.len()], 0);
        while filled < space.len() {
            match place.driver.receive_into(stream, &mut space[filled..]).unwrap() {
                Received::Bytes(bytes) => filled += bytes,
                Received::Blocked => drop(place.poll(PATIENCE_MS)),
                Received::End => panic!("it has not ended"),
            }
        }
        assert!(space == upload, "in another order");
    }
}

#[test]
fn what_follows_a_large_upload_is_told_of_each_time() {
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    for round in 0..3_u8 {
        let upload = vec![round; 3 * BULK_BYTES];
        let mut space = vec![0; upload.len()];
        let mut filled = 0;
        let sending = upload.clone();
        let writer = std::thread::spawn(move || {
            peer.write_all(&sending).unwrap();
            peer
        });
        while filled < space.len() {
            match place.driver.receive_into(stream, &mut space[filled..]).unwrap() {
                Received::Bytes(bytes) => filled += bytes,
                Received::Blocked => drop(place.poll(PATIENCE_MS)),
                Received::End => panic!("it has not ended"),
            }
        }
        assert_eq!(space, upload);
        peer = writer.join().unwrap();
        // What is there after each receive that fell short is asked for only when an event has told of it.
        for request in [&b"one"[..], b"two", b"three"] {
            peer.write_all(request).unwrap();
            // A poll may also end because of something that only the driver has to know.
            let begun = Instant::now();
            let mut told = place.driver.may_have_input(stream);
            while !place.driver.may_have_input(stream) {
                assert!(begun.elapsed().as_millis() < u128::from(PATIENCE_MS), "never told");
                let events = place.poll(PATIENCE_MS);
                told |= events.iter().any(|event| event.source == stream && event.readable);
            }
            assert!(told, "there is input, and no event has told of it");
            place.driver.clear_inbox();
            let Received::Bytes(span) = place.driver.receive(stream).unwrap() else {
                panic!("nothing there")
            };
            assert_eq!(place.driver.bytes(span), request);
        }
        place.driver.clear_inbox();
    }
}

#[test]
fn what_was_taken_is_sent_before_a_close_even_if_the_peer_is_slow() {
    let options = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let mut place = Place::new(SIZES, options);
    let (stream, mut peer) = place.pair();
    let bytes = pattern(COPY_BYTES_MAX);
    let mut taken = 0;
    // Until the kernel has no room, so that the last that was taken is a rest.
    while place.send(stream, &bytes).0 == Sent::All {
        taken += bytes.len();
        place.poll(0);
    }
    place.driver.close(stream);
    place.poll(0);
    let reading = std::thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).map(|_| received)
    });
    while !reading.is_finished() {
        place.poll(10);
    }
    let received = reading.join().unwrap().unwrap();
    assert_eq!(received.len(), taken);
    assert!(received.chunks(bytes.len()).all(|chunk| chunk == bytes));
}

#[test]
fn the_end_of_output_follows_what_was_taken() {
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    assert_eq!(place.send(stream, b"last").0, Sent::All);
    place.driver.shutdown_output(stream).unwrap();
    place.poll(0);
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"last");
    peer.write_all(b"still here").unwrap();
    assert_eq!(place.receive(stream, 10), b"still here");
}

#[test]
fn a_second_send_before_the_wait_waits_for_it() {
    let mut place = Place::usual();
    let (stream, mut peer) = place.pair();
    assert_eq!(place.send(stream, b"one ").0, Sent::All);
    let (sent, mut rest) = place.send(stream, b"two");
    assert_eq!((sent, rest.len()), (Sent::Blocked, 3));
    let events = place.poll(PATIENCE_MS);
    assert!(events.iter().any(|event| event.source == stream && event.writable), "{events:?}");
    assert_eq!(place.driver.send(stream, &mut rest).unwrap(), Sent::All);
    place.poll(0);
    let mut received = [0; 7];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"one two");
}

#[test]
fn a_driver_that_is_dropped_in_the_middle_of_everything_leaves_nothing() {
    // What does not end would have the driver say so.
    for round in 0..60 {
        let mut place = Place::usual();
        let (stream, mut peer) = place.pair();
        let (silent, mut unread) = place.pair();
        unread.write_all(&pattern(1000)).unwrap();
        let unaccepted = place.connect();
        if round % 2 == 0 {
            place.poll(0);
        }
        assert_eq!(place.send(stream, b"taken").0, Sent::All);
        if round % 3 == 0 {
            place.driver.close(silent);
        }
        drop(place);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"taken");
        drop((unread, unaccepted));
    }
}

#[test]
fn a_ring_that_the_kernel_refuses_names_the_step() {
    let refused = |sizes| UringDriver::with_sizes(StreamOptions::default(), sizes).unwrap_err().to_string();
    let odd = refused(Sizes { buffers: 3, ..SIZES });
    assert!(odd.starts_with("io_uring_register (ring of buffers): "), "{odd}");
    let nothing = refused(Sizes { submissions: 0, ..SIZES });
    assert!(nothing.starts_with("io_uring_setup: "), "{nothing}");
}

#[test]
fn a_probe_leaves_the_thread_that_asks_alone() {
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for _ in 0..20 {
        probe().unwrap();
        assert_eq!(near.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    drop(far);
}
