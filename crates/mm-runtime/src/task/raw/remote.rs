//! Waking tasks from other threads.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use mm_base::doorbell::Doorbell;
use mm_base::wake_list::WakeList;

use super::{Header, Task};

/// What other threads need of an executor. It outlives the executor as long as wakers do.
#[derive(Debug)]
pub(crate) struct Remote {
    woken: WakeList,
    doorbell: Arc<Doorbell>,
    /// The executor is gone: nobody will empty the list.
    closed: AtomicBool,
}

impl Remote {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Self {
        Self { woken: WakeList::new(), doorbell, closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.woken.is_empty()
    }

    /// Takes the tasks that other threads have woken.
    pub(crate) fn take(&self) -> impl Iterator<Item = Task> + use<> {
        // The link is the header's first field, and the push that listed it gave a reference to whoever takes it.
        self.woken.take().map(|link| Task { header: link.cast(), not_send: PhantomData })
    }

    /// From now on nothing is put on the list that is not taken off again by whoever put it there.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.take().for_each(drop);
    }

    /// Puts a task on the list and wakes the owner if it sleeps.
    ///
    /// # Safety
    /// `header` points to a task that the caller holds a reference to, and `self` is its `remote`.
    pub(super) unsafe fn wake(&self, header: NonNull<Header>) {
        // SAFETY: the caller holds a reference; these fields belong to all threads.
        let shared = unsafe { header.as_ref() };
        if !WakeList::claim(&shared.link) {
            return;
        }
        shared.add_reference();
        // SAFETY: claimed just now, and the list's reference keeps it allocated until it is taken. `link` is the first
        // field of a `repr(C)` struct, and the pointer may be used for the whole of it.
        unsafe { self.woken.push(header.cast()) };
        self.doorbell.ring();
        // `ring` has passed a sequentially consistent fence, and so does `close`: either `close` takes what was pushed
        // or the flag is seen here. The tasks' futures are gone by then, so what is dropped is memory alone.
        if self.closed.load(Ordering::Relaxed) {
            self.take().for_each(drop);
        }
    }
}
