//! Models of what several threads do at once, run over every order of their steps that matters:
//! `LOOM_MAX_PREEMPTIONS=2 RUSTFLAGS="--cfg loom" cargo test --release -p mm-base --test loom` (without the
//! bound: hours).

#![cfg(loom)]
#![expect(unsafe_code, reason = "pushing onto a wake list")]

use loom::sync::Notify;
use loom::thread;
use mm_base::doorbell::Doorbell;
use mm_base::mailbox::mailbox;
use mm_base::wake_list::{Link, WakeList};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

fn bed_and_bell() -> (Arc<Notify>, Arc<Doorbell>) {
    let bed = Arc::new(Notify::new());
    let woken = Arc::clone(&bed);
    (bed, Arc::new(Doorbell::new(move || woken.notify())))
}

/// Two senders, one of them in a batch; the receiver sleeps when it finds nothing. A lost wake-up leaves it
/// asleep for ever, which loom reports as a deadlock.
#[test]
fn no_message_is_left_beside_a_sleeping_receiver() {
    loom::model(|| {
        let (bed, doorbell) = bed_and_bell();
        let (sender, mut receiver) = mailbox(2, Arc::clone(&doorbell));
        let single = sender.clone();
        let threads = [
            thread::spawn(move || {
                single.send(1).unwrap();
                single.ring();
            }),
            thread::spawn(move || {
                sender.send_batch(&mut VecDeque::from([2]));
                sender.ring();
            }),
        ];
        let mut sum = 0;
        while sum < 3 {
            if let Some(message) = receiver.receive() {
                sum += message;
            } else if doorbell.try_sleep(|| !receiver.has_message()) {
                bed.wait();
                doorbell.awake();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Two senders race for the slots of a mailbox that is too small for both, while it is being emptied: what
/// was accepted arrives, in order, and what was refused comes back.
#[test]
fn slots_are_used_again_without_mixing_messages() {
    loom::model(|| {
        let (_, doorbell) = bed_and_bell();
        let (sender, mut receiver) = mailbox(2, doorbell);
        let other = sender.clone();
        let batching = thread::spawn(move || other.send_batch(&mut VecDeque::from([10, 11])));
        let first = receiver.receive();
        let single = usize::from(sender.send(20).is_ok());
        let sent = batching.join().unwrap() + single;
        let received: Vec<i32> = first.into_iter().chain(std::iter::from_fn(|| receiver.receive())).collect();
        assert_eq!(received.len(), sent);
        let batch: Vec<i32> = received.iter().copied().filter(|&message| message < 20).collect();
        assert_eq!(batch, [10, 11][..batch.len()]);
    });
}

/// Two senders, and a receiver that goes: each sender finds the mailbox closed after it has rung, or its message has
/// been dropped although the senders stay, for somebody may wait for that.
#[test]
fn no_message_is_left_with_a_receiver_that_is_gone() {
    loom::model(|| {
        let (_, doorbell) = bed_and_bell();
        let (sender, receiver) = mailbox(2, doorbell);
        let messages = [Arc::new(()), Arc::new(())];
        let send = |message: &Arc<()>| {
            let (sender, message) = (sender.clone(), Arc::clone(message));
            thread::spawn(move || {
                let sent = sender.send(message).is_ok();
                sender.ring();
                !sent || sender.is_closed()
            })
        };
        let threads = [send(&messages[0]), send(&messages[1])];
        drop(receiver);
        for (thread, message) in threads.into_iter().zip(&messages) {
            let is_told = thread.join().unwrap();
            assert!(is_told || Arc::strong_count(message) == 1);
        }
    });
}

/// Two threads wake the same thing, having left a note each: the owner sees both notes, however their wakes
/// fall together.
#[test]
fn a_wake_that_finds_the_link_listed_is_not_lost() {
    loom::model(|| {
        struct Shared {
            list: WakeList,
            link: Link,
            notes: [loom::sync::atomic::AtomicBool; 2],
        }
        let (bed, doorbell) = bed_and_bell();
        let shared = Arc::new(Shared {
            list: WakeList::new(),
            link: Link::new(),
            notes: std::array::from_fn(|_| loom::sync::atomic::AtomicBool::new(false)),
        });
        let threads: Vec<_> = (0..2)
            .map(|index| {
                let (shared, doorbell) = (Arc::clone(&shared), Arc::clone(&doorbell));
                thread::spawn(move || {
                    shared.notes[index].store(true, loom::sync::atomic::Ordering::Relaxed);
                    if WakeList::claim(&shared.link) {
                        // SAFETY: claimed just now; `shared` outlives the model's threads.
                        unsafe { shared.list.push(NonNull::from(&shared.link)) };
                        doorbell.ring();
                    }
                })
            })
            .collect();
        let seen = |index: usize| shared.notes[index].load(loom::sync::atomic::Ordering::Relaxed);
        let mut polled_with = (false, false);
        while polled_with != (true, true) {
            if shared.list.take().count() > 0 {
                polled_with = (seen(0), seen(1));
            } else if doorbell.try_sleep(|| shared.list.is_empty()) {
                bed.wait();
                doorbell.awake();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
