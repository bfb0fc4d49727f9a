//! A bounded mailbox: many shards send, one receives.
//!
//! A ring of slots, each with a stamp that says whose turn it is (Vyukov's bounded queue). A sender claims one slot,
//! or a run of them for a batch, with one compare-and-swap, writes, and hands the slots over by their stamps; the
//! receiver takes messages with plain loads and stores. A full mailbox refuses: nobody waits in here, so two shards
//! whose mailboxes are full cannot block each other. Sending does not wake by itself: ring once after a batch.

#![expect(unsafe_code, reason = "slots are written and read without locks, by the turn their stamps give")]

use crate::doorbell::Doorbell;
use crate::primitive::{AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};
use std::collections::VecDeque;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The smallest and the largest number of messages a mailbox may be made for.
pub const CAPACITY_MIN: usize = 2;
/// See [`CAPACITY_MIN`].
pub const CAPACITY_MAX: usize = 1 << 20;

/// Why a message was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// The mailbox is full: keep the message, let the shard's turn go on, try again in the next.
    Full(T),
    /// The receiver is gone for good.
    Closed(T),
}

impl<T> SendError<T> {
    /// The message that was refused.
    pub fn into_message(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the mailbox is full",
            Self::Closed(_) => "the mailbox's receiver is gone",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}

struct Slot<T> {
    /// Equal to a position: free for the message of that position. One more: holds it.
    stamp: AtomicUsize,
    message: UnsafeCell<MaybeUninit<T>>,
}

/// Keeps the senders' counter off the lines that others write.
#[repr(align(128))]
struct Padded<T>(T);

struct Ring<T> {
    /// The next position to claim.
    tail: Padded<AtomicUsize>,
    closed: AtomicBool,
    doorbell: Arc<Doorbell>,
    slots: Box<[Slot<T>]>,
}

// SAFETY: a message is moved in by one thread and out by another, never looked at by two: `T: Send` is enough. The
// slot's stamp orders the write before the read and the read before the next write.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above; dropping the ring elsewhere drops messages there.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Ring<T> {
    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// Claims up to `wanted` positions in a row; the first and their number, which is 0 when the ring is full.
    fn claim(&self, wanted: usize) -> (usize, usize) {
        let mut count = wanted.min(self.slots.len());
        let mut first = self.tail.0.load(Ordering::Relaxed);
        while count > 0 {
            let last = first.wrapping_add(count - 1);
            // Acquire: the receiver has read this slot, and since it frees them in order, those before it too.
            let stamp = self.slot(last).stamp.load(Ordering::Acquire);
            if stamp != last {
                let tail = self.tail.0.load(Ordering::Relaxed);
                if tail == first {
                    count /= 2;
                }
                first = tail;
                continue;
            }
            let next = first.wrapping_add(count);
            match self.tail.0.compare_exchange_weak(first, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(tail) => first = tail,
            }
        }
        (first, count)
    }

    fn fill(&self, position: usize, message: T) {
        let slot = self.slot(position);
        slot.message.with_mut(|place| {
            // SAFETY: `claim` gave this position to this sender alone and saw the slot free.
            unsafe { (*place).write(message) };
        });
        // Release: whoever sees the stamp sees the message.
        slot.stamp.store(position.wrapping_add(1), Ordering::Release);
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let mask = self.slots.len() - 1;
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.stamp.load(Ordering::Relaxed) & mask == (index + 1) & mask {
                slot.message.with_mut(|place| {
                    // SAFETY: the stamp says that the slot holds a message, and nobody else has the ring.
                    unsafe { (*place).assume_init_drop() };
                });
            }
        }
    }
}

/// The sending side; clone it for every shard that sends.
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { ring: Arc::clone(&self.ring) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.ring.slots.len()).finish_non_exhaustive()
    }
}

/// The receiving side, of one shard.
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
    /// The next position to read.
    head: usize,
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("capacity", &self.ring.slots.len()).finish_non_exhaustive()
    }
}

