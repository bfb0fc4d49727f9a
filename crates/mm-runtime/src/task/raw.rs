//! A task in memory: one allocation with a header, the future and later its output, and the waker that points to it.
//!
//! Who may touch what:
//! - `refs`, `link`, `remote` and `vtable` belong to all threads that have a waker. Everything else is touched
//!   by the owner's thread alone: [`Task`] and [`Local`] never leave it, and a waker looks whose `remote` it is first.
//! - The future and the output are dropped on the owner's thread, at the latest when the task has finished and nobody
//!   can join it. What the task has of its own is taken out when it ends, and nothing can be put there from then on.
//!   What the last waker frees, perhaps elsewhere, is memory with nothing in it that is bound to the owner's thread.
//! - The owner's list of all tasks holds one reference until the task has finished, so a task that is queued or polled
//!   is alive.

#![expect(unsafe_code, reason = "type-erased tasks and the wakers that share them between threads")]

use std::alloc::Layout;
use std::any::Any;
use std::cell::{Cell, OnceCell, UnsafeCell};
use std::future::Future;
use std::hint::cold_path;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::task::{Context, Poll, Waker};

use mm_base::wake_list::Link;

use super::{Extra, JoinError, Name, Priority};
use crate::executor::Local;

mod memory;
mod queue;
mod remote;
mod waker;

pub(crate) use memory::Memory;
pub(crate) use queue::{AllTasks, Polled, RunQueues};
pub(crate) use remote::Remote;

use memory::Kind;
use waker::{borrowed_waker, wake_by_ref};
pub(crate) use waker::{hold_here, is_held, wake_here};

/// What a thread knows of what it runs, in one cache line.
#[repr(align(16))]
struct Current {
    /// The executor this thread is in. Set only by `enter`, which borrows it for as long as it is set.
    local: Cell<Option<NonNull<Local>>>,
    /// Calls of the driver that need not wait, since a task was last polled on this thread.
    spent: Cell<u32>,
}

thread_local! {
    static CURRENT: Current = const { Current { local: Cell::new(None), spent: Cell::new(0) } };
}

/// Calls of the driver that need not wait, since a task was last polled on this thread.
#[inline]
pub(crate) fn spent() -> u32 {
    CURRENT.with(|current| current.spent.get())
}

/// Sets what [`spent`] gives.
#[inline]
pub(crate) fn set_spent(calls: u32) {
    CURRENT.with(|current| current.spent.set(calls));
}

/// Runs `body` with `local` as the thread's executor.
pub(crate) fn enter<R>(local: &Local, body: impl FnOnce() -> R) -> R {
    struct Restore(Option<NonNull<Local>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| current.local.set(self.0));
        }
    }
    let outer = CURRENT.with(|current| current.local.replace(Some(NonNull::from(local))));
    let _restore = Restore(outer);
    body()
}

/// Gives `body` the thread's executor, if it is in one.
pub(crate) fn with_current<R>(body: impl FnOnce(Option<&Local>) -> R) -> R {
    let local = CURRENT.with(|current| current.local.get());
    // SAFETY: whoever called `enter` borrows it until `CURRENT` is set back, and `body` returns before.
    body(local.map(|local| unsafe { local.as_ref() }))
}

/// Gives `body` the task that is being polled on this thread, if one is.
pub(crate) fn with_task<R>(body: impl FnOnce(Option<&Task>) -> R) -> R {
    let header = with_current(|local| local.and_then(|local| local.polled.get()));
    let task = header.map(|header| ManuallyDrop::new(Task { header, not_send: PhantomData }));
    body(task.as_deref())
}

/// In its run queue.
const QUEUED: u8 = 1;
/// The future is gone.
const DONE: u8 = 2;
/// A [`JoinHandle`](super::JoinHandle) waits for the output.
const JOINABLE: u8 = 4;
/// The next blocking call gives `Interrupted`.
const INTERRUPTED: u8 = 8;
/// To be ended instead of polled.
const CANCELLED: u8 = 16;
/// What ended it was its deadline.
const LATE: u8 = 32;
/// Held back before a write, which has not been tried.
const HELD: u8 = 64;
/// It was held back before this poll, or the last.
const RESUMED: u8 = 128;

