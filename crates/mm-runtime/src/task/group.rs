//! Tasks that are ended together.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use super::{Interrupted, JoinHandle, Options, raw, spawn_with, take_interrupt};

/// Tasks, and groups of tasks, that can be interrupted, cancelled and waited for together. Cancelling is final: what is
/// spawned into the group afterwards is cancelled at once. Dropping the group's last handle cancels nothing.
#[derive(Clone, Default)]
pub struct Group {
    members: Rc<Members>,
}

#[derive(Default)]
struct Members {
    tasks: RefCell<Vec<Option<raw::Task>>>,
    free: RefCell<Vec<usize>>,
    groups: RefCell<Vec<Weak<Self>>>,
    cancelled: Cell<bool>,
    /// Who wait for the group to be empty.
    waiting: RefCell<Vec<Waker>>,
}

/// A task's place in its group.
pub(crate) struct Member {
    members: Weak<Members>,
    place: usize,
}

impl Member {
    pub(crate) fn leave(self) {
        let Some(members) = self.members.upgrade() else { return };
        let task = members.tasks.borrow_mut()[self.place].take();
        drop(task);
        members.free.borrow_mut().push(self.place);
        if members.len() == 0 {
            members.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Members {
    fn len(&self) -> usize {
        self.tasks.borrow().len() - self.free.borrow().len()
    }

    fn each(&self, act: &dyn Fn(&raw::Task)) {
        self.tasks.borrow().iter().flatten().for_each(act);
        for group in self.groups.borrow().iter().filter_map(Weak::upgrade) {
            group.each(act);
        }
    }

    fn cancel(&self) {
        self.cancelled.set(true);
        self.tasks.borrow().iter().flatten().for_each(|task| task.cancel(false));
        for group in self.groups.borrow().iter().filter_map(Weak::upgrade) {
            group.cancel();
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("tasks", &self.len()).finish_non_exhaustive()
    }
}

impl Group {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that is cancelled and interrupted with this one, and can be by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        child.members.cancelled.set(self.members.cancelled.get());
        let mut groups = self.members.groups.borrow_mut();
        groups.retain(|group| group.strong_count() > 0);
        groups.push(Rc::downgrade(&child.members));
        child
    }

    /// How many unfinished tasks the group itself has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the group itself has no unfinished task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a task of this group on the present executor.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.spawn_with(Options::new(), future)
    }

    /// Starts a task of this group with a name, a priority or a deadline.
    pub fn spawn_with<F: Future + 'static>(&self, options: Options, future: F) -> JoinHandle<F::Output> {
        let handle = spawn_with(options, future);
        if let Some(task) = handle.task() {
            self.add(task);
        }
        handle
    }

    fn add(&self, task: &raw::Task) {
        let mut tasks = self.members.tasks.borrow_mut();
        let place = self.members.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        tasks[place] = Some(task.clone());
        let member = Member { members: Rc::downgrade(&self.members), place };
        task.extra().own.borrow_mut().member = Some(member);
        if self.members.cancelled.get() {
            task.cancel(false);
        }
    }

    /// Ends all tasks of the group and of its child groups, now and in future.
    pub fn cancel(&self) {
        self.members.cancel();
    }

    /// Interrupts all tasks of the group and of its child groups: see [`JoinHandle::interrupt`].
    pub fn interrupt(&self) {
        self.members.each(&raw::Task::interrupt);
    }

    /// Waits until the group itself has no unfinished task.
    ///
    /// # Errors
    /// The waiting task was interrupted.
    pub async fn wait(&self) -> Result<(), Interrupted> {
        std::future::poll_fn(|context| {
            if self.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if take_interrupt() {
                return Poll::Ready(Err(Interrupted));
            }
            let mut waiting = self.members.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