/// Makes a mailbox for at least `capacity` messages (rounded up to a power of two between [`CAPACITY_MIN`] and
/// [`CAPACITY_MAX`]) whose owner sleeps by `doorbell`.
#[must_use]
pub fn mailbox<T: Send>(capacity: usize, doorbell: Arc<Doorbell>) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.clamp(CAPACITY_MIN, CAPACITY_MAX).next_power_of_two();
    let slot = |position| Slot {
        stamp: AtomicUsize::new(position),
        message: UnsafeCell::new(MaybeUninit::uninit()),
    };
    let ring = Arc::new(Ring {
        tail: Padded(AtomicUsize::new(0)),
        closed: AtomicBool::new(false),
        doorbell,
        slots: (0..capacity).map(slot).collect(),
    });
    (Sender { ring: Arc::clone(&ring) }, Receiver { ring, head: 0 })
}

impl<T: Send> Sender<T> {
    /// Puts one message in without waking the receiver: call [`ring`](Self::ring) when the batch is complete.
    ///
    /// # Errors
    /// The message comes back when the mailbox is full or closed.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError::Closed(message));
        }
        let (position, count) = self.ring.claim(1);
        if count == 0 {
            return Err(SendError::Full(message));
        }
        self.ring.fill(position, message);
        Ok(())
    }

    /// Moves messages from the front of `batch` until it is empty or the mailbox is full, and says how many.
    pub fn send_batch(&self, batch: &mut VecDeque<T>) -> usize {
        let mut sent = 0;
        while !batch.is_empty() && !self.is_closed() {
            let (first, count) = self.ring.claim(batch.len());
            if count == 0 {
                break;
            }
            for (offset, message) in batch.drain(..count).enumerate() {
                self.ring.fill(first.wrapping_add(offset), message);
            }
            sent += count;
        }
        sent
    }

    /// Wakes the receiving shard if it sleeps; says whether it did. A sender that then finds the mailbox still
    /// [open](Self::is_closed) knows that what it has sent will be read or dropped: whatever its owner waits for on the
    /// strength of it comes to an end.
    pub fn ring(&self) -> bool {
        self.ring.doorbell.ring()
    }

    /// Whether the receiver is gone: what is sent then is never read, and dropped with the last sender at the latest.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest message. Messages of one sender come in the order it sent them.
    pub fn receive(&mut self) -> Option<T> {
        if !self.has_message() {
            return None;
        }
        let slot = self.ring.slot(self.head);
        let message = slot.message.with_mut(|place| {
            // SAFETY: the stamp says that the slot holds the message of this position, and its acquire load in
            // `has_message` made the write visible. It is taken once: `head` moves on below.
            unsafe { (*place).assume_init_read() }
        });
        // Release: the reading above comes before the slot's next use.
        slot.stamp.store(self.head.wrapping_add(self.ring.slots.len()), Ordering::Release);
        self.head = self.head.wrapping_add(1);
        Some(message)
    }

    /// Whether a message waits; what a shard asks in [`Doorbell::try_sleep`].
    #[must_use]
    pub fn has_message(&self) -> bool {
        self.ring.slot(self.head).stamp.load(Ordering::Acquire) == self.head.wrapping_add(1)
    }
}

impl<T> Receiver<T> {
    /// Takes what can still be read, out of a mailbox that has been closed.
    fn take_rest(&mut self) -> Vec<T> {
        let mut rest = Vec::new();
        for offset in 0..self.ring.slots.len() {
            let position = self.head.wrapping_add(offset);
            let slot = self.ring.slot(position);
            // A sender may still be filling the slot before this one, so no slot becomes free again: whoever claims a
            // run of them takes those before the last as free, too.
            if slot.stamp.load(Ordering::Acquire) == position.wrapping_add(1) {
                rest.push(slot.message.with_mut(|place| {
                    // SAFETY: the stamp says that the slot holds the message of this position, and its acquire load
                    // made the write visible. It is taken once: the stamp is set back below.
                    unsafe { (*place).assume_init_read() }
                }));
                // Empty, and of a position that has been claimed: nobody claims it again.
                slot.stamp.store(position, Ordering::Release);
            }
        }
        rest
    }
}

impl<T> Drop for Receiver<T> {
    /// Drops the messages that nobody will read, so that whoever waits for what they hold is told.
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
        // With the fence of a sender's ring: either its message is found here, or it finds the mailbox closed.
        fence(Ordering::SeqCst);
        // Dropped together: one that panics does not keep the others.
        drop(self.take_rest());
    }
}
