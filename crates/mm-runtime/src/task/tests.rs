//! What tasks promise, seen from outside.

use std::cell::{Cell, RefCell};
use std::panic::panic_any;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;

use mm_base::Now;
use mm_base::doorbell::Doorbell;

use super::*;
use crate::executor::Executor;

mod ends;
mod held;

use crate::timers::{sleep, timeout};

fn executor() -> Executor {
    Executor::new(Arc::new(Doorbell::new(|| {})), Now::default())
}

/// Runs until nothing is ready.
fn settle(executor: &Executor) {
    while executor.run(16).more {}
}

/// Moves time on and runs what becomes ready.
fn pass(executor: &Executor, by_ms: u64) {
    let now = executor.timers().now();
    let now = Now { monotonic_ms: now.monotonic_ms + by_ms, ..now };
    executor.enter(|| while executor.timers().advance(now, 8) {});
    settle(executor);
}

/// The result of a finished task.
fn result<T: 'static>(executor: &Executor, handle: JoinHandle<T>) -> Result<T, JoinError> {
    let place = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&place);
    executor.spawn(async move { *seen.borrow_mut() = Some(handle.await) }).detach();
    settle(executor);
    place.take().expect("the task has not finished")
}

/// Counts drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_result_can_be_taken_without_waiting_once() {
    let executor = executor();
    let mut handle = executor.spawn(async { 7 });
    assert!(handle.take_result().is_none(), "it has not run");
    settle(&executor);
    assert!(matches!(handle.take_result(), Some(Ok(7))));
    assert!(matches!(handle.take_result(), Some(Err(JoinError::Cancelled))));
    assert!(matches!(JoinHandle::<()>::refused().take_result(), Some(Err(JoinError::Refused))));
}

#[test]
fn a_task_gives_its_result() {
    let executor = executor();
    let handle = executor.spawn(async { 6 * 7 });
    assert!(!handle.is_finished(), "spawning does not run");
    assert_eq!(result(&executor, handle).unwrap(), 42);
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn tasks_run_in_the_order_they_became_ready() {
    let executor = executor();
    let order = Rc::new(RefCell::new(Vec::new()));
    for name in 0..3 {
        let order = Rc::clone(&order);
        executor
            .spawn(async move {
                for round in 0..3 {
                    order.borrow_mut().push((round, name));
                    yield_now().await;
                }
            })
            .detach();
    }
    settle(&executor);
    let expected: Vec<_> = (0..3).flat_map(|round| (0..3).map(move |name| (round, name))).collect();
    assert_eq!(*order.borrow(), expected);
}

#[test]
fn a_higher_priority_runs_first_and_none_starves() {
    let executor = executor();
    let order = Rc::new(RefCell::new(Vec::new()));
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let order = Rc::clone(&order);
        let options = Options::new().priority(priority);
        executor
            .spawn_with(options, async move {
                for _ in 0..40 {
                    order.borrow_mut().push(priority);
                    yield_now().await;
                }
            })
            .detach();
    }
    settle(&executor);
    let order = order.borrow();
    assert_eq!(order[..10], [Priority::High; 10]);
    let first_low = order.iter().position(|&priority| priority == Priority::Low).unwrap();
    assert!(first_low < 20, "the lowest priority waited for {first_low} polls");
    assert_eq!(order.last(), Some(&Priority::Low));
}

#[test]
fn the_budget_bounds_a_turn() {
    let executor = executor();
    executor
        .spawn(async {
            loop {
                yield_now().await;
            }
        })
        .detach();
    let ran = executor.run(10);
    assert_eq!((ran.polls, ran.more), (10, true));
}

#[test]
fn a_panic_ends_its_task_alone() {
    let executor = executor();
    let handle = executor.spawn(async { panic!("of one task") });
    executor.spawn(async { panic_any(7) }).detach();
    let other = executor.spawn(async { "unharmed" });
    assert_eq!(result(&executor, handle).unwrap_err().panic_message(), Some("of one task"));
    assert_eq!(result(&executor, other).unwrap(), "unharmed");
    assert_eq!(executor.counts().panics, 2);
}

#[test]
fn a_panicking_destructor_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("of a destructor");
        }
    }
    let executor = executor();
    let at_end = executor.spawn(async { drop(Bomb) });
    let held = executor.spawn(async {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    });
    executor.spawn(async { Bomb }).detach();
    settle(&executor);
    held.cancel();
    assert_eq!(result(&executor, at_end).unwrap_err().panic_message(), Some("of a destructor"));
    assert_eq!(result(&executor, held).unwrap_err().panic_message(), Some("of a destructor"));
    assert_eq!(executor.counts().panics, 3);
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn cancelling_drops_the_future_where_it_waits() {
    let executor = executor();
    let drops = Rc::new(Cell::new(0));
    let counted = Counted(Rc::clone(&drops));
    let handle = executor.spawn(async move {
        let _counted = counted;
        sleep(1_000).await
    });
    settle(&executor);
    assert_eq!(executor.timers().len(), 1);
    handle.cancel();
    assert_eq!(drops.get(), 0, "cancelling does not run the destructors in the caller");
    assert!(matches!(result(&executor, handle), Err(JoinError::Cancelled)));
    assert_eq!((drops.get(), executor.timers().len()), (1, 0));
}

