//! A range of virtual memory that becomes resident when it is first touched.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32};

#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Size of a huge page on every platform that we ask for one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// An anonymous, zeroed, lazily backed mapping.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    len: usize,
    mapped_base: NonNull<u8>,
    mapped_len: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Region {}
// SAFETY: through `&Region` memory is reached only by atomics or by the contracts of `bytes` and `bytes_mut`.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `len` bytes of address space, aligned to a huge page; nothing becomes resident yet.
    ///
    /// # Errors
    /// The system's error where the address space cannot be had.
    pub(super) fn reserve(len: usize, huge_pages: bool) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mapped_len = len.checked_add(HUGE_PAGE_BYTES).ok_or_else(too_large)?;
        // SAFETY: a new anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), mapped_len, ProtFlags::READ | ProtFlags::WRITE, LAZY)?
        };
        let mapped_base = NonNull::new(start.cast::<u8>()).ok_or_else(too_large)?;
        let skip = mapped_base.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `skip` is below HUGE_PAGE_BYTES, by which the mapping is longer than `len`.
        let base = unsafe { mapped_base.add(skip) };
        let region = Self { base, len, mapped_base, mapped_len };
        if huge_pages {
            // SAFETY: the range is this mapping's.
            unsafe { ask_for_huge_pages(base, len) };
        }
        Ok(region)
    }

    /// Length in bytes.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Gives the pages wholly inside `offset..offset + len` back to the system; they read as zero afterwards, or as
    /// before where the system refuses (locked memory).
    ///
    /// # Safety
    /// No slice of these bytes is alive, save of atomics that may become zero at any time.
    pub(super) unsafe fn discard(&self, offset: usize, len: usize) {
        assert!(offset <= self.len && len <= self.len - offset, "discard outside the region");
        let page = rustix::param::page_size();
        let start = offset.next_multiple_of(page);
        let end = (offset + len) / page * page;
        if start < end {
            // SAFETY: the range lies in this mapping and on page bounds, and zero, as which its pages read afterwards,
            // is a valid value of everything kept here.
            unsafe { give_back(self.base.add(start), end - start) };
        }
    }

    /// The word of four bytes at `offset`.
    ///
    /// # Panics
    /// Where `offset` is not a multiple of four or outside the region.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "word outside the region");
        // SAFETY: in bounds and aligned by the assertion (the base is aligned to a page), zeroed by the system, and
        // bytes of a word are reached by atomics only (the callers' record layout).
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast::<u32>().as_ptr()) }
    }

    /// The half word of two bytes at `offset`.
    ///
    /// # Panics
    /// Where `offset` is odd or outside the region.
    #[inline]
    pub(super) fn half(&self, offset: usize) -> &AtomicU16 {
        assert!(offset.is_multiple_of(2) && offset + 2 <= self.len, "half word outside the region");
        // SAFETY: as for `word`.
        unsafe { AtomicU16::from_ptr(self.base.add(offset).cast::<u16>().as_ptr()) }
    }

    /// `len` bytes at `offset`.
    ///
    /// # Safety
    /// Until the slice's last use nobody writes these bytes, and they are not part of a word or half word that
    /// is reached by atomics.
    #[inline]
    pub(super) unsafe fn bytes<'a>(&self, offset: usize, len: usize) -> &'a [u8] {
        assert!(offset <= self.len && len <= self.len - offset, "slice outside the region");
        // SAFETY: in bounds by the assertion; initialised by the system; not written meanwhile by the contract.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).as_ptr(), len) }
    }

    /// `len` bytes at `offset`, for writing.
    ///
    /// # Safety
    /// Until the slice's last use nobody else reads or writes these bytes.
    #[inline]
    pub(super) unsafe fn bytes_mut<'a>(&self, offset: usize, len: usize) -> &'a mut [u8] {
        assert!(offset <= self.len && len <= self.len - offset, "slice outside the region");
        // SAFETY: in bounds by the assertion; initialised by the system; exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).as_ptr(), len) }
    }

    /// Address of `offset`, for a prefetch only.
    #[inline]
    pub(super) fn address(&self, offset: usize) -> *const u8 {
        self.base.as_ptr().wrapping_add(offset)
    }

    /// The region as a slice of `T`.
    ///
    /// # Safety
    /// `T` is valid when zeroed, and changes only through atomics.
    pub(super) unsafe fn slice_of<T>(&self) -> &[T] {
        let count = self.len / size_of::<T>();
        // SAFETY: the base is aligned to a huge page, the length is within the mapping, zeroed memory is a valid T
        // by the contract.
        unsafe { std::slice::from_raw_parts(self.base.cast::<T>().as_ptr(), count) }
    }
}

/// A private mapping for which no memory is set aside.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LAZY: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
/// A private mapping. Other systems set no memory aside anyway.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const LAZY: MapFlags = MapFlags::PRIVATE;

/// Has a mapping backed by huge pages. A system that has none refuses, and then ordinary pages serve.
///
/// # Safety
/// The range is part of a mapping of the caller's.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn ask_for_huge_pages(base: NonNull<u8>, len: usize) {
    // SAFETY: by the contract; the advice changes how the range is backed, never what it holds.
    let _refused = unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxHugepage) };
}

/// Does nothing: other systems give huge pages without being asked, or not at all.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn ask_for_huge_pages(_base: NonNull<u8>, _len: usize) {}

/// Gives pages back to the system. They read as zero then, or as before where the system refuses.
///
/// # Safety
/// The range is part of a private anonymous mapping of the caller's, lies on page bounds, nothing borrows it, and it
/// may read as zero.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn give_back(base: NonNull<u8>, len: usize) {
    // SAFETY: by the contract.
    let _refused = unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxDontNeed) };
}

/// Gives pages back to the system. They read as zero then.
///
/// # Safety
/// The range is part of a private anonymous mapping of the caller's, lies on page bounds, nothing borrows it, and it
/// may read as zero.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn give_back(base: NonNull<u8>, len: usize) {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, LAZY | MapFlags::FIXED);
    // SAFETY: by the contract, nothing else is mapped in the range and nothing in it is needed.
    if unsafe { mmap_anonymous(base.as_ptr().cast(), len, access, flags) }.is_err() {
        // The old mapping may be gone and there is no new one: nobody may touch the range again.
        std::process::abort();
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `reserve` and nothing borrows it any more.
        let _refused = unsafe { munmap(self.mapped_base.as_ptr().cast(), self.mapped_len) };
    }
}
