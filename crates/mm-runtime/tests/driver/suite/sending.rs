//! What sending promises.

use mm_base::buffer::limits::LARGE_BYTES;
use mm_base::buffer::{Output, Pinned};
use mm_runtime::driver::{Driver, Sent};

use super::{STREAM, World, output, owner, pair, pattern, read, receive_all, wait, wait_readable};

pub(crate) fn a_peer_that_does_not_read_blocks_and_resumes<W: World>() {
    let mut world = W::new(true);
    let (stream, mut peer) = pair(&mut world);
    let sent = pattern(4 << 20);
    let mut answer = output(&sent);
    let mut received = Vec::new();
    let mut blocked = 0;
    while world.driver().send(stream, &mut answer).unwrap() == Sent::Blocked {
        blocked += 1;
        // Not polled first, which would be to miss the event.
        received.extend(world.read(&mut peer, 1 << 20));
        while received.len() + answer.len() < sent.len() {
            let missing = sent.len() - answer.len() - received.len();
            received.extend(world.read(&mut peer, missing));
        }
        wait(&mut world, |event| event.source == stream && event.writable);
    }
    while received.len() < sent.len() {
        received.extend(read(&mut world, &mut peer, 1 << 20));
    }
    assert!(blocked > 0);
    assert!(received == sent);
}

pub(crate) fn pinned_and_copied_bytes_keep_their_order<W: World>() {
    let mut world = W::new(true);
    let (stream, mut peer) = pair(&mut world);
    let mut answer = output(b"");
    let mut sent = Vec::new();
    // More pieces than one gather takes.
    for piece in 0..200_usize {
        let bytes = pattern(piece * 7 % LARGE_BYTES);
        let pinned = pin(&mut answer, bytes.clone());
        assert_eq!(pinned, bytes.len());
        answer.write(&[b'|'; 3]);
        sent.extend([bytes, b"|||".to_vec()].concat());
    }
    let mut received = Vec::new();
    while world.driver().send(stream, &mut answer).unwrap() == Sent::Blocked {
        received.extend(read(&mut world, &mut peer, 1 << 20));
        let mut events = Vec::new();
        world.driver().poll(Some(1), &mut events).unwrap();
    }
    while received.len() < sent.len() {
        received.extend(read(&mut world, &mut peer, 1 << 20));
    }
    assert!(received == sent);
}

/// Pins `bytes` in an output of their own.
fn pin(output: &mut Output, bytes: Vec<u8>) -> usize {
    let len = bytes.len();
    output.pin(Pinned::shared(std::rc::Rc::new(bytes)));
    len
}

/// How long nobody reads, and how many turns that may take: few, whatever the driver has to do by itself.
const SILENCE_MS: u64 = 200;
const TURNS_MAX: u32 = 100;

pub(crate) fn a_peer_that_has_finished_and_does_not_read_costs_no_turns<W: World>() {
    for finished_first in [true, false] {
        let mut world = W::new(true);
        let (stream, mut peer) = pair(&mut world);
        let sent = pattern(4 << 20);
        let mut answer = output(&sent);
        if finished_first {
            world.finish(&mut peer);
        }
        assert_eq!(world.driver().send(stream, &mut answer).unwrap(), Sent::Blocked);
        if !finished_first {
            world.finish(&mut peer);
        }
        while !receive_all(&mut world, stream).1 {
            wait_readable(&mut world, stream);
        }
        // There may have been room meanwhile.
        assert_eq!(world.driver().send(stream, &mut answer).unwrap(), Sent::Blocked);
        let (begun, mut turns) = (world.driver().now().monotonic_ms, 0);
        while world.driver().now().monotonic_ms - begun < SILENCE_MS {
            let mut events = Vec::new();
            world.driver().poll(Some(SILENCE_MS), &mut events).unwrap();
            turns += 1;
            assert!(turns < TURNS_MAX, "{turns} turns, this one for {events:?}");
            if events.iter().any(|event| event.source == stream && event.writable) {
                assert_eq!(world.driver().send(stream, &mut answer).unwrap(), Sent::Blocked);
            }
        }
        let mut received = Vec::new();
        while received.len() < sent.len() {
            // Not polled first, which would be to miss the event.
            while received.len() + answer.len() < sent.len() {
                received.extend(world.read(&mut peer, 1 << 20));
            }
            if !answer.is_empty() {
                wait(&mut world, |event| event.source == stream && event.writable);
                world.driver().send(stream, &mut answer).unwrap();
            }
        }
        assert!(received == sent);
    }
}

/// As an upgrade has it: the next driver sends what is left, and hears of the end. For drivers that release streams.
pub(crate) fn a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere<W: World>() {
    const TRIES_MAX: u32 = 100;
    let mut world = W::new(true);
    let (stream, mut peer) = pair(&mut world);
    let sent = pattern(4 << 20);
    let mut answer = output(&sent);
    assert_eq!(world.driver().send(stream, &mut answer).unwrap(), Sent::Blocked);
    world.finish(&mut peer);
    while !receive_all(&mut world, stream).1 {
        wait_readable(&mut world, stream);
    }
    let released = (0..TRIES_MAX).find_map(|_| {
        world.driver().poll(Some(1), &mut Vec::new()).unwrap();
        world.driver().release(stream)
    });
    let (socket, _) = released.expect("it is never let go");
    let stream = world.driver().add_stream(socket, owner(STREAM)).unwrap();
    while !receive_all(&mut world, stream).1 {
        wait_readable(&mut world, stream);
    }
    let mut received = Vec::new();
    while world.driver().send(stream, &mut answer).unwrap() == Sent::Blocked {
        while received.len() + answer.len() < sent.len() {
            received.extend(world.read(&mut peer, 1 << 20));
        }
        wait(&mut world, |event| event.source == stream && event.writable);
    }
    while received.len() < sent.len() {
        received.extend(read(&mut world, &mut peer, 1 << 20));
    }
    assert!(received == sent);
}
