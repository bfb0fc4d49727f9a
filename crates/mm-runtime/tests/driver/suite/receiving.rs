//! What receiving promises.

use std::net::TcpStream;

use mm_runtime::driver::{Driver, Received, Sent};
use mm_runtime::limits::RECEIVE_BYTES_MAX;

use super::{World, output, pair, pattern, read, receive_all, wait_readable};

pub(crate) fn input_is_not_announced_twice_and_not_lost<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    let sent = pattern(3 * RECEIVE_BYTES_MAX + 1);
    world.write(&mut peer, &sent);
    let mut received = Vec::new();
    while received.len() < sent.len() {
        wait_readable(&mut world, stream);
        received.extend(receive_all(&mut world, stream).0);
    }
    assert!(received == sent);
    let mut events = Vec::new();
    world.driver().poll(Some(0), &mut events).unwrap();
    assert_eq!(receive_all(&mut world, stream), (Vec::new(), false));
}

pub(crate) fn a_full_receive_says_that_there_may_be_more<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    world.write(&mut peer, b"abcdef");
    wait_readable(&mut world, stream);
    let mut space = [0; 4];
    assert_eq!(world.driver().receive_into(stream, &mut space).unwrap(), Received::Bytes(4));
    assert!(world.driver().may_have_input(stream));
    assert_eq!(&space, b"abcd");
    assert_eq!(world.driver().receive_into(stream, &mut space).unwrap(), Received::Bytes(2));
    assert_eq!(world.driver().receive_into(stream, &mut space).unwrap(), Received::Blocked);
}

pub(crate) fn what_follows_a_full_space_is_kept_apart<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    let (mut input, mut lengths) = (Vec::new(), Vec::new());
    let (sent, space_bytes) = (pattern(200_000), 40_000);
    let mut written = 0;
    while input.len() < sent.len() {
        let end = sent.len().min(written + 45_000);
        if input.len() == written {
            world.write(&mut peer, &sent[written..end]);
            written = end;
            wait_readable(&mut world, stream);
        }
        let mut space = vec![0; space_bytes];
        match world.driver().receive_past(stream, &mut space).unwrap() {
            Received::Bytes((filled, rest)) => {
                assert!(rest.is_none() || filled == space_bytes, "{filled} bytes, and {rest:?} behind them");
                input.extend_from_slice(&space[..filled]);
                input.extend_from_slice(rest.map_or(&[], |span| world.driver().bytes(span)));
                lengths.push((filled, rest.map_or(0, |span| span.len())));
                world.driver().clear_inbox();
            }
            Received::Blocked => wait_readable(&mut world, stream),
            Received::End => panic!("the peer has not finished"),
        }
    }
    assert!(input == sent, "{lengths:?}");
    world.finish(&mut peer);
    loop {
        match world.driver().receive_past(stream, &mut [0; 4]).unwrap() {
            Received::End => return,
            Received::Blocked => wait_readable(&mut world, stream),
            Received::Bytes(more) => panic!("{more:?} after the end"),
        }
    }
}

pub(crate) fn data_and_end_in_one_event<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    world.write(&mut peer, b"last words");
    world.finish(&mut peer);
    let (mut received, mut ended) = (Vec::new(), false);
    while !ended {
        wait_readable(&mut world, stream);
        let (bytes, end) = receive_all(&mut world, stream);
        received.extend(bytes);
        ended = end;
    }
    assert_eq!(received, b"last words");
    assert_eq!(world.driver().send(stream, &mut output(b"answer")).unwrap(), Sent::All);
    world.driver().close(stream);
    assert_eq!(read(&mut world, &mut peer, 6), b"answer");
    assert_eq!(read(&mut world, &mut peer, 6), b"");
}

pub(crate) fn the_end_that_comes_after_a_short_receive_is_told<W: World>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    world.write(&mut peer, b"x");
    wait_readable(&mut world, stream);
    assert_eq!(receive_all(&mut world, stream), (b"x".to_vec(), false));
    world.finish(&mut peer);
    wait_readable(&mut world, stream);
    assert_eq!(receive_all(&mut world, stream), (Vec::new(), true));
}

/// A receive stops where they are. Over TCP.
pub(crate) fn urgent_bytes_keep_nothing_back<W: World<Peer = TcpStream>>() {
    let mut world = W::new(false);
    let (stream, mut peer) = pair(&mut world);
    for (head, tail) in [(b"one", b"two"), (b"six", b"ten")] {
        world.write(&mut peer, head);
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        world.write(&mut peer, tail);
        let mut received = Vec::new();
        while received.len() < head.len() + tail.len() {
            wait_readable(&mut world, stream);
            received.extend(receive_all(&mut world, stream).0);
        }
        assert_eq!(received, [*head, *tail].concat());
    }
}
