//! The buffers that the kernel receives into: a ring from which it takes one for every receive.
//!
//! The ring works first in, first out, so all of what has been put into it is touched in turn. So that few connections
//! use little memory, which then is in the caches, only a part of the buffers is put into it, and more of them when
//! that was too few. Buffers do not start at the same place of their pages, since addresses a page apart compete for
//! the same few places in the caches.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::mapping::Mapping;
use super::step;
use crate::limits::{RECEIVE_BYTES_MAX, RING_WINDOW};

/// From the start of one buffer to that of the next: a cache line more than it holds.
const STRIDE: usize = RECEIVE_BYTES_MAX + 64;

/// Whose a buffer is, if it is not held: its state is the number of bytes in it then.
const FREE: u32 = u32::MAX;
const KERNELS: u32 = u32::MAX - 1;

/// Buffers, each of [`RECEIVE_BYTES_MAX`] bytes.
#[derive(Debug)]
pub(super) struct Buffers {
    ring: Mapping,
    bytes: Mapping,
    states: Box<[u32]>,
    free: Vec<u16>,
    /// How many have been given to the kernel in all, modulo 65,536.
    tail: u16,
    /// How many the kernel has.
    published: u16,
    /// How many the kernel shall have.
    window: u16,
}

impl Buffers {
    /// Makes `count` buffers, a power of two, and the ring of them.
    pub(super) fn new(queues: &IoUring, count: u16) -> io::Result<Self> {
        let ring = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let bytes = Mapping::new(usize::from(count) * STRIDE)?;
        // SAFETY: the mapping starts at a page, has room for so many entries, and outlives the ring: `Ring` drops its
        // queues first.
        unsafe { queues.submitter().register_buf_ring_with_flags(ring.at(0) as u64, count, 0, 0) }
            .map_err(|error| step("io_uring_register (ring of buffers)", &error))?;
        Ok(Self {
            ring,
            bytes,
            states: vec![FREE; usize::from(count)].into_boxed_slice(),
            free: (0..count).rev().collect(),
            tail: 0,
            published: 0,
            window: count.min(RING_WINDOW),
        })
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.states.len()).unwrap_or(u16::MAX)
    }

    /// Whether the kernel has one or will have one after [`publish`](Self::publish).
    pub(super) fn has_some(&self) -> bool {
        self.published > 0 || !self.free.is_empty()
    }

    /// Has the kernel get more from now on, and says whether it will have any.
    pub(super) fn widen(&mut self) -> bool {
        self.window = self.count().min(self.window.saturating_mul(2));
        self.has_some()
    }

    /// Gives the kernel as many as it shall have.
    #[inline]
    pub(super) fn publish(&mut self) {
        let before = self.tail;
        while self.published < self.window {
            let Some(buffer) = self.free.pop() else { break };
            self.put(buffer);
        }
        if self.tail == before {
            return;
        }
        let entries = self.entry(0);
        // SAFETY: the tail lies in the first entry, within the mapping; the kernel only reads it.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: it is aligned to two bytes and written by this thread only.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Where an entry of the ring lies.
    fn entry(&self, place: u16) -> *mut BufRingEntry {
        let start = self.ring.at(usize::from(place) * size_of::<BufRingEntry>());
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the mapping starts at a page, and entries follow one another"
        )]
        start.cast::<BufRingEntry>()
    }

    fn put(&mut self, buffer: u16) {
        let mask = self.count() - 1;
        let start = self.bytes.at(usize::from(buffer) * STRIDE);
        let entry = self.entry(self.tail & mask);
        // SAFETY: the entry lies within the mapping. It is not the kernel's now: there are as many entries as buffers,
        // and this buffer is in none.
        let entry = unsafe { &mut *entry };
        entry.set_addr(start as u64);
        entry.set_len(u32::try_from(RECEIVE_BYTES_MAX).unwrap_or(0));
        entry.set_bid(buffer);
        self.states[usize::from(buffer)] = KERNELS;
        self.tail = self.tail.wrapping_add(1);
        self.published += 1;
    }

    /// The kernel has put `len` bytes into a buffer. `false`: that buffer was not the kernel's.
    #[inline]
    pub(super) fn hold(&mut self, buffer: u16, len: u32) -> bool {
        match self.states.get_mut(usize::from(buffer)) {
            Some(state) if *state == KERNELS => {
                *state = len.min(u32::try_from(RECEIVE_BYTES_MAX).unwrap_or(0));
                self.published -= 1;
                true
            }
            _ => false,
        }
    }

    /// What is in a buffer that is held; nothing of another.
    #[inline]
    pub(super) fn bytes(&self, buffer: u16) -> &[u8] {
        match self.states.get(usize::from(buffer)) {
            // SAFETY: the buffer is held, so the kernel, which has written so many bytes to it, does not touch it until
            // `put`, for which the buffers must not be borrowed.
            Some(&len) if len < KERNELS => unsafe {
                self.bytes.slice(usize::from(buffer) * STRIDE, len as usize)
            },
            _ => &[],
        }
    }

    /// A buffer is held no more.
    #[inline]
    pub(super) fn release(&mut self, buffer: u16) {
        let Some(state) = self.states.get_mut(usize::from(buffer)) else { return };
        debug_assert!(*state < KERNELS, "given back twice");
        if *state < KERNELS {
            *state = FREE;
            self.free.push(buffer);
        }
    }
}
