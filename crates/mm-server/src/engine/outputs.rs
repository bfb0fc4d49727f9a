//! Output queues for those connections that have something to send.

use mm_base::buffer::{Output, Pool};

use crate::limits::{OUTPUTS_KEPT_MAX, SEND_BYTES_AMONG_OTHERS_MAX};

/// Empty outputs, kept with the memory of their queues and of a buffer, so that answering allocates nothing.
pub(super) struct Outputs {
    #[expect(clippy::vec_box, reason = "an idle connection has room for a pointer only")]
    kept: Vec<Box<Output>>,
    pool: Pool,
    cap: usize,
    /// Bytes of a long output that are sent in this turn.
    pub(super) share_bytes: usize,
}

impl Outputs {
    pub(super) fn new(pool: &Pool, cap: usize) -> Self {
        let (kept, pool) = (Vec::with_capacity(OUTPUTS_KEPT_MAX), pool.clone());
        Self { kept, pool, cap, share_bytes: SEND_BYTES_AMONG_OTHERS_MAX }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Box<Output> {
        match self.kept.pop() {
            Some(mut output) => {
                output.take_up();
                output
            }
            None => Box::new(Output::new(&self.pool, self.cap)),
        }
    }

    #[inline]
    pub(super) fn put(&mut self, mut output: Box<Output>) {
        if self.kept.len() < OUTPUTS_KEPT_MAX {
            output.lay_aside();
            self.kept.push(output);
        }
    }
}
