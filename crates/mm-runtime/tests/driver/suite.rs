//! The tests, generic over the driver.

use mm_base::buffer::{Output, Pool};
use mm_base::slab::Key;
use mm_runtime::driver::{Driver, Event, Owner, Received, Sent, SourceId};
use mm_runtime::limits::{EVENTS_MAX, INBOX_BYTES, RECEIVE_BYTES_MAX};

mod receiving;
mod sending;

pub(crate) use receiving::*;
pub(crate) use sending::*;

/// A driver, and peers to talk to it.
pub(crate) trait World {
    type Driver: Driver;
    type Peer;

    /// A world whose streams have small kernel buffers, if that is asked for.
    fn new(small_buffers: bool) -> Self;
    fn driver(&mut self) -> &mut Self::Driver;
    /// A listener to add to the driver.
    fn listener(&mut self) -> <Self::Driver as Driver>::Listener;
    /// Connects to the last listener, without waiting to be accepted.
    fn connect(&mut self) -> Self::Peer;
    /// Sends all.
    fn write(&mut self, peer: &mut Self::Peer, bytes: &[u8]);
    /// Receives up to `bytes` of what has arrived, at least one byte unless the stream has ended.
    fn read(&mut self, peer: &mut Self::Peer, bytes: usize) -> Vec<u8>;
    /// Finishes sending.
    fn finish(&mut self, peer: &mut Self::Peer);
    /// Breaks the connection.
    fn reset(&mut self, peer: Self::Peer);
}

const LISTENER: u64 = 1;
const STREAM: u64 = 2;

/// Long enough for an event on a busy machine, so that a missing one fails a test instead of hanging it.
const PATIENCE_MS: u64 = 20_000;

fn owner(number: u64) -> Owner {
    Owner::Work(Key::from_u64(number))
}

/// Polls until there is an event that `wanted` accepts.
fn wait<W: World>(world: &mut W, wanted: impl Fn(&Event) -> bool) -> Event {
    let mut events = Vec::new();
    let start = world.driver().now().monotonic_ms;
    loop {
        world.driver().poll(Some(PATIENCE_MS), &mut events).unwrap();
        if let Some(event) = events.drain(..).find(&wanted) {
            return event;
        }
        let waited = world.driver().now().monotonic_ms - start;
        assert!(waited < PATIENCE_MS, "no such event in {waited} ms");
    }
}

fn wait_readable<W: World>(world: &mut W, source: SourceId) {
    wait(world, |event| event.source == source && event.readable);
}

/// A listener, and a connection through it.
fn pair<W: World>(world: &mut W) -> (SourceId, W::Peer) {
    let listener = world.listener();
    let listener = world.driver().add_listener(listener, owner(LISTENER)).unwrap();
    let peer = world.connect();
    (accept(world, listener), peer)
}

fn accept<W: World>(world: &mut W, listener: SourceId) -> SourceId {
    loop {
        if let Some((socket, _)) = world.driver().accept(listener).unwrap() {
            return world.driver().add_stream(socket, owner(STREAM)).unwrap();
        }
        wait_readable(world, listener);
    }
}

/// Everything that arrives until the driver says that the stream would block; `true` with it when it has
/// ended.
fn receive_all<W: World>(world: &mut W, stream: SourceId) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        if !world.driver().inbox_has_room() {
            world.driver().clear_inbox();
        }
        match world.driver().receive(stream).unwrap() {
            Received::Bytes(span) => bytes.extend_from_slice(world.driver().bytes(span)),
            Received::Blocked => return (bytes, false),
            Received::End => return (bytes, true),
        }
    }
}

/// What the peer receives. A driver may leave what it has been told to do until it is polled.
fn read<W: World>(world: &mut W, peer: &mut W::Peer, bytes: usize) -> Vec<u8> {
    world.driver().poll(Some(0), &mut Vec::new()).unwrap();
    world.read(peer, bytes)
}

fn output(bytes: &[u8]) -> Output {
    let mut output = Output::new(&Pool::new(usize::MAX), usize::MAX);
    output.write(bytes);
    output
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

pub(crate) fn a_request_and_its_answer<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    assert_eq!(world.driver().receive(stream).unwrap(), Received::Blocked);
    world.write(&mut peer, b"ping");
    wait_readable(&mut world, stream);
    assert_eq!(receive_all(&mut world, stream), (b"ping".to_vec(), false));
    assert!(!world.driver().may_have_input(stream));
    let mut answer = output(b"pong");
    assert_eq!(world.driver().send(stream, &mut answer).unwrap(), Sent::All);
    assert!(answer.is_empty());
    assert_eq!(read(&mut world, &mut peer, 4), b"pong");
}

pub(crate) fn events_name_their_owner<W: World>() {
    let mut world = W::new(false);
    let listener = world.listener();
    let listener = world.driver().add_listener(listener, owner(LISTENER)).unwrap();
    let mut peer = world.connect();
    let event = wait(&mut world, |event| event.source == listener);
    assert_eq!((event.owner, event.readable), (owner(LISTENER), true));
    let stream = accept(&mut world, listener);
    assert!(world.driver().accept(listener).unwrap().is_none());
    world.write(&mut peer, b"x");
    let event = wait(&mut world, |event| event.source == stream && event.readable);
    assert_eq!(event.owner, owner(STREAM));
}

