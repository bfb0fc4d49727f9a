//! Runs the tasks of one shard.
//!
//! Tasks are `!Send` futures. They run first-in first-out within a priority and are switched only where they await.
//! Waking a task of the own shard is a push to a queue without atomics; from another thread it goes through a list that
//! [`run`](Executor::run) empties first, and the shard's doorbell, which wakes the shard only when it sleeps.
//!
//! A write that follows a receive is held back until others that are ready have received, too, so that system calls of
//! one kind follow each other; [`WRITER_HELD_FOR`](crate::limits::WRITER_HELD_FOR) says how many (decision 0028).
//!
//! The loop around it:
//!
//! ```text
//! executor.enter(|| loop {
//!     events, services ...
//!     executor.timers().advance(now, TIMER_STEPS_PER_TURN);
//!     let more = executor.run(POLLS_PER_TURN).more;
//!     sleep until the driver has events or executor.timers().next_deadline_ms(), but only if !more and
//!     doorbell.try_sleep(|| !executor.has_work())
//! })
//! ```

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::hint::cold_path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mm_base::Now;
use mm_base::doorbell::Doorbell;

use crate::limits::TASKS_MAX;
use crate::net::{Net, share};
use crate::shards::Shards;
use crate::task::raw::{self, AllTasks, Memory, Polled, Remote, RunQueues, Task};
use crate::task::{Extra, JoinError, JoinHandle, Name, Options};
use crate::timers::Timers;

pub use crate::stall::Stall;

/// What [`Executor::run`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// How many tasks were polled.
    pub polls: u32,
    /// Whether tasks are ready that the budget did not reach.
    pub more: bool,
}

/// What has happened on an executor since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks spawned.
    pub spawned: u64,
    /// Spawns refused because the limit of tasks was reached.
    pub refused: u64,
    /// Tasks ended by a panic.
    pub panics: u64,
    /// Tasks ended by cancellation or by their deadline.
    pub cancelled: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Stalls reported.
    pub stalls: u64,
}

/// What becomes of a task and its executor's owner should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap<'a> {
    /// It was ended by a panic with this message, where that was a plain one.
    Panicked(Name, Option<&'a str>),
    /// It was refused, since there were too many.
    Refused(Name),
}

type MishapHook = Box<dyn FnMut(Mishap<'_>)>;

/// One shard's tasks. It stays on the thread that made it.
pub struct Executor {
    local: Rc<Local>,
}

/// What tasks, timers and handles of one executor share. What every poll of a task needs comes first: system calls
/// leave nothing of it in the nearest cache, so it is to lie in few lines.
#[repr(C, align(64))]
pub(crate) struct Local {
    pub(crate) queues: RunQueues,
    pub(crate) id: u64,
    pub(crate) all: AllTasks,
    pub(crate) stall: Stall,
    pub(crate) polled: Polled,
    pub(crate) remote: Arc<Remote>,
    pub(crate) timers: Timers,
    pub(crate) memory: Memory,
    pub(crate) net: RefCell<Option<Rc<Net>>>,
    pub(crate) shards: RefCell<Option<Shards>>,
    /// This shard's values of what is [`Sharded`](crate::shards::Sharded), by its number.
    pub(crate) sharded: RefCell<Vec<Option<Rc<dyn Any>>>>,
    tasks_max: Cell<usize>,
    counters: Counters,
    on_mishap: RefCell<Option<MishapHook>>,
}

#[derive(Default)]
struct Counters {
    spawned: Cell<u64>,
    refused: Cell<u64>,
    panics: Cell<u64>,
    cancelled: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("id", &self.local.id)
            .field("tasks", &self.task_count())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor without tasks, for a shard that sleeps by `doorbell` and begins at `now`.
    #[must_use]
    pub fn new(doorbell: Arc<Doorbell>, now: Now) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        Self {
            local: Rc::new(Local {
                id: IDS.fetch_add(1, Ordering::Relaxed),
                remote: Arc::new(Remote::new(doorbell)),
                queues: RunQueues::default(),
                all: AllTasks::default(),
                memory: Memory::default(),
                polled: Polled::default(),
                timers: Timers::new(now),
                stall: Stall::new(),
                net: RefCell::new(None),
                shards: RefCell::new(None),
                sharded: RefCell::default(),
                tasks_max: Cell::new(TASKS_MAX),
                counters: Counters::default(),
                on_mishap: RefCell::default(),
            }),
        }
    }

    /// Lowers or raises the number of unfinished tasks at which spawning is refused, at most [`TASKS_MAX`].
    pub fn set_tasks_max(&self, tasks_max: usize) {
        self.local.tasks_max.set(tasks_max.min(TASKS_MAX));
    }

    /// What is called on the shard when a task panics or is refused, whether somebody waits for it or not, in place of
    /// what was called before. It may spawn, and must not panic. Of what happens while it runs it is not told.
    pub fn set_mishap_hook(&self, hook: impl FnMut(Mishap<'_>) + 'static) {
        *self.local.on_mishap.borrow_mut() = Some(Box::new(hook));
    }

    /// Runs `body` as part of this executor: [`spawn`](crate::task::spawn), [`sleep`](crate::timers::sleep) and their
    /// like work, and wakes are cheap. The shard's whole loop runs in one such call.
    pub fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        raw::enter(&self.local, body)
    }

    /// Starts a task; it is polled in a later [`run`](Self::run).
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.local.spawn(Options::new(), future)
    }

    /// Starts a task with a name, a priority or a deadline.
    pub fn spawn_with<F: Future + 'static>(&self, options: Options, future: F) -> JoinHandle<F::Output> {
        self.local.spawn(options, future)
    }

    /// Polls ready tasks, at most `budget` of them, those that other threads have woken included. Who is held back
    /// before a write is polled twice for one. Called by one of its own tasks it does nothing.
    pub fn run(&self, budget: u32) -> Ran {
        let local = &*self.local;
        if local.polled.is_set() {
            return Ran::default();
        }
        self.enter(|| {
            local.collect_woken();
            let before = local.stall.polls();
            let polls = || u32::try_from(local.stall.polls() - before).unwrap_or(u32::MAX);
            // A panic leaves the loop; the task it came from is ended, and the loop goes on with the next.
            while let Err(panic) = raw::contain(|| local.poll_ready(budget.saturating_sub(polls()))) {
                local.polled.panicked(|task| local.end(task, Err(JoinError::Panicked(panic))));
            }
            local.stall.idle();
            Ran { polls: polls(), more: !local.queues.is_empty() }
        })
    }

    /// Whether a task is ready, woken by this thread or another: what a shard asks before it sleeps.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.local.queues.is_empty() || !self.local.remote.is_empty()
    }

    /// The timers of this executor's tasks.
    #[must_use]
    pub fn timers(&self) -> &Timers {
        &self.local.timers
    }

    /// What watches this executor for tasks that keep the shard too long.
    #[must_use]
    pub fn stall(&self) -> &Stall {
        &self.local.stall
    }

    pub(crate) fn set_net(&self, net: Rc<Net>) {
        *self.local.net.borrow_mut() = Some(net);
    }

    /// How many tasks have not finished.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.local.all.len()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counters { spawned, refused, panics, cancelled } = &self.local.counters;
        Counts {
            spawned: spawned.get(),
            refused: refused.get(),
            panics: panics.get(),
            cancelled: cancelled.get(),
            polls: self.local.stall.polls(),
            stalls: self.local.stall.reported(),
        }
    }

    /// Shows every unfinished task to `see`, the newest first: for dumps.
    pub fn for_each_task(&self, see: impl FnMut(TaskInfo)) {
        self.local.for_each_task(see);
    }
}