#[test]
fn an_interrupt_ends_the_present_blocking_call_once() {
    let executor = executor();
    let handle = executor.spawn(async { (sleep(100).await, sleep(100).await) });
    settle(&executor);
    handle.interrupt();
    handle.interrupt();
    pass(&executor, 50);
    assert!(!handle.is_finished(), "the second call is not interrupted");
    pass(&executor, 100);
    assert_eq!(result(&executor, handle).unwrap(), (Err(Interrupted), Ok(())));
}

#[test]
fn an_interrupt_waits_for_the_next_blocking_call() {
    let executor = executor();
    let handle = executor.spawn(async {
        let before = sleep(0).await;
        (before, sleep(100).await)
    });
    handle.interrupt();
    assert_eq!(result(&executor, handle).unwrap(), (Ok(()), Err(Interrupted)));
}

#[test]
fn a_deadline_ends_a_task() {
    let executor = executor();
    let options = Options::new().deadline_ms(50);
    let late = executor.spawn_with(options, sleep(1_000));
    let early = executor.spawn_with(options, sleep(10));
    settle(&executor);
    pass(&executor, 49);
    assert!(!late.is_finished());
    pass(&executor, 1);
    assert!(matches!(result(&executor, late), Err(JoinError::Late)));
    assert!(matches!(result(&executor, early), Ok(Ok(()))));
    assert!(executor.timers().is_empty(), "a finished task's deadline is disarmed");
}

#[test]
fn a_timeout_leaves_no_timer_behind() {
    let executor = executor();
    let handle = executor.spawn(async {
        let first = timeout(10, sleep(20)).await;
        let second = timeout(20, sleep(10)).await;
        (first.is_err(), second.is_ok())
    });
    settle(&executor);
    pass(&executor, 10);
    pass(&executor, 10);
    assert_eq!(result(&executor, handle).unwrap(), (true, true));
    assert!(executor.timers().is_empty());
}

#[test]
fn a_group_is_cancelled_whole_and_for_good() {
    let executor = executor();
    let group = Group::new();
    let child = group.child();
    let forever = || std::future::pending::<()>();
    let (one, two) = executor.enter(|| (group.spawn(forever()), child.spawn(forever())));
    let outside = executor.spawn(forever());
    settle(&executor);
    let waited = executor.spawn({
        let group = group.clone();
        async move { group.wait().await }
    });
    settle(&executor);
    assert!(!waited.is_finished());
    group.cancel();
    settle(&executor);
    let after = executor.enter(|| child.spawn(forever()));
    for handle in [one, two, after] {
        assert!(matches!(result(&executor, handle), Err(JoinError::Cancelled)));
    }
    assert_eq!(result(&executor, waited).unwrap(), Ok(()));
    assert!(!outside.is_finished());
    assert!(group.is_empty() && child.is_empty());
}

#[test]
fn task_local_data_is_a_tasks_own_and_dropped_with_it() {
    static SLOT: TaskLocal<Counted> = TaskLocal::new();
    let executor = executor();
    let drops = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let drops = Rc::clone(&drops);
        executor
            .spawn(async move {
                assert!(SLOT.get().is_none(), "a new task starts with empty slots");
                assert!(SLOT.set(Counted(drops)).is_ok_and(|old| old.is_none()));
                yield_now().await;
                assert!(SLOT.get().is_some());
            })
            .detach();
    }
    executor.run(2);
    assert_eq!(drops.get(), 0);
    settle(&executor);
    assert_eq!((drops.get(), executor.counts().panics), (2, 0));
    assert!(SLOT.set(Counted(drops)).is_err(), "outside tasks there is no slot");
}

#[test]
fn too_many_tasks_are_refused() {
    let executor = executor();
    executor.set_tasks_max(1);
    executor.spawn(std::future::pending::<()>()).detach();
    let refused = executor.spawn(async {});
    assert!(refused.is_finished());
    assert_eq!(executor.counts().refused, 1);
    assert!(executor.enter(|| spawn(async {})).task().is_none());
}

#[test]
fn dropping_the_executor_ends_its_tasks() {
    let drops = Rc::new(Cell::new(0));
    let executor = executor();
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let counted = Counted(Rc::clone(&drops));
            executor.spawn(async move {
                let _counted = counted;
                sleep(10).await
            })
        })
        .collect();
    executor.run(2);
    drop(executor);
    assert_eq!(drops.get(), 3);
    assert!(handles.iter().all(JoinHandle::is_finished));
}

#[test]
fn names_appear_in_dumps_and_to_the_task() {
    let executor = executor();
    let reader = Name::new("reader");
    let options = Options::new().name(reader);
    let handle = executor.spawn_with(options, async { current_name().text() });
    executor.spawn(std::future::pending::<()>()).detach();
    let mut names = Vec::new();
    executor.for_each_task(|task| names.push(task.name.text()));
    assert_eq!(names, ["(nameless)", "reader"]);
    assert_eq!(result(&executor, handle).unwrap(), "reader");
}