pub(crate) fn a_reset_is_an_error_and_not_an_end<W: World>() {
    let mut world = W::new(false);
    let (stream, peer) = pair(&mut world);
    world.reset(peer);
    wait_readable(&mut world, stream);
    assert!(world.driver().receive(stream).is_err());
    world.driver().close(stream);
}

pub(crate) fn sending_to_a_peer_that_is_gone_is_an_error<W: World>() {
    let mut world = W::new(false);
    let (stream, peer) = pair(&mut world);
    world.reset(peer);
    wait_readable(&mut world, stream);
    assert!(world.driver().send(stream, &mut output(b"too late")).is_err());
}

pub(crate) fn a_closed_source_is_never_heard_of_again<W: World>() {
    let mut world = W::new(false);
    let listener = world.listener();
    let listener = world.driver().add_listener(listener, owner(LISTENER)).unwrap();
    let mut peer = world.connect();
    let stream = accept(&mut world, listener);
    world.write(&mut peer, b"unread");
    world.driver().close(stream);
    world.driver().close(stream);
    let mut other = world.connect();
    let successor = accept(&mut world, listener);
    assert_eq!(successor.index(), stream.index());
    world.write(&mut other, b"fresh");
    let mut events = Vec::new();
    while events.is_empty() {
        world.driver().poll(Some(PATIENCE_MS), &mut events).unwrap();
        assert!(events.iter().all(|event| event.source != stream));
        events.retain(|event| event.source == successor && event.readable);
    }
    assert!(world.driver().receive(stream).is_err());
    assert!(!world.driver().may_have_input(stream));
    assert_eq!(receive_all(&mut world, successor).0, b"fresh");
}

pub(crate) fn finishing_output_leaves_input_open<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    world.driver().shutdown_output(stream).unwrap();
    assert_eq!(read(&mut world, &mut peer, 1), b"");
    world.write(&mut peer, b"still here");
    wait_readable(&mut world, stream);
    assert_eq!(receive_all(&mut world, stream).0, b"still here");
}

/// For drivers that can do that.
pub(crate) fn a_released_stream_goes_on_elsewhere<W: World>() {
    let mut world = W::new(false);
    let (mut stream, mut peer) = pair(&mut world);
    for round in 0..20_u8 {
        world.write(&mut peer, &[round; 10]);
        let mut received = Vec::new();
        while received.len() < 10 {
            wait_readable(&mut world, stream);
            received.extend(receive_all(&mut world, stream).0);
        }
        assert_eq!(received, [round; 10]);
        assert_eq!(world.driver().send(stream, &mut output(b"answer")).unwrap(), Sent::All);
        let mut tries = 0;
        let (socket, _) = loop {
            if let Some(released) = world.driver().release(stream) {
                break released;
            }
            tries += 1;
            assert!(tries < 100, "never let go");
            world.driver().poll(Some(1), &mut Vec::new()).unwrap();
        };
        assert!(world.driver().receive(stream).is_err());
        // What comes while nobody has it is not lost.
        world.write(&mut peer, &[round + 100; 10]);
        stream = world.driver().add_stream(socket, owner(STREAM)).unwrap();
        let mut received = Vec::new();
        while received.len() < 10 {
            wait_readable(&mut world, stream);
            received.extend(receive_all(&mut world, stream).0);
        }
        assert_eq!(received, [round + 100; 10]);
        assert_eq!(read(&mut world, &mut peer, 6), b"answer");
    }
}

pub(crate) fn a_wake_ends_the_wait<W: World>() {
    let mut world = W::new(false);
    let waker = world.driver().waker();
    let mut events = Vec::new();
    for _ in 0..3 {
        let waker = waker.clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        let before = world.driver().now().monotonic_ms;
        world.driver().poll(Some(PATIENCE_MS), &mut events).unwrap();
        assert!(world.driver().now().monotonic_ms - before < PATIENCE_MS);
    }
    drop(world);
    waker.wake();
}

/// Also where looking finds the wake, and where it comes just before the sleep. For drivers in real time.
pub(crate) fn looking_before_sleeping_misses_nothing<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    world.driver().set_spin_us(100);
    let waker = world.driver().waker();
    for round in 0..200_u32 {
        let waker = waker.clone();
        let waking = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(u64::from(round)));
            waker.wake();
        });
        let before = world.driver().now().monotonic_ms;
        world.driver().poll(Some(PATIENCE_MS), &mut Vec::new()).unwrap();
        assert!(world.driver().now().monotonic_ms - before < PATIENCE_MS);
        waking.join().unwrap();
    }
    // A wait that found nothing else may have been ended by a wake of before.
    world.write(&mut peer, b"ping");
    wait_readable(&mut world, stream);
    assert_eq!(receive_all(&mut world, stream).0, b"ping");
}