/// An unfinished task, as a dump shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// A number no other living task of the process has.
    pub id: usize,
    /// The name it was given.
    pub name: Name,
}

impl Drop for Executor {
    /// Ends all tasks: their futures and task-local data are dropped here.
    fn drop(&mut self) {
        let local = &*self.local;
        self.enter(|| {
            // A destructor may spawn: such a task is ended as well.
            local.tasks_max.set(0);
            while let Some(task) = local.all.newest() {
                local.end(&task, Err(JoinError::Cancelled));
            }
            // All are finished; this gives up the references of those that were queued.
            let left = local.queues.pop();
            debug_assert!(left.is_none(), "an unfinished task is on the list of all tasks");
            local.remote.close();
            // A destructor may use another of them.
            let sharded = local.sharded.take();
            drop(sharded);
        });
    }
}

impl Local {
    pub(crate) fn for_each_task(&self, mut see: impl FnMut(TaskInfo)) {
        let mut next = self.all.newest();
        while let Some(task) = next {
            see(TaskInfo { id: task.id(), name: task.name() });
            next = AllTasks::older(&task);
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.all.len() < self.tasks_max.get()
    }

    pub(crate) fn spawn<F: Future + 'static>(&self, options: Options, future: F) -> JoinHandle<F::Output> {
        if !self.has_room() {
            count(&self.counters.refused);
            self.tell(Mishap::Refused(options.name));
            return JoinHandle::refused();
        }
        count(&self.counters.spawned);
        let task = Task::allocate(future, self, options.priority, options.name);
        if let Some(deadline_ms) = options.deadline_ms {
            crate::task::set_deadline(&task, &self.timers, deadline_ms);
        }
        self.queue(&task);
        JoinHandle::new(task)
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, mishap: Mishap<'_>) {
        let Some(mut hook) = self.on_mishap.take() else { return };
        hook(mishap);
        self.on_mishap.borrow_mut().get_or_insert(hook);
    }

    fn collect_woken(&self) {
        if !self.remote.is_empty() {
            self.remote.take().for_each(|task| self.queue(&task));
        }
    }

    /// Polls ready tasks until there are none or `budget` of them have been, held ones not counted.
    fn poll_ready(&self, budget: u32) {
        let mut left = budget;
        self.queues.take_holds();
        while left > 0 {
            for _ in 0..left {
                let Some(ready) = self.queues.pop() else { return };
                self.stall.begin(ready.name());
                share::begin();
                match ready.poll(self) {
                    Ok(false) => {}
                    Ok(true) => {
                        cold_path();
                        self.end(&ready, Ok(()));
                    }
                    Err(reason) => {
                        cold_path();
                        self.end(&ready, Err(reason));
                    }
                }
            }
            // Of a held task's polls the one in which it writes counts.
            left = self.queues.take_holds();
        }
    }

    /// Ends a task whose future is ready, has panicked or is to be dropped.
    fn end(&self, task: &Task, mut outcome: Result<(), JoinError>) {
        if (outcome.is_err() || !task.is_joinable())
            && let Err(panic) = self.alone(task, || task.clear())
        {
            outcome = Err(JoinError::Panicked(panic));
        }
        if let Some(own) = task.known_extra().map(Extra::end_own)
            && let Err(panic) = self.alone(task, || raw::contain(|| own.end(&self.timers)))
        {
            outcome = Err(JoinError::Panicked(panic));
        }
        if let Err(error) = outcome {
            count(match error {
                JoinError::Panicked(_) => &self.counters.panics,
                _ => &self.counters.cancelled,
            });
            if let JoinError::Panicked(_) = &error {
                self.tell(Mishap::Panicked(task.name(), error.panic_message()));
            }
            task.fail(error);
        }
        task.finish(self);
    }
}
