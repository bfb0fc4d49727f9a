//! Channels between threads, and between tasks of one.

use std::thread;

use super::*;
use crate::block_on;
use crate::sync::{join, join_all};
use crate::task::{spawn, yield_now};
use crate::timers::timeout;

#[test]
fn messages_cross_threads_in_order_through_a_small_channel() {
    let (sender, mut receiver) = channel::<(usize, usize)>(2);
    let send = |from| {
        let sender = sender.clone();
        thread::spawn(move || {
            block_on(async move {
                for number in 0..500 {
                    sender.send((from, number)).await.unwrap();
                }
            })
        })
    };
    let senders: Vec<_> = (0..3).map(send).collect();
    drop(sender);
    let received = block_on(async move {
        let mut next = [0; 3];
        while let Ok((from, number)) = receiver.receive().await {
            assert_eq!(number, next[from]);
            next[from] += 1;
        }
        next
    });
    assert_eq!(received.unwrap(), [500; 3]);
    senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
}

#[test]
fn a_sender_that_gives_up_lets_the_next_in() {
    block_on(async {
        let (sender, mut receiver) = channel(1);
        sender.try_send(0).unwrap();
        assert!(matches!(sender.try_send(9), Err(TrySendError::Full(9))));
        let (first, second) = (sender.clone(), sender);
        let waiting = spawn(async move { first.send(1).await });
        let next = spawn(async move { second.send(2).await });
        yield_now().await;
        waiting.cancel();
        assert_eq!(receiver.receive().await, Ok(0));
        assert_eq!(receiver.receive().await, Ok(2));
        assert!(matches!(next.await, Ok(Ok(()))));
        assert_eq!(receiver.receive().await, Err(Closed::Gone));
    })
    .unwrap();
}

#[test]
fn ends_and_interrupts_are_told() {
    block_on(async {
        let (sender, mut receiver) = channel::<u8>(1);
        assert!(timeout(1, receiver.receive()).await.is_err());
        let receiving = spawn(async move { receiver.receive().await });
        yield_now().await;
        receiving.interrupt();
        assert_eq!(receiving.await.unwrap(), Err(Closed::Interrupted));
        assert!(matches!(sender.send(1).await, Err(SendError::Closed(1))));

        let (sender, receiver) = channel::<u8>(1);
        sender.try_send(1).unwrap();
        let sending = join_all((0..3).map(|_| sender.send(2)));
        let (sent, ()) = join(sending, async {
            yield_now().await;
            drop(receiver);
        })
        .await;
        assert!(sent.iter().all(|sent| matches!(sent, Err(SendError::Closed(2)))));
    })
    .unwrap();
}
