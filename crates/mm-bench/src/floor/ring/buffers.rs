//! The ring of buffers from which the kernel takes one for every receive.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::Received;
use crate::floor::memory;
use crate::limits::{RING_BUFFER_BYTES, RING_BUFFERS};

/// Receive buffers. At any time each belongs either to the kernel (it is in the ring) or to the holder of its
/// [`Received`] token.
pub(super) struct ReceiveBuffers {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    tail: u16,
}

impl ReceiveBuffers {
    /// Maps the buffers and gives all of them to the kernel.
    pub(super) fn new(ring: &IoUring) -> Result<Self, String> {
        let count = usize::from(RING_BUFFERS);
        let entries = memory::map(count * size_of::<BufRingEntry>())?;
        let bytes = memory::map(count * RING_BUFFER_BYTES as usize)?;
        let mut buffers =
            Self { entries: entries.cast::<BufRingEntry>(), bytes: bytes.cast::<u8>(), tail: 0 };
        // SAFETY: the mapping is page-aligned, has room for that many entries and is never unmapped.
        unsafe { ring.submitter().register_buf_ring_with_flags(buffers.entries as u64, RING_BUFFERS, 0, 0) }
            .map_err(|error| format!("this kernel has no buffer rings for io_uring (5.19 has): {error}"))?;
        for buffer in 0..RING_BUFFERS {
            buffers.recycle(buffer);
        }
        Ok(buffers)
    }

    /// The bytes of a received token.
    pub(super) fn bytes(&self, received: &Received) -> &[u8] {
        let start = usize::from(received.buffer) * RING_BUFFER_BYTES as usize;
        // SAFETY: the kernel named a buffer of ours, wrote `length` bytes to it (never more than it holds), and
        // does not touch it again before `recycle`, which takes the token this borrow is tied to.
        unsafe { std::slice::from_raw_parts(self.bytes.add(start), received.length) }
    }

    /// Gives a buffer to the kernel.
    pub(super) fn recycle(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (RING_BUFFERS - 1));
        let start = usize::from(buffer) * RING_BUFFER_BYTES as usize;
        // SAFETY: `slot` and `start` are within the mappings; the entry at the tail is not the kernel's, since
        // there are as many entries as buffers and this buffer is ours.
        unsafe {
            let entry = &mut *self.entries.add(slot);
            entry.set_addr(self.bytes.add(start) as u64);
            entry.set_len(RING_BUFFER_BYTES);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is a field of the first entry, 2-byte aligned, which only we write and the kernel reads.
        unsafe {
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
    }
}