/// For drivers in real time.
pub(crate) fn looking_before_sleeping_ends_in_time<W: World>() {
    let mut world = W::new(false);
    let (longest_ms, mut events) = (PATIENCE_MS / 2, Vec::new());
    world.driver().set_spin_us(u32::try_from(longest_ms * 1000).unwrap());
    let before = world.driver().now().monotonic_ms;
    world.driver().poll(Some(30), &mut events).unwrap();
    let waited = world.driver().now().monotonic_ms - before;
    assert!(events.is_empty());
    assert!((29..longest_ms).contains(&waited), "waited {waited} ms");
}

pub(crate) fn a_wait_ends_in_time<W: World>() {
    let mut world = W::new(false);
    let mut events = Vec::new();
    let before = world.driver().now().monotonic_ms;
    world.driver().poll(Some(30), &mut events).unwrap();
    let waited = world.driver().now().monotonic_ms - before;
    assert!(events.is_empty());
    assert!((29..PATIENCE_MS).contains(&waited), "waited {waited} ms");
}

pub(crate) fn many_streams_and_bounded_batches<W: World>() {
    let mut world = W::new(false);
    let listener = world.listener();
    let listener = world.driver().add_listener(listener, owner(LISTENER)).unwrap();
    let count = EVENTS_MAX + 44;
    let mut peers: Vec<W::Peer> = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..count {
        peers.push(world.connect());
        streams.push(accept(&mut world, listener));
    }
    for peer in &mut peers {
        world.write(peer, &[b'z'; 100]);
    }
    let mut heard = std::collections::HashSet::new();
    while heard.len() < count {
        let mut events = Vec::new();
        world.driver().poll(Some(PATIENCE_MS), &mut events).unwrap();
        assert!(!events.is_empty() && events.len() <= EVENTS_MAX);
        for event in events.iter().filter(|event| event.readable) {
            if receive_all(&mut world, event.source).0.len() == 100 {
                heard.insert(event.source);
            }
        }
    }
    assert_eq!(heard, streams.into_iter().collect());
}

pub(crate) fn the_inbox_holds_what_a_batch_receives<W: World>() {
    let mut world = W::new(false);
    let listener = world.listener();
    let listener = world.driver().add_listener(listener, owner(LISTENER)).unwrap();
    let mut streams = Vec::new();
    for index in 0..100_u8 {
        let mut peer = world.connect();
        streams.push((accept(&mut world, listener), index));
        world.write(&mut peer, &[index; 100]);
        world.finish(&mut peer);
    }
    let mut spans = Vec::new();
    for (stream, index) in streams {
        while !world.driver().may_have_input(stream) {
            world.driver().poll(Some(PATIENCE_MS), &mut Vec::new()).unwrap();
        }
        assert!(world.driver().inbox_has_room());
        let Received::Bytes(span) = world.driver().receive(stream).unwrap() else { panic!("nothing there") };
        spans.push((span, index));
    }
    for (span, index) in spans {
        assert_eq!(world.driver().bytes(span), [index; 100]);
    }
    const { assert!(INBOX_BYTES >= 100 * 128 + RECEIVE_BYTES_MAX) };
}

/// Makes a test of each of the functions above, for one world.
#[macro_export]
macro_rules! driver_suite {
    ($world:ty: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            $crate::suite::$test::<$world>();
        })*
    };
    ($world:ty) => {
        $crate::driver_suite! { $world:
            a_request_and_its_answer
            events_name_their_owner
            input_is_not_announced_twice_and_not_lost
            a_full_receive_says_that_there_may_be_more
            what_follows_a_full_space_is_kept_apart
            data_and_end_in_one_event
            the_end_that_comes_after_a_short_receive_is_told
            a_reset_is_an_error_and_not_an_end
            a_peer_that_does_not_read_blocks_and_resumes
            a_peer_that_has_finished_and_does_not_read_costs_no_turns
            pinned_and_copied_bytes_keep_their_order
            sending_to_a_peer_that_is_gone_is_an_error
            a_closed_source_is_never_heard_of_again
            finishing_output_leaves_input_open
            a_wake_ends_the_wait
            a_wait_ends_in_time
            many_streams_and_bounded_batches
            the_inbox_holds_what_a_batch_receives
        }
    };
}

/// The same for a world of Unix sockets, which have no resets: their peer's close with nothing unread is an end.
#[macro_export]
macro_rules! unix_driver_suite {
    ($world:ty) => {
        $crate::driver_suite! { $world:
            a_request_and_its_answer
            events_name_their_owner
            input_is_not_announced_twice_and_not_lost
            a_full_receive_says_that_there_may_be_more
            what_follows_a_full_space_is_kept_apart
            data_and_end_in_one_event
            the_end_that_comes_after_a_short_receive_is_told
            a_peer_that_does_not_read_blocks_and_resumes
            a_peer_that_has_finished_and_does_not_read_costs_no_turns
            pinned_and_copied_bytes_keep_their_order
            sending_to_a_peer_that_is_gone_is_an_error
            a_closed_source_is_never_heard_of_again
            finishing_output_leaves_input_open
            many_streams_and_bounded_batches
            the_inbox_holds_what_a_batch_receives
        }
    };
}
