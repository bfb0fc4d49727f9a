//! Tasks that are held back before they write.

use super::*;
use crate::limits::{CALLS_PER_POLL, LOWER_FIRST_EVERY, WRITER_HELD_FOR};
use crate::net::share;
use crate::sync::{select, try_join};
use crate::task::raw::hold_here;

/// What tasks did, in order: their numbers, first when they have received and again when they write.
type Log = Rc<RefCell<Vec<u32>>>;

/// Waits as a write does that follows a receive.
async fn write_turn() {
    let mut asked = false;
    std::future::poll_fn(move |context| {
        if !std::mem::replace(&mut asked, true) && hold_here(context.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// A task that receives and then writes.
async fn serve(log: Log, number: u32) {
    log.borrow_mut().push(number);
    write_turn().await;
    log.borrow_mut().push(number);
}

/// Spawns `tasks` of these.
fn spawn(executor: &Executor, log: &Log, tasks: std::ops::Range<u32>) -> Vec<JoinHandle<()>> {
    tasks.map(|number| executor.spawn(serve(Rc::clone(log), number))).collect()
}

#[test]
fn all_who_are_ready_receive_before_the_first_writes() {
    let (executor, log) = (executor(), Log::default());
    let _tasks = spawn(&executor, &log, 0..4);
    settle(&executor);
    // Of the last one nobody is left who could receive.
    assert_eq!(*log.borrow(), [0, 1, 2, 3, 3, 0, 1, 2]);
}

#[test]
fn who_is_alone_writes_at_once() {
    let (executor, log) = (executor(), Log::default());
    let _tasks = spawn(&executor, &log, 0..1);
    assert_eq!(executor.run(1).polls, 1);
    assert_eq!(*log.borrow(), [0, 0]);
}

#[test]
fn nobody_is_held_for_more_than_a_batch() {
    let (executor, log) = (executor(), Log::default());
    let batch = WRITER_HELD_FOR + 1;
    let _tasks = spawn(&executor, &log, 0..2 * batch);
    settle(&executor);
    let [first, second] = [0, batch].map(|from| from..from + batch);
    // The last of all has nobody to wait for.
    let mut expected: Vec<_> = [&first, &first, &second].into_iter().flat_map(Clone::clone).collect();
    expected.push(second.end - 1);
    expected.extend(second.start..second.end - 1);
    assert_eq!(*log.borrow(), expected);
    assert_eq!(executor.task_count(), 0);
}

/// Who never has to wait for its peer: as sockets do, it lets others go on after so many calls.
async fn pipelined(log: Log, number: u32, requests: u32) {
    for _ in 0..requests {
        share::turn().await;
        share::spend();
        log.borrow_mut().push(number);
        write_turn().await;
        share::turn().await;
        share::spend();
    }
}

/// After how much else `number` is in the log, from the place `from` on.
fn after(log: &Log, from: usize, number: u32) -> usize {
    log.borrow()[from..].iter().position(|it| *it == number).expect("it is not there")
}

#[test]
fn those_who_never_wait_do_not_keep_others_from_their_turn() {
    let (executor, log) = (executor(), Log::default());
    let tasks = 2 * WRITER_HELD_FOR;
    let _tasks: Vec<_> =
        (0..tasks).map(|number| executor.spawn(pipelined(Rc::clone(&log), number, 10_000))).collect();
    let other = Rc::clone(&log);
    executor.spawn(async move { other.borrow_mut().push(99) }).detach();
    settle(&executor);
    let others = after(&log, 0, 99);
    assert!(others <= (tasks * CALLS_PER_POLL) as usize, "{others} requests before it");
}

#[test]
fn those_who_are_ready_again_at_once_do_not_keep_a_writer() {
    let (executor, log) = (executor(), Log::default());
    let _writer = spawn(&executor, &log, 1..2);
    for _ in 0..2 {
        let log = Rc::clone(&log);
        let busy = async move {
            for _ in 0..1_000 {
                log.borrow_mut().push(5);
                yield_now().await;
            }
        };
        executor.spawn(busy).detach();
    }
    settle(&executor);
    assert_eq!(after(&log, 1, 1), WRITER_HELD_FOR as usize);
}

#[test]
fn a_crowd_of_others_does_not_keep_a_writer() {
    let (executor, log) = (executor(), Log::default());
    let _writer = spawn(&executor, &log, 1..2);
    for _ in 0..1_000 {
        let log = Rc::clone(&log);
        executor.spawn(async move { log.borrow_mut().push(5) }).detach();
    }
    settle(&executor);
    assert_eq!(after(&log, 1, 1), WRITER_HELD_FOR as usize);
}

#[test]
fn others_of_all_priorities_do_not_keep_a_writer() {
    let (executor, log) = (executor(), Log::default());
    let _writer = spawn(&executor, &log, 1..2);
    for priority in [Priority::High, Priority::Normal, Priority::Low] {
        let log = Rc::clone(&log);
        let busy = async move {
            for _ in 0..10_000 {
                log.borrow_mut().push(5);
                yield_now().await;
            }
        };
        executor.spawn_with(Options::new().priority(priority), busy).detach();
    }
    settle(&executor);
    let others = after(&log, after(&log, 0, 1) + 1, 1);
    assert!(others <= (2 * LOWER_FIRST_EVERY * (WRITER_HELD_FOR + 2)) as usize, "{others} polls before it");
}

#[test]
fn a_write_that_there_is_room_for_wins_over_what_comes_after_it() {
    let (executor, log) = (executor(), Log::default());
    let write = |number| serve(Rc::clone(&log), number);
    let selected = executor.spawn(select(write(1), std::future::ready(())));
    let failing = async { Err::<(), ()>(()) };
    let written = write(2);
    let succeeding = async {
        written.await;
        Ok(())
    };
    let joined = executor.spawn(try_join(succeeding, failing));
    let _other = spawn(&executor, &log, 3..4);
    settle(&executor);
    assert_eq!(*log.borrow(), [1, 2, 3, 3, 1, 2]);
    assert!(selected.is_finished() && joined.is_finished());
}

/// However often a write has been held before: each time it is asked once more.
#[test]
fn the_last_of_many_writes_wins_over_what_comes_after_it() {
    let (executor, log) = (executor(), Log::default());
    let stop = Rc::new(Cell::new(false));
    let (own, told) = (Rc::clone(&log), Rc::clone(&stop));
    let requests = async move {
        for number in 0..3 {
            own.borrow_mut().push(number);
            told.set(number == 2);
            write_turn().await;
            own.borrow_mut().push(number);
            yield_now().await;
        }
        std::future::pending::<()>().await;
    };
    let stopped = std::future::poll_fn(move |_| if stop.get() { Poll::Ready(()) } else { Poll::Pending });
    let task = executor.spawn(select(requests, stopped));
    let beside = executor.spawn(async {
        for _ in 0..100 {
            yield_now().await;
        }
    });
    settle(&executor);
    assert_eq!(*log.borrow(), [0, 0, 1, 1, 2, 2]);
    assert!(task.is_finished() && beside.is_finished());
}

#[test]
fn a_time_out_of_another_part_of_the_task_ends() {
    struct Own {
        task: Waker,
        woken: AtomicUsize,
    }
    impl std::task::Wake for Own {
        fn wake(self: Arc<Self>) {
            self.woken.store(1, Ordering::Relaxed);
            self.task.wake_by_ref();
        }
    }
    let (executor, log) = (executor(), Log::default());
    let mut write = Box::pin(serve(Rc::clone(&log), 1));
    let mut written = false;
    let mut late = Box::pin(timeout(0, std::future::pending::<()>()));
    let mut own = None;
    let task = executor.spawn(std::future::poll_fn(move |context| {
        written = written || write.as_mut().poll(context).is_ready();
        let new = || Arc::new(Own { task: context.waker().clone(), woken: AtomicUsize::new(1) });
        let own: &mut Arc<Own> = own.get_or_insert_with(new);
        // It polls the part only when that has been woken.
        if own.woken.swap(0, Ordering::Relaxed) == 0 {
            return Poll::Pending;
        }
        late.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(own)))).map(drop)
    }));
    let _other = spawn(&executor, &log, 2..3);
    settle(&executor);
    assert!(task.is_finished());
}

#[test]
fn a_budget_of_one_poll_at_a_time_comes_to_the_same() {
    let (executor, log) = (executor(), Log::default());
    let _tasks = spawn(&executor, &log, 0..3);
    let mut polls = 0;
    let mut runs = 0;
    while executor.has_work() {
        polls += executor.run(1).polls;
        runs += 1;
    }
    assert_eq!(*log.borrow(), [0, 1, 2, 2, 0, 1]);
    assert_eq!((polls, runs), (5, 3), "who is held is polled twice for one");
}

#[test]
fn others_of_less_priority_do_not_get_between() {
    let (executor, log) = (executor(), Log::default());
    let low = Rc::clone(&log);
    let low = executor.spawn_with(Options::new().priority(Priority::Low), async move {
        low.borrow_mut().push(9);
    });
    let _tasks = spawn(&executor, &log, 0..2);
    settle(&executor);
    assert_eq!(*log.borrow(), [0, 1, 1, 0, 9]);
    assert!(low.is_finished());
}

#[test]
fn only_normal_priority_is_held() {
    for priority in [Priority::High, Priority::Low] {
        let (executor, log) = (executor(), Log::default());
        let options = || Options::new().priority(priority);
        let _tasks: Vec<_> =
            (0..2).map(|number| executor.spawn_with(options(), serve(Rc::clone(&log), number))).collect();
        settle(&executor);
        assert_eq!(*log.borrow(), [0, 0, 1, 1]);
    }
}

#[test]
fn a_wake_meanwhile_is_no_second_poll() {
    let (executor, log) = (executor(), Log::default());
    let tasks = spawn(&executor, &log, 0..2);
    let _third = {
        let control = tasks[0].control();
        let log = Rc::clone(&log);
        executor.spawn(async move {
            control.interrupt();
            control.interrupt();
            log.borrow_mut().push(7);
        })
    };
    settle(&executor);
    assert_eq!(*log.borrow(), [0, 1, 7, 0, 1]);
    assert_eq!(executor.counts().polls, 5);
}

#[test]
fn who_is_cancelled_meanwhile_ends_and_the_rest_go_on() {
    let (executor, log) = (executor(), Log::default());
    let tasks = spawn(&executor, &log, 0..2);
    let control = tasks[0].control();
    let _third = executor.spawn(async move { control.cancel() });
    settle(&executor);
    assert_eq!(*log.borrow(), [0, 1, 1]);
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn an_executor_that_ends_drops_those_who_are_held() {
    let dropped = Rc::new(Cell::new(0));
    let executor = executor();
    for _ in 0..3 {
        let counted = Counted(Rc::clone(&dropped));
        executor
            .spawn(async move {
                let _counted = counted;
                write_turn().await;
            })
            .detach();
    }
    // The first has been polled twice, the second once, and the third not at all or once.
    executor.run(1);
    assert_eq!(dropped.get(), 1);
    drop(executor);
    assert_eq!(dropped.get(), 3);
}

#[test]
fn part_of_a_task_that_has_a_waker_of_its_own_is_not_held() {
    struct Another(Waker);
    impl std::task::Wake for Another {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    let (executor, log) = (executor(), Log::default());
    let tasks: Vec<_> = (0..2)
        .map(|number| {
            let mut part = Box::pin(serve(Rc::clone(&log), number));
            executor.spawn(std::future::poll_fn(move |context| {
                let waker = Waker::from(Arc::new(Another(context.waker().clone())));
                part.as_mut().poll(&mut Context::from_waker(&waker))
            }))
        })
        .collect();
    settle(&executor);
    assert_eq!(*log.borrow(), [0, 0, 1, 1], "whoever polls parts polls those that were woken");
    assert!(tasks.iter().all(JoinHandle::is_finished));
}
