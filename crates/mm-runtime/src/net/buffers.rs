//! The buffers of readers, which hold one only while bytes wait in it.

use std::cell::Cell;
use std::hint::cold_path;
use std::io;
use std::task::Waker;

use mm_base::buffer::{Buffer, Pool, Size};

use super::Tried;
use crate::driver::{Driver, Received, SourceId};
use crate::limits::STARVED_RETRY_MS;

/// Where the readers of a shard get their buffers, and leave them.
///
/// Most readers give back what they have got before another one needs it. So one buffer is kept here, which spares the
/// pool's lists a change for every request.
pub(super) struct Buffers {
    pub(super) pool: Pool,
    /// A large buffer, which counts as unused.
    spare: Cell<Option<Buffer>>,
}

impl Buffers {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, spare: Cell::new(None) }
    }

    /// Puts a large buffer where there is none.
    #[inline]
    fn take_to(&self, place: &mut Option<Buffer>) {
        *place = self.spare.take();
        match place {
            Some(spare) => spare.take_up(),
            None => *place = Some(take_new(&self.pool)),
        }
    }

    /// A reader has no more use for a buffer.
    #[inline]
    pub(super) fn put(&self, buffer: Buffer) {
        if buffer.size() == Size::Large {
            buffer.lay_aside();
            let former = self.spare.replace(Some(buffer));
            if former.is_some() {
                give_back(former);
            }
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        give_back(self.spare.take());
    }
}

#[cold]
#[inline(never)]
fn take_new(pool: &Pool) -> Buffer {
    pool.take(Size::Large)
}

/// Gives a buffer that was laid aside back to its pool.
#[cold]
fn give_back(spare: Option<Buffer>) {
    spare.iter().for_each(Buffer::take_up);
    drop(spare);
}

/// What is to be received into a reader's buffer, behind its first `kept` bytes.
pub(super) struct Fill<'a> {
    pub(super) buffer: &'a mut Option<Buffer>,
    /// Fewer than a large buffer has.
    pub(super) kept: usize,
    pub(super) buffers: &'a Buffers,
    /// Who is woken when there is nothing.
    pub(super) waker: &'a Waker,
}

impl Fill<'_> {
    /// Tries to receive, in a large buffer.
    #[inline]
    pub(super) fn receive(self, driver: &mut impl Driver, stream: SourceId) -> io::Result<Tried<usize>> {
        let Self { buffer, kept, buffers, .. } = self;
        match buffer {
            None if buffers.pool.has_room() => buffers.take_to(buffer),
            None => {
                cold_path();
                return Ok(Tried::Untold(STARVED_RETRY_MS));
            }
            Some(large) if large.size() == Size::Large => {}
            Some(small) => *buffer = Some(enlarged(&small[..kept], buffers)),
        }
        let space = buffer.as_deref_mut().unwrap_or_default();
        let received = driver.receive_into(stream, &mut space[kept..]);
        if let Ok(Received::Bytes(bytes)) = received {
            return Ok(Tried::Done(bytes));
        }
        cold_path();
        shrink(buffer, kept, buffers);
        Ok(if received? == Received::End { Tried::Done(0) } else { Tried::Blocked })
    }

    /// There is nothing to receive. A reader that must wait is left with no larger buffer than it needs.
    #[inline]
    pub(super) fn settle(self) {
        if self.buffer.is_some() {
            shrink(self.buffer, self.kept, self.buffers);
        }
    }
}

#[cold]
#[inline(never)]
fn shrink(buffer: &mut Option<Buffer>, kept: usize, buffers: &Buffers) {
    let Some(old) = buffer.take() else { return };
    if kept > 0 && old.size() == Size::fitting(kept) {
        *buffer = Some(old);
    } else {
        *buffer = (kept > 0).then(|| moved(&old[..kept], buffers.pool.take(Size::fitting(kept))));
        buffers.put(old);
    }
}

/// A large buffer with these bytes at its front.
#[cold]
#[inline(never)]
fn enlarged(bytes: &[u8], buffers: &Buffers) -> Buffer {
    moved(bytes, take_new(&buffers.pool))
}

/// The buffer with these bytes, which must fit, at its front.
fn moved(bytes: &[u8], mut buffer: Buffer) -> Buffer {
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(buffers: &Buffers) -> Buffer {
        let mut place = None;
        buffers.take_to(&mut place);
        place.unwrap()
    }

    #[test]
    fn one_buffer_is_kept_and_counts_as_unused() {
        let pool = Pool::new(Size::Large.bytes());
        let buffers = Buffers::new(pool.clone());
        let pair = [take(&buffers), take(&buffers)];
        assert!(!pool.has_room());
        pair.into_iter().for_each(|buffer| buffers.put(buffer));
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (0, Size::Large.bytes()));
        let kept = take(&buffers);
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (Size::Large.bytes(), Size::Large.bytes()));
        buffers.put(kept);
        buffers.put(pool.take(Size::Small));
        assert_eq!(pool.used_bytes(), 0);
        drop(buffers);
        assert_eq!((pool.used_bytes(), pool.free_bytes() / Size::Large.bytes()), (0, 2));
    }
}