/// What a task costs besides its future.
#[cfg(test)]
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();

/// More references than this can only have been forgotten: the process ends.
const REFS_MAX: u32 = u32::MAX / 2;

/// What all tasks have in common. Every connection of a handler has one, so what few tasks need is in `extra`.
#[repr(C)]
struct Header {
    link: Link,
    refs: AtomicU32,
    name: Name,
    state: Cell<u8>,
    priority: Cell<Priority>,
    vtable: &'static VTable,
    remote: Arc<Remote>,
    /// The next of the run queue.
    next: Cell<Option<NonNull<Self>>>,
    /// Neighbours in the list of all tasks.
    newer: Cell<Option<NonNull<Self>>>,
    older: Cell<Option<NonNull<Self>>>,
    extra: OnceCell<Box<Extra>>,
}

impl Header {
    /// Adds a reference to one that the caller has.
    fn add_reference(&self) {
        if self.refs.fetch_add(1, Ordering::Relaxed) > REFS_MAX {
            std::process::abort();
        }
    }

    /// Whether the task belongs to this executor.
    fn is_of(&self, local: &Local) -> bool {
        Arc::ptr_eq(&self.remote, &local.remote)
    }
}

/// What depends on the future's type.
struct VTable {
    /// Polls the future; when it is ready puts its output in its place and gives true.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future, or an output nobody took, and leaves nothing.
    clear: unsafe fn(NonNull<Header>),
    /// Moves the output into the `Option<T>` that the pointer points to.
    take_output: unsafe fn(NonNull<Header>, *mut ()),
    free: unsafe fn(NonNull<Header>),
}

enum Stage<F: Future> {
    Running(F),
    Finished(F::Output),
    Empty,
}

#[repr(C)]
struct Whole<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future> Whole<F> {
    const VTABLE: VTable =
        VTable { poll: Self::poll, clear: Self::clear, take_output: Self::take_output, free: Self::free };

    /// # Safety
    /// `header` is that of a `Whole<F>` which stays allocated; the caller is the owner's thread and uses the result
    /// before anything else looks at the stage.
    unsafe fn stage<'a>(header: NonNull<Header>) -> &'a mut Stage<F> {
        // SAFETY: `Whole` is `repr(C)` with the header first; see the contract for the rest.
        unsafe { &mut *header.cast::<Self>().as_ref().stage.get() }
    }

    unsafe fn poll(header: NonNull<Header>, context: &mut Context<'_>) -> bool {
        // SAFETY: the caller of `vtable.poll` promises what `stage` asks for.
        let stage = unsafe { Self::stage(header) };
        let Stage::Running(future) = stage else { return true };
        // SAFETY: the future lies in its allocation until `clear` or the assignment below drops it in place.
        match unsafe { Pin::new_unchecked(future) }.poll(context) {
            Poll::Pending => false,
            Poll::Ready(output) => {
                *stage = Stage::Finished(output);
                true
            }
        }
    }

    unsafe fn clear(header: NonNull<Header>) {
        // SAFETY: the caller of `vtable.clear` promises what `stage` asks for.
        *unsafe { Self::stage(header) } = Stage::Empty;
    }

    unsafe fn take_output(header: NonNull<Header>, place: *mut ()) {
        // SAFETY: the caller of `vtable.take_output` promises what `stage` asks for.
        let stage = unsafe { Self::stage(header) };
        if matches!(stage, Stage::Finished(_))
            && let Stage::Finished(output) = std::mem::replace(stage, Stage::Empty)
        {
            // SAFETY: the caller gives a pointer to an `Option` of the output's type.
            unsafe { *place.cast::<Option<F::Output>>() = Some(output) };
        }
    }

    const MEMORY: Kind = Kind::of(Layout::new::<Self>());

    unsafe fn free(header: NonNull<Header>) {
        let whole = header.cast::<Self>();
        // SAFETY: nobody has a reference any more, and the task was written in `Task::allocate`.
        let header = unsafe { &whole.as_ref().header };
        let is_own = with_current(|local| local.is_some_and(|local| header.is_of(local)));
        // SAFETY: as above.
        unsafe { whole.drop_in_place() };
        with_current(|local| match local {
            // SAFETY: it was taken for this kind in `Task::allocate`.
            Some(local) if is_own => unsafe { local.memory.put(Self::MEMORY, whole.cast()) },
            // SAFETY: as above.
            _ => unsafe { Self::MEMORY.free(whole.cast()) },
        });
    }
}

