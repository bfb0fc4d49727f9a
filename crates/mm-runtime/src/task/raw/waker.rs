//! Wakers: pointers to a task that any thread may hold.

use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::{HELD, Header, release, with_current, with_task};

/// # Safety
/// The caller has a reference to the task.
#[inline]
pub(super) unsafe fn wake_by_ref(header: NonNull<Header>) {
    // SAFETY: the caller's reference.
    let task = unsafe { header.as_ref() };
    with_current(|local| match local {
        Some(local) if task.is_of(local) => local.push(header),
        // SAFETY: the caller's reference.
        _ => unsafe { wake_from_elsewhere(header) },
    });
}

/// # Safety
/// The caller has a reference to the task.
#[cold]
#[inline(never)]
unsafe fn wake_from_elsewhere(header: NonNull<Header>) {
    // SAFETY: the caller's reference; it is this task's remote.
    unsafe { header.as_ref().remote.wake(header) };
}

/// Queues the task of a waker, if it is one of the executor that this thread is in; then nothing else happens, and
/// nothing of anybody's is run. False: it is another waker, and has not been used.
#[inline]
pub(crate) fn wake_here(waker: &Waker) -> bool {
    if !std::ptr::eq(waker.vtable(), &raw const WAKER) {
        return false;
    }
    let header = from_data(waker.data());
    // SAFETY: it is a task's waker, which has a reference.
    let task = unsafe { header.as_ref() };
    with_current(|local| {
        let local = local.filter(|local| task.is_of(local));
        local.into_iter().for_each(|local| local.push(header));
        local.is_some()
    })
}

/// Holds the task that is being polled back, if `waker` is its: see [`RunQueues::hold`](super::RunQueues::hold).
#[inline]
pub(crate) fn hold_here(waker: &Waker) -> bool {
    if !std::ptr::eq(waker.vtable(), &raw const WAKER) {
        return false;
    }
    let header = from_data(waker.data());
    with_current(|local| {
        local.is_some_and(|local| local.polled.get() == Some(header) && local.queues.hold(header))
    })
}

/// Whether the task that is being polled, whose waker this is, is held back before a write: it is polled again without
/// being woken.
pub(crate) fn is_held(waker: &Waker) -> bool {
    with_task(|task| task.is_some_and(|task| task.has(HELD) && waker.data().addr() == task.id()))
}

static WAKER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let header = from_data(data);
        // SAFETY: the waker being cloned has a reference.
        unsafe { header.as_ref() }.add_reference();
        RawWaker::new(data, &WAKER)
    },
    |data| {
        // SAFETY: the waker's reference is used once more and then given up.
        unsafe { wake_by_ref(from_data(data)) };
        // SAFETY: as above.
        unsafe { release(from_data(data)) };
    },
    // SAFETY: the waker has a reference.
    |data| unsafe { wake_by_ref(from_data(data)) },
    // SAFETY: the waker's reference is given up.
    |data| unsafe { release(from_data(data)) },
);

fn from_data(data: *const ()) -> NonNull<Header> {
    // SAFETY: wakers are made of non-null pointers, below.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

/// A waker without a reference of its own: it must not be dropped, nor outlive one.
pub(super) fn borrowed_waker(header: NonNull<Header>) -> Waker {
    // SAFETY: the vtable keeps the contract of `RawWaker`: its functions may be called from any thread, for they touch
    // only what belongs to all threads unless they find themselves on the owner's.
    unsafe { Waker::from_raw(RawWaker::new(header.as_ptr().cast_const().cast(), &WAKER)) }
}
