//! The shard's pool of buffers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::limits::{LARGE_BYTES, LARGE_FREE_MAX, SMALL_BYTES, SMALL_FREE_MAX};

/// How large a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// [`SMALL_BYTES`](super::limits::SMALL_BYTES).
    Small,
    /// [`LARGE_BYTES`](super::limits::LARGE_BYTES).
    Large,
}

impl Size {
    /// The number of bytes in a buffer of this size.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => SMALL_BYTES,
            Self::Large => LARGE_BYTES,
        }
    }

    /// The smaller size that holds `bytes`, or the large one where neither does.
    #[must_use]
    pub const fn fitting(bytes: usize) -> Self {
        if bytes <= SMALL_BYTES { Self::Small } else { Self::Large }
    }

    /// How many unused buffers of this size a pool keeps.
    const fn free_max(self) -> usize {
        match self {
            Self::Small => SMALL_FREE_MAX,
            Self::Large => LARGE_FREE_MAX,
        }
    }
}

/// A shard's buffers. Belongs to one thread; clones are handles to the same pool.
///
/// The limit bounds what connections hold. [`take`](Pool::take) always succeeds, because a response that has
/// been computed must go somewhere; what keeps the limit is that the server asks [`has_room`](Pool::has_room)
/// before it receives more or runs more, so the pool is exceeded by at most the output of the connections of
/// one turn.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    used_bytes: Cell<usize>,
    limit_bytes: usize,
}

impl Pool {
    /// An empty pool whose users together shall hold at most about `limit_bytes`. Nothing is allocated yet.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let shared = Shared {
            small: RefCell::new(Vec::new()),
            large: RefCell::new(Vec::new()),
            used_bytes: Cell::new(0),
            limit_bytes,
        };
        Self { shared: Rc::new(shared) }
    }

    /// A buffer, from those given back where there is one. Its content is whatever its last user left.
    #[must_use]
    #[inline]
    pub fn take(&self, size: Size) -> Buffer {
        let free = self.shared.free(size).borrow_mut().pop();
        let chunk = free.unwrap_or_else(|| allocate(size));
        self.shared.used_bytes.set(self.shared.used_bytes.get() + chunk.len());
        Buffer { chunk, pool: Rc::clone(&self.shared) }
    }

    /// Whether the buffers in use are below the limit, so that more may be received.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        self.shared.used_bytes.get() < self.shared.limit_bytes
    }

    /// Bytes in buffers that somebody holds.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.get()
    }

    /// Bytes in buffers that wait for a user. At most what the two `FREE_MAX` limits allow.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        let small = self.shared.small.borrow().len() * SMALL_BYTES;
        small + self.shared.large.borrow().len() * LARGE_BYTES
    }

    /// The limit given at the start.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.shared.limit_bytes
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("used_bytes", &self.used_bytes())
            .field("free_bytes", &self.free_bytes())
            .field("limit_bytes", &self.limit_bytes())
            .finish()
    }
}

#[cold]
fn allocate(size: Size) -> Box<[u8]> {
    vec![0; size.bytes()].into_boxed_slice()
}

impl Shared {
    fn free(&self, size: Size) -> &RefCell<Vec<Box<[u8]>>> {
        match size {
            Size::Small => &self.small,
            Size::Large => &self.large,
        }
    }
}

/// A piece of memory of one of the two sizes, which goes back to its pool when dropped.
pub struct Buffer {
    chunk: Box<[u8]>,
    pool: Rc<Shared>,
}

impl Buffer {
    /// Which of the two sizes this buffer has.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::fitting(self.chunk.len())
    }

    /// Its holder keeps it for whoever needs one next: meanwhile it counts as unused. For those who bound how many they
    /// keep, and [take it up](Buffer::take_up) before they use or drop it.
    #[inline]
    pub fn lay_aside(&self) {
        self.pool.used_bytes.set(self.pool.used_bytes.get() - self.chunk.len());
    }

    /// It has been [laid aside](Buffer::lay_aside), and is used again or going to be dropped.
    #[inline]
    pub fn take_up(&self) {
        self.pool.used_bytes.set(self.pool.used_bytes.get() + self.chunk.len());
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.chunk
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        let size = self.size();
        let chunk = std::mem::take(&mut self.chunk);
        if crate::canary!("leaked buffer", 500) {
            return;
        }
        self.pool.used_bytes.set(self.pool.used_bytes.get() - chunk.len());
        let mut free = self.pool.free(size).borrow_mut();
        if free.len() < size.free_max() {
            free.push(chunk);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("bytes", &self.chunk.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_taken_again() {
        let pool = Pool::new(1 << 20);
        let mut first = pool.take(Size::Small);
        first[0] = 77;
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (SMALL_BYTES, 0));
        drop(first);
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (0, SMALL_BYTES));
        assert_eq!(pool.take(Size::Small)[0], 77);
    }

    #[test]
    fn the_limit_is_told_and_not_enforced() {
        let pool = Pool::new(LARGE_BYTES + 1);
        let _first = pool.take(Size::Large);
        assert!(pool.has_room());
        let _second = pool.take(Size::Large);
        assert!(!pool.has_room());
        let third = pool.take(Size::Large);
        assert_eq!(third.len(), LARGE_BYTES);
    }

    #[test]
    fn a_burst_goes_back_to_the_allocator() {
        let pool = Pool::new(0);
        let burst: Vec<Buffer> = (0..LARGE_FREE_MAX + 10).map(|_| pool.take(Size::Large)).collect();
        drop(burst);
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (0, LARGE_FREE_MAX * LARGE_BYTES));
    }
}