/// A counted reference to a task, on its owner's thread.
pub(crate) struct Task {
    header: NonNull<Header>,
    not_send: PhantomData<*const ()>,
}

impl Clone for Task {
    fn clone(&self) -> Self {
        self.header().add_reference();
        Self { header: self.header, not_send: PhantomData }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: this is the reference being given up.
        unsafe { release(self.header) };
    }
}

impl Task {
    /// Allocates a joinable task that has two references: the one returned and one for the list of all tasks.
    pub(crate) fn allocate<F: Future + 'static>(
        future: F,
        local: &Local,
        priority: Priority,
        name: Name,
    ) -> Joinable<F::Output> {
        let whole = local.memory.take(Whole::<F>::MEMORY).cast::<Whole<F>>();
        let task = Whole {
            header: Header {
                link: Link::new(),
                refs: AtomicU32::new(2),
                name,
                state: Cell::new(JOINABLE),
                priority: Cell::new(priority),
                vtable: &Whole::<F>::VTABLE,
                remote: Arc::clone(&local.remote),
                next: Cell::new(None),
                newer: Cell::new(None),
                older: Cell::new(None),
                extra: OnceCell::new(),
            },
            stage: UnsafeCell::new(Stage::Running(future)),
        };
        // SAFETY: the memory was taken for a value of this type.
        unsafe { whole.write(task) };
        let header = whole.cast();
        local.all.add(header);
        Joinable { task: Self { header, not_send: PhantomData }, output: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: this reference keeps the task allocated.
        unsafe { self.header.as_ref() }
    }

    fn has(&self, flag: u8) -> bool {
        self.header().state.get() & flag != 0
    }

    fn set(&self, flag: u8) {
        let state = &self.header().state;
        state.set(state.get() | flag);
    }

    fn unset(&self, flag: u8) {
        let state = &self.header().state;
        state.set(state.get() & !flag);
    }

    /// A number that no other living task of the process has.
    pub(crate) fn id(&self) -> usize {
        self.header.as_ptr().addr()
    }

    pub(crate) fn name(&self) -> Name {
        self.header().name
    }

    pub(crate) fn is_done(&self) -> bool {
        self.has(DONE)
    }

    pub(crate) fn set_priority(&self, priority: Priority) {
        self.header().priority.set(priority);
    }

    /// What few tasks have, made where it is not there.
    pub(crate) fn extra(&self) -> &Extra {
        self.header().extra.get_or_init(Box::default)
    }

    /// The same, where it is there.
    pub(crate) fn known_extra(&self) -> Option<&Extra> {
        self.header().extra.get().map(|extra| &**extra)
    }

    /// Queues the task, from wherever on the owner's thread.
    pub(crate) fn wake(&self) {
        // SAFETY: this reference keeps the task allocated.
        unsafe { wake_by_ref(self.header) };
    }

    pub(crate) fn interrupt(&self) {
        if !self.is_done() {
            self.set(INTERRUPTED);
            self.wake();
        }
    }

    pub(crate) fn take_interrupt(&self) -> bool {
        let interrupted = self.has(INTERRUPTED);
        if interrupted {
            cold_path();
            self.unset(INTERRUPTED);
        }
        interrupted
    }

    pub(crate) fn cancel(&self, late: bool) {
        if !self.is_done() && !self.has(CANCELLED) {
            self.set(if late { CANCELLED | LATE } else { CANCELLED });
            self.wake();
        }
    }

    /// Polls the future, or says why the task is to be ended instead. `Ok(true)`: it has finished. A panic of the
    /// future goes through, and leaves the task as the one being polled.
    #[inline]
    pub(crate) fn poll(&self, local: &Local) -> Result<bool, JoinError> {
        if self.has(CANCELLED) {
            cold_path();
            return Err(if self.has(LATE) { JoinError::Late } else { JoinError::Cancelled });
        }
        let waker = ManuallyDrop::new(borrowed_waker(self.header));
        let mut context = Context::from_waker(&waker);
        local.polled.set(Some(self.header));
        // SAFETY: this is the owner's thread, and nothing looks at the stage while the future runs: a task is polled
        // only by its executor's run, which does not nest.
        let ready = unsafe { (self.header().vtable.poll)(self.header, &mut context) };
        local.polled.set(None);
        Ok(ready)
    }

    /// Drops the future or the output; a panic in a destructor comes back.
    pub(crate) fn clear(&self) -> Result<(), Box<dyn Any + Send>> {
        let clear = self.header().vtable.clear;
        // SAFETY: this is the owner's thread, and the future is not running: only its executor and, when it has
        // finished, its join handle clear a task.
        contain(|| unsafe { clear(self.header) })
    }

    /// Marks the task as finished, takes it off the list of all tasks, and wakes who waits for it.
    pub(crate) fn finish(&self, local: &Local) {
        self.set(DONE);
        local.all.remove(self.header);
        if let Some(joiner) = self.known_extra().and_then(|extra| extra.joiner.take()) {
            joiner.wake();
        }
        // A task that was woken while it ran for the last time is in a run queue, which then gives the reference up.
        if !self.has(QUEUED) {
            // SAFETY: the list's reference. In a poll the caller's is the same one, and is not used after this.
            unsafe { release(self.header) };
        }
    }

    pub(crate) fn is_joinable(&self) -> bool {
        self.has(JOINABLE)
    }

    /// Nobody will ask for the output: drops it if it is there.
    pub(crate) fn set_unjoinable(&self) {
        self.unset(JOINABLE);
        drop(self.known_extra().and_then(|extra| extra.joiner.take()));
        if self.is_done() {
            self.clear().unwrap_or_else(discard);
            self.take_failure().into_iter().for_each(JoinError::discard);
        }
    }

    /// Notes why there is no output, for whoever joins.
    pub(crate) fn fail(&self, error: JoinError) {
        if self.is_joinable() {
            self.extra().failure.set(Some(error));
        } else {
            error.discard();
        }
    }

    fn take_failure(&self) -> Option<JoinError> {
        self.known_extra().and_then(|extra| extra.failure.take())
    }

    pub(super) fn set_joiner(&self, waker: &Waker) {
        let joiner = &self.extra().joiner;
        let known = joiner.take().filter(|known| known.will_wake(waker));
        joiner.set(Some(known.unwrap_or_else(|| waker.clone())));
    }
}

