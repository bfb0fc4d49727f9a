//! Tasks: sequential code that a shard runs beside much other.
//!
//! [`spawn`] starts one, its [`JoinHandle`] waits for the result, interrupts or cancels it. A task runs until it awaits
//! something that is not ready: everything between two awaits is uninterrupted, so data shared by the tasks of a shard
//! need no locks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mm_base::timer_wheel::TimerId;

use crate::executor::TaskInfo;
use crate::timers::{Expiry, Timers};

pub mod group;
pub mod local;
mod name;
pub(crate) mod raw;

#[cfg(test)]
mod tests;

pub use group::Group;
pub use local::TaskLocal;
pub use name::Name;

/// In which order ready tasks run: all of a higher priority before any of a lower, except that every
/// [`LOWER_FIRST_EVERY`](crate::limits::LOWER_FIRST_EVERY)th poll goes to a lower one, so that none starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// For what others wait for.
    High,
    /// For most.
    #[default]
    Normal,
    /// For what has time.
    Low,
}

impl Priority {
    pub(crate) const COUNT: usize = 3;
}

/// How to spawn a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub(crate) name: Name,
    pub(crate) priority: Priority,
    pub(crate) deadline_ms: Option<u64>,
}

impl Options {
    /// No name, normal priority, no deadline.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name in reports and dumps.
    #[must_use]
    pub fn name(self, name: Name) -> Self {
        Self { name, ..self }
    }

    /// The priority.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The reading of [`Now::monotonic_ms`](mm_base::Now) at which the task is ended, if it has not finished.
    #[must_use]
    pub fn deadline_ms(self, deadline_ms: u64) -> Self {
        Self { deadline_ms: Some(deadline_ms), ..self }
    }
}

/// Why a task has no result.
pub enum JoinError {
    /// It was cancelled, or its executor ended.
    Cancelled,
    /// Its deadline came first.
    Late,
    /// It, or a destructor it left behind, panicked with this.
    Panicked(Box<dyn Any + Send>),
    /// It was never started: there were too many tasks, or no executor.
    Refused,
    /// Not the task but the one waiting for it was interrupted. Await `&mut handle` to be able to wait again.
    Interrupted,
}

impl JoinError {
    pub(crate) fn discard(self) {
        if let Self::Panicked(panic) = self {
            raw::discard(panic);
        }
    }

    /// The message of a panic, where it was a plain one.
    #[must_use]
    pub fn panic_message(&self) -> Option<&str> {
        let Self::Panicked(panic) = self else { return None };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Late => f.write_str("the task's deadline came first"),
            Self::Panicked(_) => {
                write!(f, "the task panicked: {}", self.panic_message().unwrap_or("(no message)"))
            }
            Self::Refused => f.write_str("the task was refused: too many tasks, or no executor"),
            Self::Interrupted => f.write_str("interrupted while waiting for the task"),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            JoinError::Late => ErrorKind::TimedOut,
            JoinError::Interrupted => ErrorKind::Interrupted,
            JoinError::Cancelled | JoinError::Panicked(_) | JoinError::Refused => ErrorKind::Other,
        };
        // What a panic carries may not cross threads with the error.
        Self::new(kind, error.to_string())
    }
}

/// A task was interrupted in a blocking call: see [`JoinHandle::interrupt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl From<Interrupted> for std::io::Error {
    fn from(interrupted: Interrupted) -> Self {
        Self::new(std::io::ErrorKind::Interrupted, interrupted)
    }
}

/// Waits for a task's result. Dropping it lets the task go on by itself.
#[must_use = "call detach() to let the task go on by itself"]
pub struct JoinHandle<T> {
    /// None for a task that was refused.
    task: Option<raw::Joinable<T>>,
    /// It was refused for want of an executor.
    #[cfg(debug_assertions)]
    is_outside: bool,
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(task: raw::Joinable<T>) -> Self {
        Self {
            task: Some(task),
            #[cfg(debug_assertions)]
            is_outside: false,
        }
    }

    pub(crate) fn refused() -> Self {
        Self {
            task: None,
            #[cfg(debug_assertions)]
            is_outside: false,
        }
    }

    fn outside() -> Self {
        Self {
            task: None,
            #[cfg(debug_assertions)]
            is_outside: true,
        }
    }

    /// Lets the task go on by itself; its result is dropped.
    ///
    /// # Panics
    /// Where checks for debugging are compiled in: the task was spawned outside of an executor, so it will never run.
    pub fn detach(self) {
        #[cfg(debug_assertions)]
        assert!(
            !self.is_outside,
            "a task that was spawned outside of an executor is detached: it will never run"
        );
    }

