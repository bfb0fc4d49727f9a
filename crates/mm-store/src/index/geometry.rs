//! Where a hash stands: by the old number of buckets, or by the new one beyond the boundary of a growth or shrink.

use crate::hash::KeyHash;
use crate::narrow::scale;
use crate::primitive::{AtomicU32, AtomicUsize, Ordering, fence, pause, yield_now};
use crate::sharing::Sharing;

/// How many buckets there are and will be, and how far the change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) len: usize,
    /// As many as `len` where nothing changes.
    pub(super) next_len: usize,
    /// Growing: buckets from here on are moved. Shrinking: buckets before this are moved.
    pub(super) boundary: usize,
}

impl Geometry {
    pub(super) const fn is_moving(self) -> bool {
        self.next_len != self.len
    }

    pub(super) const fn is_growing(self) -> bool {
        self.next_len > self.len
    }

    pub(super) const fn is_shrinking(self) -> bool {
        self.next_len < self.len
    }

    /// How many buckets items may stand in: while growing, what lies before the boundary counts as it is, the rest as
    /// many times as there will be.
    pub(super) fn in_use(self) -> usize {
        if !self.is_growing() {
            return self.len;
        }
        let more = (self.next_len - self.len) as u64 * (self.len - self.boundary) as u64 / self.len as u64;
        // No more than there will be.
        self.len + usize::try_from(more).unwrap_or(0)
    }

    /// The bucket to be moved next, and the geometry when it is.
    pub(super) fn next(self) -> Option<(usize, Self)> {
        if !self.is_moving() {
            return None;
        }
        // Scaling is monotonic, so going down from the end (growth) or up from the start (shrink) never meets a bucket
        // that has still to be moved.
        let (position, boundary) = if self.is_growing() {
            (self.boundary - 1, self.boundary - 1)
        } else {
            (self.boundary, self.boundary + 1)
        };
        Some((position, Self { boundary, ..self }))
    }

    /// Whether all buckets are moved.
    pub(super) const fn is_done(self) -> bool {
        self.is_moving() && self.boundary == if self.is_growing() { 0 } else { self.len }
    }

    /// Where one of a key's two parts of the hash leads.
    #[inline]
    pub(super) fn position(self, scaled_from: u64) -> usize {
        let position = scale(scaled_from, self.len);
        if !self.is_moving() {
            return position;
        }
        let is_moved = if self.is_growing() { position >= self.boundary } else { position < self.boundary };
        if is_moved { scale(scaled_from, self.next_len) } else { position }
    }

    /// The two positions of a key.
    #[inline]
    pub(super) fn positions(self, hash: KeyHash) -> [usize; 2] {
        [self.position(hash.first()), self.position(hash.second())]
    }
}

/// The geometry that is in force. Written by one shard at a time.
#[derive(Debug)]
pub(super) struct Layout {
    /// Odd while numbers of buckets change.
    version: AtomicU32,
    len: AtomicUsize,
    next_len: AtomicUsize,
    boundary: AtomicUsize,
}

impl Layout {
    pub(super) fn new(len: usize) -> Self {
        Self {
            version: AtomicU32::new(0),
            len: AtomicUsize::new(len),
            next_len: AtomicUsize::new(len),
            boundary: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn load<S: Sharing>(&self) -> Geometry {
        let mut looks = 0;
        loop {
            let version = if S::IS_SHARED { self.version.load(Ordering::Acquire) } else { 0 };
            let geometry = Geometry {
                len: self.len.load(Ordering::Relaxed),
                next_len: self.next_len.load(Ordering::Relaxed),
                boundary: self.boundary.load(Ordering::Acquire),
            };
            if !S::IS_SHARED {
                return geometry;
            }
            fence(Ordering::Acquire);
            if version % 2 == 0 && self.version.load(Ordering::Relaxed) == version {
                return geometry;
            }
            wait(&mut looks);
        }
    }

    /// Puts the items of one bucket more under the new number of buckets. They stand there already.
    pub(super) fn set_boundary(&self, boundary: usize) {
        self.boundary.store(boundary, Ordering::Release);
    }

    /// Changes the numbers of buckets.
    pub(super) fn set<S: Sharing>(&self, geometry: Geometry) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        if S::IS_SHARED {
            fence(Ordering::Release);
        }
        self.len.store(geometry.len, Ordering::Relaxed);
        self.next_len.store(geometry.next_len, Ordering::Relaxed);
        self.boundary.store(geometry.boundary, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

/// How often in a row the numbers are looked at before the processor is given to another thread.
const LOOKS: u32 = 64;

/// Waits a moment for whoever changes the numbers.
#[cold]
fn wait(looks: &mut u32) {
    *looks = looks.saturating_add(1);
    // It may be waiting for this processor.
    if *looks > LOOKS { yield_now() } else { pause() }
}