/// A waker that has gone to other threads wakes the task from there, and does no harm after the executor's end.
#[test]
fn a_waker_works_from_other_threads_and_after_the_end() {
    let rings = Arc::new(AtomicUsize::new(0));
    let rung = Arc::clone(&rings);
    let doorbell = Arc::new(Doorbell::new(move || {
        rung.fetch_add(1, Ordering::Relaxed);
    }));
    let executor = Executor::new(Arc::clone(&doorbell), Now::default());
    let place: Rc<RefCell<Option<Waker>>> = Rc::default();
    let polls = Rc::new(Cell::new(0));
    let (seen, counted) = (Rc::clone(&place), Rc::clone(&polls));
    executor
        .spawn(std::future::poll_fn(move |context| {
            counted.set(counted.get() + 1);
            *seen.borrow_mut() = Some(context.waker().clone());
            Poll::<()>::Pending
        }))
        .detach();
    settle(&executor);
    let waker = place.borrow().clone().unwrap();
    assert!(doorbell.try_sleep(|| !executor.has_work()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let waker = waker.clone();
            thread::spawn(move || {
                for _ in 0..100 {
                    waker.wake_by_ref();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(executor.has_work());
    assert_eq!(rings.load(Ordering::Relaxed), 1, "a shard is woken once");
    settle(&executor);
    assert_eq!(polls.get(), 2, "wakes before a poll count as one");
    drop(executor);
    thread::spawn(move || waker.wake()).join().unwrap();
}

/// The same wakes in the same order give the same order of polls, whatever the addresses.
#[test]
fn a_run_repeats_exactly() {
    let run = |seed: u64| {
        let executor = executor();
        let trace = Rc::new(RefCell::new(Vec::new()));
        for name in 0..20_u64 {
            let trace = Rc::clone(&trace);
            let mut choices = mm_base::choice::Choices::new(seed).fork(name);
            let priority = if choices.one_in(3) { Priority::Low } else { Priority::Normal };
            executor
                .spawn_with(Options::new().priority(priority), async move {
                    for _ in 0..10 {
                        trace.borrow_mut().push(name);
                        if choices.one_in(2) {
                            sleep(choices.below(5)).await.unwrap();
                        } else {
                            yield_now().await;
                        }
                    }
                })
                .detach();
        }
        while executor.task_count() > 0 {
            pass(&executor, 1);
        }
        trace.take()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_stall_is_reported_with_the_tasks_name() {
    let executor = executor();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&reports);
    executor.stall().set_hook(move |stalled| seen.borrow_mut().push(stalled));
    let mut watcher = executor.stall().watcher(10);
    let during = Rc::new(RefCell::new(Vec::new()));
    let looked = Rc::clone(&during);
    // The watcher looks from within the task, which is how it would look from another thread meanwhile.
    let options = Options::new().name(Name::new("slow"));
    executor
        .spawn_with(options, async move {
            for now_ms in [100, 105, 111] {
                looked.borrow_mut().push(watcher.look(now_ms).map(|stalled| stalled.for_ms));
            }
        })
        .detach();
    settle(&executor);
    assert_eq!(*during.borrow(), [None, None, Some(11)]);
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].to_string(), "the task slow kept its shard for 11 ms; let it await more often");
    assert_eq!(executor.counts().stalls, 1);
}

#[test]
fn a_run_within_a_task_does_nothing() {
    let executor = Rc::new(executor());
    let inner = Rc::downgrade(&executor);
    let handle = executor.spawn(async move {
        yield_now().await;
        inner.upgrade().map(|executor| executor.run(8))
    });
    let result = result(&executor, handle).unwrap();
    assert_eq!(result, Some(crate::executor::Ran::default()));
}

/// A task that is queued again while it ends must stay allocated until it has left the queue.
#[test]
fn a_task_may_be_woken_while_it_ends() {
    let executor = executor();
    for _ in 0..3 {
        executor
            .spawn(std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::Ready(())
            }))
            .detach();
    }
    settle(&executor);
    assert_eq!((executor.task_count(), executor.counts().polls), (0, 3));
    let after = executor.spawn(async { 2 });
    assert_eq!(result(&executor, after).unwrap(), 2);
}

/// Tasks that wake each other from their destructors while the executor ends.
#[test]
fn destructors_may_wake_at_the_end() {
    struct Wakes(Rc<RefCell<Vec<Waker>>>);
    impl Drop for Wakes {
        fn drop(&mut self) {
            self.0.borrow().iter().for_each(Waker::wake_by_ref);
        }
    }
    let executor = executor();
    let wakers = Rc::<RefCell<Vec<Waker>>>::default();
    for _ in 0..8 {
        let (seen, wakes) = (Rc::clone(&wakers), Wakes(Rc::clone(&wakers)));
        executor
            .spawn(std::future::poll_fn(move |context| {
                let _kept = &wakes;
                seen.borrow_mut().push(context.waker().clone());
                Poll::<()>::Pending
            }))
            .detach();
    }
    settle(&executor);
    drop(executor);
    assert_eq!(wakers.borrow().len(), 8);
}
