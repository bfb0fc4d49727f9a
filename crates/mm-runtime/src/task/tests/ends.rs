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
        *known.borrow_mut() = Some(std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await);
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
