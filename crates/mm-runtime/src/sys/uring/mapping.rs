//! Memory of its own, in pages that exist when they are first used.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Zeroed memory that starts at a page.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// `len` bytes.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The address of a byte.
    pub(super) fn at(&self, place: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(place)
    }

    /// `len` bytes from `start` on.
    ///
    /// # Safety
    /// They are within the mapping, and neither the kernel nor anybody else writes them meanwhile.
    pub(super) unsafe fn slice(&self, start: usize, len: usize) -> &[u8] {
        debug_assert!(start + len <= self.len, "beyond the mapping");
        // SAFETY: the caller's promise; the memory is mapped as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.at(start), len) }
    }

    /// `len` bytes from `start` on.
    ///
    /// # Safety
    /// They are within the mapping, and neither the kernel nor anybody else uses them meanwhile.
    pub(super) unsafe fn slice_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        debug_assert!(start + len <= self.len, "beyond the mapping");
        // SAFETY: the caller's promise; the memory is mapped as long as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.at(start), len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is our own mapping, and slices of it borrow `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