    /// The same handle, with which the task is cancelled when it is dropped.
    #[must_use = "dropping it cancels the task"]
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { handle: self }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task().is_none_or(raw::Task::is_done)
    }

    /// The result of a task that has ended, once; None before. For those that are no tasks and cannot wait, such as a
    /// service.
    pub fn take_result(&mut self) -> Option<Result<T, JoinError>> {
        self.result()
    }

    fn result(&self) -> Option<Result<T, JoinError>> {
        self.task.as_ref().map_or(Some(Err(JoinError::Refused)), raw::Joinable::take_result)
    }

    /// Makes the task's present blocking call, or else its next, give [`Interrupted`] once. A call that need not wait
    /// does not notice.
    pub fn interrupt(&self) {
        self.task().into_iter().for_each(raw::Task::interrupt);
    }

    /// Ends the task: its future is dropped where it waits, when it would be polled next, and the result is
    /// [`JoinError::Cancelled`].
    pub fn cancel(&self) {
        self.task().into_iter().for_each(|task| task.cancel(false));
    }

    /// Something to interrupt or cancel the task by that does not wait for it.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { task: self.task().cloned() }
    }

    pub(crate) fn task(&self) -> Option<&raw::Task> {
        self.task.as_deref()
    }
}

/// It holds the task, not what the task gives.
impl<T> Unpin for JoinHandle<T> {}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.result() {
            return Poll::Ready(result);
        }
        if take_interrupt() {
            return Poll::Ready(Err(JoinError::Interrupted));
        }
        self.task().into_iter().for_each(|task| task.set_joiner(context.waker()));
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.task().into_iter().for_each(raw::Task::set_unjoinable);
    }
}

/// Waits for a task's result as a [`JoinHandle`] does, and cancels the task when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it cancels the task"]
pub struct CancelOnDrop<T> {
    handle: JoinHandle<T>,
}

impl<T> std::ops::Deref for CancelOnDrop<T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        &self.handle
    }
}

impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context)
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        self.handle.cancel();
    }
}

/// Interrupts or cancels a task. Holds the task's memory, not its future.
#[derive(Clone)]
pub struct Control {
    task: Option<raw::Task>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// See [`JoinHandle::interrupt`].
    pub fn interrupt(&self) {
        self.task.iter().for_each(raw::Task::interrupt);
    }

    /// See [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.task.iter().for_each(|task| task.cancel(false));
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(raw::Task::is_done)
    }
}

/// What few tasks have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) own: RefCell<Own>,
    /// Who waits for the result.
    joiner: Cell<Option<Waker>>,
    /// Why there is none.
    failure: Cell<Option<JoinError>>,
}

impl Extra {
    /// Takes out what the task has until it ends, for good: destructors can put nothing there any more.
    pub(crate) fn end_own(&self) -> Own {
        self.own.replace(Own { ended: true, ..Own::default() })
    }
}

/// What a task has until it ends.
#[derive(Default)]
pub(crate) struct Own {
    locals: Vec<(usize, Rc<dyn Any>)>,
    deadline: Option<TimerId>,
    member: Option<group::Member>,
    /// The task is ending, so that nobody would drop what is put here before its memory goes.
    ended: bool,
}

impl Own {
    pub(crate) fn end(self, timers: &Timers) {
        if let Some(timer) = self.deadline {
            timers.disarm(timer);
        }
        if let Some(member) = self.member {
            member.leave();
        }
        drop(self.locals);
    }
}

pub(crate) fn set_deadline(task: &raw::Task, timers: &Timers, deadline_ms: u64) {
    let timer = timers.arm(deadline_ms, Expiry::EndTask(task.clone()));
    task.extra().own.borrow_mut().deadline = timer;
}

/// Starts a task on the present executor. Outside of one nothing is started: joining such a task gives
/// [`JoinError::Refused`], and [detaching](JoinHandle::detach) it is a mistake.
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    spawn_with(Options::new(), future)
}

/// Starts a task with a name, a priority or a deadline on the present executor. Outside of one see [`spawn`].
pub fn spawn_with<F: Future + 'static>(options: Options, future: F) -> JoinHandle<F::Output> {
    raw::with_current(|local| match local {
        Some(local) => local.spawn(options, future),
        None => JoinHandle::outside(),
    })
}

/// Whether the present executor would take another task.
#[must_use]
pub fn has_room() -> bool {
    raw::with_current(|local| local.is_some_and(crate::executor::Local::has_room))
}

/// Shows every unfinished task of the present executor to `see`, the newest first: for dumps.
pub fn for_each(see: impl FnMut(TaskInfo)) {
    raw::with_current(|local| {
        if let Some(local) = local {
            local.for_each_task(see);
        }
    });
}

/// Lets the other ready tasks of this priority run first.
pub async fn yield_now() {
    let yielded = Cell::new(false);
    std::future::poll_fn(|context| {
        if yielded.replace(true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Something to interrupt or cancel the present task by; None outside tasks.
#[must_use]
pub fn current() -> Option<Control> {
    raw::with_task(|task| task.map(|task| Control { task: Some(task.clone()) }))
}

/// The present task's name; the nameless one outside tasks.
#[must_use]
pub fn current_name() -> Name {
    raw::with_task(|task| task.map_or_else(Name::default, raw::Task::name))
}

/// Changes the present task's priority, from the next time it is woken.
pub fn set_priority(priority: Priority) {
    raw::with_task(|task| task.into_iter().for_each(|task| task.set_priority(priority)));
}

/// Whether the present task has been interrupted; takes the interrupt. What a blocking call asks before it waits.
pub fn take_interrupt() -> bool {
    raw::with_task(|task| task.is_some_and(raw::Task::take_interrupt))
}
