//! Waiting until all are there.

use std::cell::Cell;

use super::wait::WaitQueue;
use crate::task::Interrupted;

/// A meeting of a number of tasks; when all have come, all go on, and the next meeting begins.
#[derive(Debug)]
pub struct Barrier {
    queue: WaitQueue,
    size: usize,
    present: Cell<usize>,
    meeting: Cell<u64>,
}

/// Takes a task that gave up out of the meeting.
struct Present<'a> {
    barrier: &'a Barrier,
    meeting: u64,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        if self.barrier.meeting.get() == self.meeting {
            self.barrier.present.set(self.barrier.present.get() - 1);
        }
    }
}

impl Barrier {
    /// A barrier for `size` tasks.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { queue: WaitQueue::default(), size, present: Cell::new(0), meeting: Cell::new(0) }
    }

    /// Waits for the others; true for the one that came last.
    ///
    /// # Errors
    /// The task was interrupted; it does not count any more.
    pub async fn wait(&self) -> Result<bool, Interrupted> {
        self.present.set(self.present.get() + 1);
        if self.present.get() >= self.size {
            self.present.set(0);
            self.meeting.set(self.meeting.get() + 1);
            self.queue.wake_all();
            return Ok(true);
        }
        let _present = Present { barrier: self, meeting: self.meeting.get() };
        self.queue.wait(|| {}).await?;
        Ok(false)
    }
}
