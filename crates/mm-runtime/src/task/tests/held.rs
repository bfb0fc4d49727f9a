//! Tasks that are held back before they write.

use super::*;
use crate::limits::WRITERS_HELD_MAX;
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
    assert_eq!(*log.borrow(), [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn who_is_alone_writes_at_once() {
    let (executor, log) = (executor(), Log::default());
    let _tasks = spawn(&executor, &log, 0..1);
    assert_eq!(executor.run(1).polls, 1);
    assert_eq!(*log.borrow(), [0, 0]);
}

#[test]
fn no_more_are_held_than_make_a_batch() {
    let (executor, log) = (executor(), Log::default());
    let batch = WRITERS_HELD_MAX;
    let _tasks = spawn(&executor, &log, 0..2 * batch);
    settle(&executor);
    // The last of a batch is not held, and the others follow it.
    let written = |from: u32| std::iter::once(from + batch - 1).chain(from..from + batch - 1);
    let first = (0..batch).chain(written(0));
    let second = batch..2 * batch;
    assert_eq!(log.borrow()[..3 * batch as usize], first.chain(second).collect::<Vec<_>>());
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn a_budget_of_one_poll_at_a_time_comes_to_the_same() {
    let (executor, log) = (executor(), Log::default());
    let _tasks = spawn(&executor, &log, 0..3);
    let mut polls = 0;
    while executor.has_work() {
        polls += executor.run(1).polls;
    }
    assert_eq!(*log.borrow(), [0, 1, 2, 0, 1, 2]);
    assert!(polls <= 6, "{polls} polls");
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
    assert_eq!(*log.borrow(), [0, 1, 0, 1, 9]);
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
    assert_eq!(executor.run(2).polls, 2);
    assert_eq!(dropped.get(), 0);
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
