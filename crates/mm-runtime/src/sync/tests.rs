//! Who waits is woken, once and in order; who is cancelled leaves no trace.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use mm_base::Now;
use mm_base::doorbell::Doorbell;

use super::*;
use crate::executor::Executor;
use crate::task::{Interrupted, JoinHandle, spawn, yield_now};
use crate::timers::{Elapsed, sleep, timeout};

fn executor() -> Executor {
    let main = thread::current();
    Executor::new(Arc::new(Doorbell::new(move || main.unpark())), Now::default())
}

fn settle(executor: &Executor) {
    while executor.run(64).more {}
}

/// Runs a test's task to its end.
fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let executor = executor();
    let place = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&place);
    executor.spawn(async move { *seen.borrow_mut() = Some(future.await) }).detach();
    settle(&executor);
    place.take().expect("the task waits for ever")
}

/// Names written down in the order in which tasks got somewhere.
type Trace = Rc<RefCell<Vec<u32>>>;

#[test]
fn a_place_that_is_promised_is_not_taken_by_another() {
    block_on(async {
        let (sender, mut receiver) = channel(1);
        sender.try_send(1).unwrap();
        let waiting = sender.clone();
        let sent = spawn(async move { waiting.send(2).await });
        yield_now().await;
        assert_eq!(receiver.try_receive(), Some(1));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        sent.await.unwrap().unwrap();
        assert_eq!(receiver.try_receive(), Some(2));

        // One that is given up goes to the next, or is free.
        sender.try_send(1).unwrap();
        let waiting = sender.clone();
        let given_up = spawn(async move { waiting.send(2).await });
        yield_now().await;
        assert_eq!(receiver.try_receive(), Some(1));
        given_up.cancel();
        assert!(given_up.await.is_err());
        assert_eq!(sender.try_send(3), Ok(()));
    });
}

#[test]
fn one_that_fails_ends_both() {
    block_on(async {
        let (sender, receiver) = oneshot::<()>();
        let waits = async { receiver.await.map_err(|_gone| "gone") };
        let fails = async {
            yield_now().await;
            Err::<(), _>("failed")
        };
        assert_eq!(try_join(waits, fails).await, Err("failed"));
        assert_eq!(sender.send(()), Err(()), "the other one is dropped");
        assert_eq!(try_join(async { Ok::<_, ()>(1) }, async { Ok(2) }).await, Ok((1, 2)));
    });
}

#[test]
fn a_signal_wakes_one_in_order_and_a_broadcast_all() {
    let (executor, condition, trace) = (executor(), Rc::new(Condition::new()), Trace::default());
    for name in 0..4 {
        let (condition, trace) = (Rc::clone(&condition), Rc::clone(&trace));
        executor
            .spawn(async move {
                condition.wait().await.unwrap();
                trace.borrow_mut().push(name);
            })
            .detach();
    }
    condition.signal();
    settle(&executor);
    assert!(trace.borrow().is_empty(), "a signal before the wait is not kept");
    condition.signal();
    settle(&executor);
    assert_eq!(*trace.borrow(), [0]);
    condition.broadcast();
    settle(&executor);
    assert_eq!(*trace.borrow(), [0, 1, 2, 3]);
}

#[test]
fn a_signal_to_one_that_gave_up_goes_to_the_next() {
    let (executor, condition) = (executor(), Rc::new(Condition::new()));
    let handles: Vec<JoinHandle<Result<(), Interrupted>>> = (0..2)
        .map(|_| {
            let condition = Rc::clone(&condition);
            executor.spawn(async move { condition.wait().await })
        })
        .collect();
    settle(&executor);
    condition.signal();
    handles[0].cancel();
    settle(&executor);
    assert!(handles[1].is_finished());
}

#[test]
fn a_notification_is_kept_once() {
    block_on(async {
        let notify = Notify::new();
        notify.notify();
        notify.notify();
        notify.notified().await.unwrap();
        match select(notify.notified(), yield_now()).await {
            Either::Left(_) => panic!("kept twice"),
            Either::Right(()) => {}
        }
    });
}

