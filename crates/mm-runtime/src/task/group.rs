//! Tasks that are ended together.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::{Rc, Weak};

use super::{Interrupted, JoinHandle, Options, raw, spawn_with};
use crate::sync::Condition;

/// Tasks, and groups of tasks, that can be interrupted, cancelled and waited for together. Cancelling is final: what is
/// spawned into the group afterwards is cancelled at once. Dropping the group's last handle cancels nothing: its tasks
/// stay in it, and those of a child group are reached through its parents.
#[derive(Clone, Default)]
pub struct Group {
    members: Rc<Members>,
}

#[derive(Default)]
struct Members {
    tasks: RefCell<Vec<Option<raw::Task>>>,
    free: RefCell<Vec<usize>>,
    /// The group that this one is a child of, which lasts as long: it reaches this one's children.
    parent: Option<Rc<Self>>,
    groups: RefCell<Vec<Weak<Self>>>,
    cancelled: Cell<bool>,
    /// The group is empty.
    emptied: Condition,
}

impl Drop for Members {
    /// One generation after the other: a long line of them would be as many calls in each other.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            next = Rc::into_inner(parent).and_then(|mut parent| parent.parent.take());
        }
    }
}

/// A task's place in its group, which lasts as long as it has a task. The two hold each other until the task ends, and
/// leaves.
pub(crate) struct Member {
    members: Rc<Members>,
    place: usize,
}

impl Member {
    pub(crate) fn leave(self) {
        let Self { members, place } = self;
        let task = members.tasks.borrow_mut()[place].take();
        drop(task);
        members.free.borrow_mut().push(place);
        if members.len() == 0 {
            members.emptied.broadcast();
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
        let cancelled = Cell::new(self.members.cancelled.get());
        let parent = Some(Rc::clone(&self.members));
        let mut members = Members::default();
        (members.parent, members.cancelled) = (parent, cancelled);
        let child = Self { members: Rc::new(members) };
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
        let member = Member { members: Rc::clone(&self.members), place };
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
        while !self.is_empty() {
            self.members.emptied.wait().await?;
        }
        Ok(())
    }
}
