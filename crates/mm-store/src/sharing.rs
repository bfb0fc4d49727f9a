//! How many shards a store serves: one, or several.
//!
//! The store is written once. What differs is decided here: `Local` counts with a load and a store, and locks nothing;
//! `Shared` uses atomic read-modify-writes and locks.

use std::cell::{RefCell, RefMut};
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};

use crate::primitive::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};

/// How a store is shared. Code that works on a store is written once, for either kind.
pub trait Sharing: Copy + Debug + Default + 'static {
    /// Whether more than one shard may work on the store.
    const IS_SHARED: bool;

    /// What one shard at a time may change.
    #[doc(hidden)]
    type Exclusive<T: Debug>: Exclusive<T> + Debug;
}

/// A store for one shard: no atomic read-modify-write and no fence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Sharing for Local {
    const IS_SHARED: bool = false;
    type Exclusive<T: Debug> = RefCell<T>;
}

/// A store for several shards: readers take no lock, writers exclude each other by bucket.
#[cfg(feature = "smp")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Shared;

#[cfg(feature = "smp")]
impl Sharing for Shared {
    const IS_SHARED: bool = true;
    type Exclusive<T: Debug> = Mutex<T>;
}

/// A value that one shard at a time may reach.
#[doc(hidden)]
#[expect(unnameable_types, reason = "nobody else is to implement it")]
pub trait Exclusive<T> {
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a;

    fn new(value: T) -> Self;
    fn lock(&self) -> Self::Guard<'_>;
    /// `None` while another shard has it.
    fn try_lock(&self) -> Option<Self::Guard<'_>>;
}

impl<T> Exclusive<T> for RefCell<T> {
    type Guard<'a>
        = RefMut<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn lock(&self) -> RefMut<'_, T> {
        self.borrow_mut()
    }

    fn try_lock(&self) -> Option<RefMut<'_, T>> {
        self.try_borrow_mut().ok()
    }
}

impl<T> Exclusive<T> for Mutex<T> {
    type Guard<'a>
        = MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    // Nothing is half done: a panic in a change has ended the process.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// In cache lines that hold nothing else (two of them, because processors fetch lines in pairs): for what some shards
/// write while others read what would stand beside it.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> Deref for Apart<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Adds to a cell that any shard may change. What was written before is seen by whoever reads the sum.
#[inline]
pub(crate) fn add<S: Sharing>(cell: &AtomicU32, by: u32) {
    if S::IS_SHARED {
        cell.fetch_add(by, Ordering::Release);
    } else {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

/// Adds likewise, and returns what was there before. Whoever does so later has seen what was written before.
#[inline(always)]
pub(crate) fn take_some<S: Sharing>(cell: &AtomicU32, by: u32) -> u32 {
    if S::IS_SHARED {
        return cell.fetch_add(by, Ordering::AcqRel);
    }
    let before = cell.load(Ordering::Relaxed);
    cell.store(before.wrapping_add(by), Ordering::Relaxed);
    before
}

/// Subtracts likewise.
#[inline]
pub(crate) fn subtract<S: Sharing>(cell: &AtomicU32, by: u32) {
    if S::IS_SHARED {
        cell.fetch_sub(by, Ordering::Release);
    } else {
        cell.store(cell.load(Ordering::Relaxed).wrapping_sub(by), Ordering::Relaxed);
    }
}

/// Lowers a cell to `value` if that is less.
#[inline]
pub(crate) fn lower<S: Sharing>(cell: &AtomicU32, value: u32) {
    if value >= cell.load(Ordering::Relaxed) {
        return;
    }
    if S::IS_SHARED {
        cell.fetch_min(value, Ordering::Relaxed);
    } else {
        cell.store(value, Ordering::Relaxed);
    }
}

/// Takes the next number of a cell.
#[inline]
pub(crate) fn take_next<S: Sharing>(cell: &AtomicU64) -> u64 {
    if S::IS_SHARED {
        return cell.fetch_add(1, Ordering::AcqRel);
    }
    let number = cell.load(Ordering::Relaxed);
    cell.store(number + 1, Ordering::Relaxed);
    number
}
