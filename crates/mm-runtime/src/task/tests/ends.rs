//! What is left of a task, and of a group, when they have ended.

use super::*;

/// Puts a value of its own into another slot when it is dropped.
struct SetsAnother(Rc<Cell<u32>>);

static FIRST: TaskLocal<SetsAnother> = TaskLocal::new();
static SECOND: TaskLocal<Counted> = TaskLocal::new();

impl Drop for SetsAnother {
    fn drop(&mut self) {
        assert!(SECOND.set(Counted(Rc::clone(&self.0))).is_err(), "the task is ending");
    }
}

#[test]
fn a_destructor_leaves_nothing_in_a_slot_of_its_task() {
    let executor = executor();
    let drops = Rc::new(Cell::new(0));
    let waker = Rc::new(RefCell::new(None));
    let (seen, known) = (Rc::clone(&drops), Rc::clone(&waker));
    let handle = executor.spawn(async move {
        *known.borrow_mut() =
            Some(std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await);
        FIRST.set(SetsAnother(seen)).ok();
    });
    settle(&executor);
    result(&executor, handle).unwrap();
    assert_eq!(drops.get(), 1, "dropped with the task, not with its memory");
    // The last of it may go anywhere.
    let waker = waker.take();
    thread::spawn(move || drop(waker)).join().unwrap();
    assert_eq!(drops.get(), 1);
}

#[test]
fn tasks_of_a_group_without_a_handle_end_with_the_group_above() {
    let executor = executor();
    let group = Group::new();
    let dropped = Rc::new(Cell::new(0));
    executor.enter(|| {
        let child = group.child();
        let grandchild = child.child();
        for group in [child, grandchild] {
            let counted = Counted(Rc::clone(&dropped));
            let forever = async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            };
            group.spawn(forever).detach();
        }
    });
    settle(&executor);
    assert_eq!(dropped.get(), 0, "dropping a group's handle ends nothing");
    group.cancel();
    settle(&executor);
    assert_eq!(dropped.get(), 2);
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn a_long_line_of_groups_is_dropped() {
    let mut group = Group::new();
    for _ in 0..200_000 {
        group = group.child();
    }
    drop(group);
}

#[test]
fn a_wait_for_a_group_that_is_given_up_leaves_nothing() {
    struct Silent;
    impl std::task::Wake for Silent {
        fn wake(self: Arc<Self>) {}
    }
    let executor = executor();
    let group = Group::new();
    let task = executor.enter(|| group.spawn(std::future::pending::<()>()));
    let silent = Arc::new(Silent);
    let waker = Waker::from(Arc::clone(&silent));
    for _ in 0..3 {
        let mut wait = Box::pin(group.wait());
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&silent), 2, "this one's and the waker's");
    let joined = executor.spawn(async move { group.wait().await });
    settle(&executor);
    task.cancel();
    settle(&executor);
    assert!(matches!(result(&executor, joined), Ok(Ok(()))));
}

#[test]
fn panics_and_refusals_are_told_of_whoever_waits() {
    let executor = executor();
    executor.set_tasks_max(2);
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    executor.set_mishap_hook(move |mishap| {
        seen.borrow_mut().push(format!("{mishap:?}"));
        // One that does what it is told of.
        spawn(async {}).detach();
    });
    let named = |name| Options::new().name(Name::new(name));
    executor.spawn_with(named("one"), async { panic!("made on purpose") }).detach();
    let two = executor.spawn_with(named("two"), async { panic!("and again") });
    settle(&executor);
    assert!(matches!(result(&executor, two), Err(JoinError::Panicked(_))));
    let panicked = ["Panicked(one, Some(\"made on purpose\"))", "Panicked(two, Some(\"and again\"))"];
    assert_eq!(told.take(), panicked);
    executor.set_mishap_hook({
        let seen = Rc::clone(&told);
        move |mishap| seen.borrow_mut().push(format!("{mishap:?}"))
    });
    executor.set_tasks_max(0);
    executor.spawn_with(named("three"), async {}).detach();
    assert_eq!(told.take(), ["Refused(three)"]);
}

#[test]
fn a_handle_that_cancels_does_so_when_it_is_dropped_and_not_before() {
    let executor = executor();
    let handle = executor.spawn(async { 7 }).cancel_on_drop();
    let joined = executor.spawn(handle);
    settle(&executor);
    assert!(matches!(result(&executor, joined), Ok(Ok(7))));
    let dropped = Rc::new(Cell::new(0));
    let counted = Counted(Rc::clone(&dropped));
    let handle = executor.spawn(async move {
        let _counted = counted;
        std::future::pending::<()>().await;
    });
    let handle = handle.cancel_on_drop();
    settle(&executor);
    assert_eq!(dropped.get(), 0);
    drop(handle);
    settle(&executor);
    assert_eq!(dropped.get(), 1);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "it will never run")]
fn detaching_what_was_spawned_outside_of_an_executor_is_a_mistake() {
    spawn(async {}).detach();
}
