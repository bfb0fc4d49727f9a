//! Messages arrive once and in order; bounds and closing are told to the sender.

#![cfg(not(loom))]

use super::*;
use proptest::prelude::*;
use std::thread;

fn quiet() -> Arc<Doorbell> {
    Arc::new(Doorbell::new(|| {}))
}

#[test]
fn a_full_mailbox_gives_the_message_back() {
    let (sender, mut receiver) = mailbox(2, quiet());
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(sender.send(3), Err(SendError::Full(3)));
    assert_eq!(receiver.receive(), Some(1));
    sender.send(4).unwrap();
    assert_eq!([receiver.receive(), receiver.receive(), receiver.receive()], [Some(2), Some(4), None]);
}

#[test]
fn a_batch_fills_what_is_free_and_keeps_the_rest() {
    let (sender, mut receiver) = mailbox(4, quiet());
    sender.send(0).unwrap();
    let mut batch: VecDeque<i32> = (1..10).collect();
    assert_eq!(sender.send_batch(&mut batch), 3);
    assert_eq!(batch.front(), Some(&4));
    assert_eq!(std::iter::from_fn(|| receiver.receive()).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_closed_mailbox_refuses() {
    let (sender, receiver) = mailbox(4, quiet());
    drop(receiver);
    assert_eq!(sender.send(1), Err(SendError::Closed(1)));
    assert_eq!(sender.send_batch(&mut VecDeque::from([1])), 0);
}

#[test]
fn messages_never_read_are_dropped() {
    let message = Arc::new(());
    let (sender, mut receiver) = mailbox(4, quiet());
    for _ in 0..4 {
        sender.send(Arc::clone(&message)).unwrap();
    }
    drop(receiver.receive());
    sender.send(Arc::clone(&message)).unwrap();
    drop((sender, receiver));
    assert_eq!(Arc::strong_count(&message), 1);
}

#[test]
fn messages_are_dropped_with_their_receiver_although_senders_stay() {
    let message = Arc::new(());
    let (sender, mut receiver) = mailbox(4, quiet());
    for _ in 0..4 {
        sender.send(Arc::clone(&message)).unwrap();
    }
    drop(receiver.receive());
    // Another sender is about to fill the slot that has become free when the receiver goes.
    let (position, count) = sender.ring.claim(1);
    drop(receiver);
    assert_eq!((count, Arc::strong_count(&message)), (1, 1));
    sender.ring.fill(position, Arc::clone(&message));
    assert_eq!(sender.ring.claim(4).1, 0, "no slot becomes free again");
    drop(sender);
    assert_eq!(Arc::strong_count(&message), 1);
}

#[test]
fn messages_behind_one_that_is_being_sent_are_dropped_too() {
    let message = Arc::new(());
    let (sender, receiver) = mailbox(4, quiet());
    let (position, _) = sender.ring.claim(1);
    for _ in 0..3 {
        sender.send(Arc::clone(&message)).unwrap();
    }
    drop(receiver);
    assert_eq!(Arc::strong_count(&message), 1);
    sender.ring.fill(position, Arc::clone(&message));
    drop(sender);
    assert_eq!(Arc::strong_count(&message), 1);
}

/// Four threads send, one receives and sleeps when it finds nothing: every message arrives once, in its sender's
/// order, and nobody is left asleep (the test would not end).
#[test]
fn every_message_arrives_once_and_in_order() {
    const SENDERS: usize = 4;
    let each = if cfg!(miri) { 50 } else { 20_000 };
    let receiving = thread::current();
    let doorbell = Arc::new(Doorbell::new(move || receiving.unpark()));
    let (sender, mut receiver) = mailbox(16, Arc::clone(&doorbell));
    let threads: Vec<_> = (0..SENDERS)
        .map(|name| {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut batch = VecDeque::new();
                let mut next = 0;
                while next < each || !batch.is_empty() {
                    while next < each && batch.len() < 1 + name * 3 {
                        batch.push_back((name, next));
                        next += 1;
                    }
                    if sender.send_batch(&mut batch) == 0 {
                        thread::yield_now();
                    }
                    sender.ring();
                }
            })
        })
        .collect();
    let mut expected = [0; SENDERS];
    while expected.iter().sum::<usize>() < SENDERS * each {
        if let Some((name, number)) = receiver.receive() {
            assert_eq!(number, expected[name]);
            expected[name] += 1;
        } else if doorbell.try_sleep(|| !receiver.has_message()) {
            thread::park();
            doorbell.awake();
        }
    }
    assert_eq!(receiver.receive(), None);
    for thread in threads {
        thread.join().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]
    #[test]
    fn the_mailbox_does_as_a_bounded_queue(
        capacity in 2_usize..9,
        operations in prop::collection::vec((0_u8..3, 0_usize..12), 1..200),
    ) {
        let (sender, mut receiver) = mailbox(capacity, quiet());
        let capacity = capacity.next_power_of_two();
        let mut model = VecDeque::new();
        // A message that owns something, so that a double read or a leak shows.
        let witness = Arc::new(());
        for (number, (kind, amount)) in operations.into_iter().enumerate() {
            match kind {
                0 => {
                    let sent = sender.send((number, Arc::clone(&witness))).is_ok();
                    prop_assert_eq!(sent, model.len() < capacity);
                    if sent {
                        model.push_back(number);
                    }
                }
                1 => {
                    let free = capacity - model.len();
                    let mut batch: VecDeque<_> = (0..amount).map(|_| (number, Arc::clone(&witness))).collect();
                    let sent = sender.send_batch(&mut batch);
                    prop_assert_eq!(sent, amount.min(free));
                    prop_assert_eq!(batch.len(), amount - sent);
                    model.extend(std::iter::repeat_n(number, sent));
                }
                _ => prop_assert_eq!(receiver.receive().map(|(number, _)| number), model.pop_front()),
            }
            prop_assert_eq!(Arc::strong_count(&witness), 1 + model.len());
            prop_assert_eq!(receiver.has_message(), !model.is_empty());
        }
        drop((sender, receiver));
        prop_assert_eq!(Arc::strong_count(&witness), 1);
    }
}