#[test]
fn permits_are_handed_out_in_order() {
    let (executor, semaphore, trace) = (executor(), Rc::new(Semaphore::new(2)), Trace::default());
    for name in 0..5 {
        let (semaphore, trace) = (Rc::clone(&semaphore), Rc::clone(&trace));
        executor
            .spawn(async move {
                let permit = semaphore.acquire().await.unwrap();
                trace.borrow_mut().push(name);
                yield_now().await;
                drop(permit);
            })
            .detach();
    }
    executor.run(5);
    assert_eq!(*trace.borrow(), [0, 1], "only two at once");
    settle(&executor);
    assert_eq!(*trace.borrow(), [0, 1, 2, 3, 4]);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_permit_goes_along_with_a_task() {
    block_on(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = Rc::clone(&semaphore).acquire_owned().await.unwrap();
        assert_eq!(semaphore.available(), 0);
        spawn(async move { drop(permit) }).await.unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn an_interrupted_wait_leaves_everything_as_it_was() {
    let (executor, semaphore) = (executor(), Rc::new(Semaphore::new(1)));
    let held = semaphore.try_acquire().unwrap();
    let waiting = Rc::clone(&semaphore);
    let handle = executor.spawn(async move { waiting.acquire().await.map(drop) });
    settle(&executor);
    handle.interrupt();
    settle(&executor);
    assert!(handle.is_finished());
    drop(held);
    assert_eq!(semaphore.available(), 1, "the permit was not lost");
}

#[test]
fn a_channel_keeps_order_and_blocks_when_full() {
    let (executor, sent) = (executor(), Rc::new(Cell::new(0)));
    let (sender, mut receiver) = channel(2);
    let counted = Rc::clone(&sent);
    executor
        .spawn(async move {
            for message in 0..5 {
                sender.send(message).await.unwrap();
                counted.set(message + 1);
            }
        })
        .detach();
    settle(&executor);
    assert_eq!(sent.get(), 2);
    let handle = executor.spawn(async move {
        let mut received = Vec::new();
        while let Ok(message) = receiver.receive().await {
            received.push(message);
        }
        received
    });
    settle(&executor);
    assert!(handle.is_finished(), "the sender's end ends the receiver");
    assert_eq!(sent.get(), 5);
}

#[test]
fn a_channel_without_receiver_gives_the_message_back() {
    block_on(async {
        let (sender, receiver) = channel(1);
        sender.send(1).await.unwrap();
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        drop(receiver);
        assert_eq!(sender.send(3).await, Err(SendError::Closed(3)));
    });
}

#[test]
fn a_barrier_opens_when_all_are_there() {
    let (executor, barrier, trace) = (executor(), Rc::new(Barrier::new(3)), Trace::default());
    for _ in 0..6 {
        let (barrier, trace) = (Rc::clone(&barrier), Rc::clone(&trace));
        executor
            .spawn(async move {
                let last = barrier.wait().await.unwrap();
                trace.borrow_mut().push(u32::from(last));
            })
            .detach();
    }
    executor.run(2);
    assert!(trace.borrow().is_empty());
    settle(&executor);
    assert_eq!((trace.borrow().len(), trace.borrow().iter().sum::<u32>()), (6, 2));
}

#[test]
fn a_oneshot_gives_its_value_or_says_that_none_will_come() {
    block_on(async {
        let (sender, receiver) = oneshot();
        sender.send(7).unwrap();
        assert_eq!(receiver.await, Ok(7));
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(receiver.await, Err(Closed::Gone));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
    });
}

#[test]
fn join_waits_for_all_and_select_for_one() {
    let outputs = block_on(async {
        let both = join(async { 1 }, async {
            yield_now().await;
            2
        })
        .await;
        let all = join_all((0..3).map(|name| async move { name })).await;
        let first = select(std::future::pending::<()>(), async { 3 }).await;
        (both, all, first)
    });
    assert_eq!(outputs, ((1, 2), vec![0, 1, 2], Either::Right(3)));
}

#[test]
fn a_value_crosses_threads_and_wakes_the_sleeper() {
    let main = thread::current();
    let doorbell = Arc::new(Doorbell::new(move || main.unpark()));
    let executor = Executor::new(Arc::clone(&doorbell), Now::default());
    let (sender, receiver) = cross::oneshot();
    let handle = executor.spawn(receiver);
    settle(&executor);
    let thread = thread::spawn(move || sender.send("from afar"));
    while !handle.is_finished() {
        if doorbell.try_sleep(|| !executor.has_work()) {
            thread::park();
            doorbell.awake();
        }
        settle(&executor);
    }
    assert_eq!(thread.join().unwrap(), Ok(()));
}

#[test]
fn a_value_for_a_receiver_that_has_given_up_is_on_one_of_the_two_sides() {
    let (sender, mut receiver) = cross::oneshot();
    assert_eq!(sender.send(1), Ok(()));
    assert_eq!((receiver.close(), receiver.close()), (Some(1), None));
    assert_eq!(block_on(receiver), Err(Closed::Gone));
    let (sender, mut receiver) = cross::oneshot();
    assert_eq!((receiver.close(), sender.is_closed(), sender.send(2)), (None, true, Err(2)));
    let (sender, receiver) = cross::oneshot();
    drop(receiver);
    assert_eq!(sender.send(3), Err(3));
}

#[test]
fn what_a_channel_does_not_take_is_an_error_of_io() {
    use std::io::{Error, ErrorKind};
    let kind = |error: Error| (error.kind(), error.to_string());
    block_on(async move {
        let (sender, receiver) = channel(1);
        let send = async |message| -> Result<(), Error> {
            sender.try_send(Rc::new(message))?;
            Ok(sender.send(Rc::new(message)).await?)
        };
        crate::task::current().unwrap().interrupt();
        assert_eq!(kind(send(1).await.unwrap_err()), (ErrorKind::Interrupted, "interrupted".to_owned()));
        assert_eq!(send(2).await.unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(receiver);
        assert_eq!(send(3).await.unwrap_err().kind(), ErrorKind::Other);
        let closed = sender.send(Rc::new(4)).await.unwrap_err();
        assert_eq!(kind(closed.into()), (ErrorKind::Other, "the channel's receiver is gone".to_owned()));
    });
}

/// How often others were polled while `busy` ran, which never has to wait.
fn polls_beside(busy: impl Future<Output = ()> + 'static) -> u32 {
    block_on(async move {
        let polls = Rc::new(Cell::new(0));
        let seen = Rc::clone(&polls);
        let other = spawn(async move {
            loop {
                seen.set(seen.get() + 1);
                yield_now().await;
            }
        });
        busy.await;
        other.cancel();
        polls.get()
    })
}

const CALLS: usize = 1000;
/// Some of what others get is had before and after.
const POLLS_MIN: u32 = 25;

#[test]
fn a_task_that_never_waits_lets_others_go_on() {
    let (local, far) = (channel(CALLS), cross::channel(CALLS));
    assert!(
        polls_beside(async move {
            for number in 0..CALLS {
                local.0.send(number).await.unwrap();
            }
            let (sender, mut receiver) = local;
            drop(sender);
            while receiver.receive().await.is_ok() {}
        }) >= 2 * POLLS_MIN
    );
    assert!(
        polls_beside(async move {
            for number in 0..CALLS {
                far.0.send(number).await.unwrap();
            }
            let (sender, mut receiver) = far;
            drop(sender);
            while receiver.receive().await.is_ok() {}
        }) >= 2 * POLLS_MIN
    );
    assert!(
        polls_beside(async {
            let (semaphore, notify) = (Semaphore::new(1), Notify::new());
            for _ in 0..CALLS / 2 {
                drop(semaphore.acquire().await);
                notify.notify();
                notify.notified().await.unwrap();
            }
        }) >= POLLS_MIN
    );
    assert!(
        polls_beside(async {
            for _ in 0..CALLS {
                sleep(0).await.unwrap();
            }
        }) >= POLLS_MIN
    );
}

#[test]
fn what_lets_others_go_on_is_not_overtaken_by_what_is_ready_at_once() {
    block_on(async {
        let (sender, mut receiver) = channel(CALLS);
        (0..CALLS).for_each(|number| sender.try_send(number).unwrap());
        for number in 0..CALLS / 2 {
            assert_eq!(timeout(0, receiver.receive()).await, Ok(Ok(number)));
        }
        for number in CALLS / 2..CALLS {
            let selected = select(receiver.receive(), std::future::ready(())).await;
            assert_eq!(selected, Either::Left(Ok(number)));
        }
        assert_eq!(timeout(0, receiver.receive()).await, Err(Elapsed));
    });
}

#[test]
fn outside_tasks_there_are_no_others() {
    let (sender, mut receiver) = cross::channel(CALLS);
    (0..CALLS).for_each(|number| sender.try_send(number).unwrap());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for number in 0..CALLS {
        let received = std::pin::pin!(receiver.receive()).poll(&mut context);
        assert_eq!(received, std::task::Poll::Ready(Ok(number)));
    }
}
