//! Shards on threads of their own.

use std::cell::RefCell;
use std::future::{Pending, pending};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use mm_base::Now;

use super::*;
use crate::block_on;
use crate::executor::Executor;
use crate::sync::join_all;
use crate::timers::timeout;

/// Has the other shard do something many times, then goes on serving it until it has done the same.
async fn ask_the_other(place: Place, done: Arc<AtomicUsize>) {
    let shards = place.join();
    let here = thread::current().id();
    for round in 0..200_usize {
        let work = move || async move { (thread::current().id(), round * 2) };
        let (there, doubled) = shards.submit_to(1 - shards.index(), work).await.unwrap();
        assert_ne!(there, here);
        assert_eq!(doubled, round * 2);
    }
    done.fetch_add(1, Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < 2 {
        sleep(1).await.unwrap();
    }
}

#[test]
fn shards_do_work_for_each_other_and_sleep_between() {
    let done = Arc::new(AtomicUsize::new(0));
    let start = |place: Place| {
        let done = Arc::clone(&done);
        thread::spawn(move || block_on(ask_the_other(place, done)))
    };
    let threads: Vec<_> = meet(2).into_iter().map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
}

#[test]
fn a_flood_beyond_the_mailbox_is_worked_off() {
    block_on(async {
        let shards = meet(1).remove(0).join();
        let work = (0..3 * SHARD_MAILBOX_MESSAGES).map(|number| {
            let shards = shards.clone();
            async move { shards.submit_to(0, move || async move { number }).await }
        });
        for (number, result) in join_all(work).await.into_iter().enumerate() {
            assert_eq!(result, Ok(number));
        }
    })
    .unwrap();
}

#[test]
fn work_goes_on_when_nobody_waits_for_it_any_more() {
    block_on(async {
        let shards = meet(1).remove(0).join();
        let (go_on, told) = oneshot::<()>();
        let (sender, mut receiver) = oneshot();
        let work = move || async move {
            told.await.unwrap();
            // The result is lost; this is not.
            (sender.send("kept"), "dropped").1
        };
        assert!(timeout(1, shards.submit_to(0, work)).await.is_err());
        go_on.send(()).unwrap();
        yield_now().await;
        assert_eq!((&mut receiver).await, Ok("kept"));
    })
    .unwrap();
}

#[test]
fn work_that_fails_and_shards_that_are_gone_are_told() {
    block_on(async {
        let mut places = meet(2);
        drop(places.pop());
        let shards = places.remove(0).join();
        assert_eq!(shards.submit_to(1, || async {}).await, Err(SubmitError::Gone));
        assert_eq!(shards.submit_to(9, || async {}).await, Err(SubmitError::Gone));
        let failed = shards.submit_to(0, || async { panic!("on its shard") }).await;
        assert_eq!(failed, Err::<(), _>(SubmitError::Failed));
    })
    .unwrap();
}

fn executor() -> Executor {
    Executor::new(Arc::new(Doorbell::new(|| {})), Now::default())
}

#[test]
fn whoever_waits_for_a_shard_that_ends_is_told() {
    let mut places = meet(2);
    let (ends, stays) = (executor(), executor());
    ends.enter(|| drop(places.remove(0).join()));
    let shards = stays.enter(|| places.remove(0).join());
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let ask = |work: fn() -> Pending<()>| {
        let (shards, outcomes) = (shards.clone(), Rc::clone(&outcomes));
        let asking = async move {
            let outcome = shards.submit_to(0, work).await;
            outcomes.borrow_mut().push(outcome);
        };
        stays.spawn(asking).detach();
        stays.run(8);
    };
    ask(pending);
    ends.run(8);
    // It has taken its last turn, and does not look into its mailbox again.
    ask(|| unreachable!("nobody does this"));
    drop(ends);
    stays.run(8);
    assert_eq!(*outcomes.borrow(), [Err(SubmitError::Gone); 2]);
}

/// In the middle of the submission, when the work has been sent and not yet been waited for.
#[test]
fn the_result_of_a_shard_that_has_ended_since_is_not_lost() {
    let mut places = meet(2);
    let stays = executor();
    let (theirs, ours) = (places.remove(0), places.remove(0));
    let (is_asleep, sleeping) = mpsc::channel();
    let (ring, rung) = mpsc::channel();
    let (ends, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let ending = thread::spawn(move || {
        let ring_and_wait = move || {
            ring.send(()).unwrap();
            // Nothing is ever sent: the thread ends.
            ended.lock().unwrap().recv().unwrap_err();
        };
        let doorbell = Arc::new(Doorbell::new(ring_and_wait));
        let executor = Executor::new(Arc::clone(&doorbell), Now::default());
        executor.enter(|| drop(theirs.join()));
        executor.run(8);
        assert!(doorbell.try_sleep(|| true));
        is_asleep.send(()).unwrap();
        rung.recv().unwrap();
        executor.run(8);
        drop(executor);
        drop(ends);
    });
    sleeping.recv().unwrap();
    let shards = stays.enter(|| ours.join());
    let outcome = Rc::new(RefCell::new(None));
    let told = Rc::clone(&outcome);
    let asking = async move {
        let result = shards.submit_to(0, || async { 7 }).await;
        *told.borrow_mut() = Some(result);
    };
    stays.spawn(asking).detach();
    stays.run(8);
    ending.join().unwrap();
    assert_eq!(*outcome.borrow(), Some(Ok(7)));
}

#[test]
fn every_shard_has_a_value_of_its_own() {
    let words = Sharded::new(RefCell::<Vec<String>>::default);
    let done = Arc::new(AtomicUsize::new(0));
    let start = |place: Place| {
        let (words, done) = (words.clone(), Arc::clone(&done));
        thread::spawn(move || {
            block_on(async move {
                let shards = place.join();
                let word = format!("from {}", shards.index());
                let counts = words.on_all(move |words| async move {
                    words.borrow_mut().push(word);
                    words.borrow().len()
                });
                assert_eq!(counts.await.unwrap().len(), 3);
                done.fetch_add(1, Ordering::Relaxed);
                while done.load(Ordering::Relaxed) < 3 {
                    sleep(1).await.unwrap();
                }
                let mut here = words.local().unwrap().borrow().clone();
                here.sort();
                assert_eq!(here, ["from 0", "from 1", "from 2"]);
            })
        })
    };
    let threads: Vec<_> = meet(3).into_iter().map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    assert!(words.local().is_err(), "outside a shard there is none");
}