/// A task together with the type of its output, which only `Task::allocate` can say.
pub(crate) struct Joinable<T> {
    task: Task,
    output: PhantomData<T>,
}

impl<T> std::ops::Deref for Joinable<T> {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.task
    }
}

impl<T> Joinable<T> {
    /// The result of a finished task; None before, and `Cancelled` when it has been taken.
    pub(crate) fn take_result(&self) -> Option<Result<T, JoinError>> {
        if !self.task.is_done() {
            return None;
        }
        if let Some(failure) = self.task.take_failure() {
            return Some(Err(failure));
        }
        let mut output = None::<T>;
        let place = (&raw mut output).cast();
        // SAFETY: this is the owner's thread, the future is gone, and `T` is its output.
        unsafe { (self.task.header().vtable.take_output)(self.task.header, place) };
        Some(output.ok_or(JoinError::Cancelled))
    }
}

/// Runs `body` and gives what it panicked with, if it did. What it left half-done must not be used again.
pub(crate) fn contain<R>(body: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(body))
}

/// Drops what a panic carried, which may panic in its turn.
pub(super) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(another) = contain(|| drop(panic)) {
        // Leaked: its destructor cannot be trusted either.
        let _leaked = ManuallyDrop::new(another);
    }
}

/// Gives up one reference.
///
/// # Safety
/// The caller has a reference and does not use it again.
unsafe fn release(header: NonNull<Header>) {
    // SAFETY: the caller's reference keeps the header allocated until the subtraction.
    let shared = unsafe { header.as_ref() };
    let free = shared.vtable.free;
    if shared.refs.fetch_sub(1, Ordering::Release) == 1 {
        fence(Ordering::Acquire);
        // SAFETY: that was the last reference. The future and the output are gone: the list of all tasks gave up its
        // reference after the future was dropped, and the output was dropped with the join handle's or before.
        unsafe { free(header) };
    }
}
