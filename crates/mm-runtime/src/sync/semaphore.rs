//! Permits, of which there is a number.

use std::cell::Cell;
use std::rc::Rc;

use super::wait::WaitQueue;
use crate::net::share;
use crate::task::Interrupted;

/// Hands out permits, first-in first-out: a released permit goes to the task that waits longest.
#[derive(Debug)]
pub struct Semaphore {
    queue: WaitQueue,
    permits: Cell<usize>,
}

impl Semaphore {
    /// A semaphore with this many permits.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self { queue: WaitQueue::default(), permits: Cell::new(permits) }
    }

    /// How many permits are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.get()
    }

    /// Takes a permit without waiting.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.permits.set(self.permits.get().checked_sub(1)?);
        Some(Permit { semaphore: self })
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// The task was interrupted.
    pub async fn acquire(&self) -> Result<Permit<'_>, Interrupted> {
        share::turn().await;
        if let Some(permit) = self.try_acquire() {
            share::spend();
            return Ok(permit);
        }
        self.queue.wait(|| self.release()).await?;
        Ok(Permit { semaphore: self })
    }

    /// Waits for a permit that a task can take along: see [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// The task was interrupted.
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedPermit, Interrupted> {
        self.acquire().await?.forget();
        Ok(OwnedPermit { semaphore: self })
    }

    /// Adds a permit.
    pub fn release(&self) {
        // A permit goes straight to whoever waits: nobody can take it on the way.
        if !self.queue.wake_one() {
            self.permits.set(self.permits.get() + 1);
        }
    }
}

/// A permit, released when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped is released"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Permit<'_> {
    /// Takes the permit away for good.
    pub fn forget(self) {
        let _kept = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.release();
    }
}

/// A permit that holds its semaphore, released when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped is released"]
pub struct OwnedPermit {
    semaphore: Rc<Semaphore>,
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.semaphore.release();
    }
}
