//! A range of virtual memory that becomes resident when it is first touched.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::limits::HUGE_PAGE_BYTES;

/// Bytes behind a region that are mapped too, so that what begins inside it and is no longer can be reached without
/// another look at its end. They are never used, and never become resident.
pub(super) const GUARD_BYTES: usize = 128 << 10;

/// Where regions come from: memory of this process alone, or parts of a file, one behind the other.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    file: Option<&'a File>,
    /// Bytes of the file that are taken.
    taken: u64,
}

impl<'a> Ground<'a> {
    /// Anonymous memory.
    pub(crate) const fn own() -> Self {
        Self { file: None, taken: 0 }
    }

    /// The memory of a file, which this process alone may use.
    pub(crate) const fn of(file: &'a File) -> Self {
        Self { file: Some(file), taken: 0 }
    }

    /// The next region of `len` bytes.
    ///
    /// # Errors
    /// The system's error where there is no address space, or the file cannot be made as long.
    pub(super) fn region(&mut self, len: usize, huge_pages: bool) -> io::Result<Region> {
        let Some(file) = self.file else { return Region::reserve(len, huge_pages) };
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        let whole = len.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or_else(too_large)?;
        let end = self.taken.checked_add(whole as u64).ok_or_else(too_large)?;
        if file.metadata()?.len() < end {
            file.set_len(end)?;
        }
        let region = Region::map(file, self.taken, len, huge_pages)?;
        self.taken = end;
        Ok(region)
    }
}

/// A lazily backed mapping, zeroed unless it is of a file that holds something.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    len: usize,
    mapped_base: NonNull<u8>,
    mapped_len: usize,
    /// Whether it is memory of a file.
    is_shared: bool,
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
    fn reserve(len: usize, huge_pages: bool) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mapped_len = len.checked_add(HUGE_PAGE_BYTES + GUARD_BYTES).ok_or_else(too_large)?;
        // SAFETY: a new anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), mapped_len, ProtFlags::READ | ProtFlags::WRITE, LAZY)?
        };
        let mapped_base = NonNull::new(start.cast::<u8>()).ok_or_else(too_large)?;
        let skip = mapped_base.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `skip` is below HUGE_PAGE_BYTES, by which the mapping is longer than `len` and the guard.
        let base = unsafe { mapped_base.add(skip) };
        let region = Self { base, len, mapped_base, mapped_len, is_shared: false };
        if huge_pages {
            // SAFETY: the range is this mapping's.
            unsafe { ask_for_huge_pages(base, len) };
        }
        Ok(region)
    }

    /// Maps `len` bytes of a file from `offset` on, a multiple of a huge page. The file is as long.
    fn map(file: &File, offset: u64, len: usize, huge_pages: bool) -> io::Result<Self> {
        // The guard may be beyond the end of the file: nobody reads it.
        let mapped_len = len.checked_add(GUARD_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice touches no existing memory. What the file holds is
        // changed by nobody but its owner, this process.
        let start =
            unsafe { mmap(std::ptr::null_mut(), mapped_len, access, MapFlags::SHARED, file, offset)? };
        let base = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if huge_pages {
            // SAFETY: the range is this mapping's.
            unsafe { ask_for_huge_pages(base, len) };
        }
        Ok(Self { base, len, mapped_base: base, mapped_len, is_shared: true })
    }

    /// Where the region behind this one begins in a file in which this one begins at `start`.
    pub(super) fn end_in_file(&self, start: u64) -> u64 {
        start + self.len.next_multiple_of(HUGE_PAGE_BYTES) as u64
    }

    /// Writes `len` bytes at `offset` to a file in which the region begins at `start`, and gives their memory back.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Safety
    /// No slice of these bytes is alive, and nobody wants them here any more.
    pub(super) unsafe fn move_to(
        &self,
        offset: usize,
        len: usize,
        file: &File,
        start: u64,
    ) -> io::Result<()> {
        // SAFETY: by the contract nobody writes these bytes meanwhile.
        file.write_all_at(unsafe { self.bytes(offset, len) }, start + offset as u64)?;
        // SAFETY: by the contract.
        unsafe { self.discard(offset, len) };
        Ok(())
    }

    /// Makes the bytes from `offset` to the end zero, which costs no memory where the system can forget them.
    ///
    /// # Safety
    /// No slice of these bytes is alive.
    pub(super) unsafe fn clear(&self, offset: usize) {
        let page = rustix::param::page_size();
        let (first, end) = (offset.next_multiple_of(page).min(self.len), self.len.next_multiple_of(page));
        // SAFETY: by the contract nobody else uses these bytes.
        unsafe { self.bytes_mut(offset, first - offset) }.fill(0);
        // SAFETY: the range lies in this mapping, whose pages are whole, and on page bounds; by the contract nothing
        // borrows it.
        let is_clear = first == end || unsafe { forget(self.base.add(first), end - first) };
        if !is_clear {
            // SAFETY: as above.
            unsafe { self.bytes_mut(first, self.len - first) }.fill(0);
        }
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
            unsafe {
                if self.is_shared {
                    let _refused = forget(self.base.add(start), end - start);
                } else {
                    give_back(self.base.add(start), end - start);
                }
            }
        }
    }

    /// Makes the pages of `offset..offset + len` resident. What they hold stays as it is, and they may be used
    /// meanwhile.
    ///
    /// # Errors
    /// The system has no memory left, or cannot do this; the range is not inside the region.
    pub(super) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        if offset > self.len || len > self.len - offset {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let start = offset / rustix::param::page_size() * rustix::param::page_size();
        // SAFETY: the range lies in this mapping, from a page bound on.
        unsafe { populate(self.base.add(start), offset + len - start) }
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

    /// Where the byte at `offset` is. So many more bytes as the guard has are mapped behind it.
    ///
    /// # Panics
    /// Where `offset` is outside the region.
    #[inline(always)]
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "a place outside the region");
        // SAFETY: in bounds by the assertion.
        unsafe { self.base.add(offset) }
    }

    /// The offset of what [`Region::at`] has returned.
    pub(super) fn offset_of(&self, place: NonNull<u8>) -> usize {
        place.addr().get() - self.base.addr().get()
    }

    /// `len` bytes at `offset`.
    ///
    /// # Safety
    /// Until the slice's last use nobody writes these bytes, and they are not part of a word or half word that
    /// is reached by atomics.
    #[inline]
    pub(super) unsafe fn bytes<'a>(&self, offset: usize, len: usize) -> &'a [u8] {
        assert!(offset <= self.len && len <= self.len - offset, "slice outside the region");
        // SAFETY: in bounds by the assertion; initialised by the system or the file; by the contract not written
        // meanwhile.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).as_ptr(), len) }
    }

    /// `len` bytes at `offset`, for writing.
    ///
    /// # Safety
    /// Until the slice's last use nobody else reads or writes these bytes.
    #[inline]
    pub(super) unsafe fn bytes_mut<'a>(&self, offset: usize, len: usize) -> &'a mut [u8] {
        assert!(offset <= self.len && len <= self.len - offset, "slice outside the region");
        // SAFETY: in bounds by the assertion; initialised by the system or the file; exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).as_ptr(), len) }
    }

    /// Address of `offset`, for a prefetch only.
    #[inline]
    pub(super) fn address(&self, offset: usize) -> *const u8 {
        self.base.as_ptr().wrapping_add(offset)
    }

    /// The region as a slice of `count` values.
    ///
    /// # Safety
    /// `T` is valid when zeroed, and changes only through atomics; so many fit the region.
    #[inline]
    pub(super) unsafe fn slice_of<T>(&self, count: usize) -> &[T] {
        debug_assert!(count * size_of::<T>() <= self.len, "slice outside the region");
        // SAFETY: the base is aligned to a huge page, zeroed memory is a valid T and the length is within the mapping
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

/// Makes pages resident, as writing to them would.
///
/// # Errors
/// The system's.
///
/// # Safety
/// The range is part of a mapping of the caller's and begins at a page.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn populate(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: by the contract; the advice changes how the range is backed, never what it holds.
    Ok(unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxPopulateWrite) }?)
}

/// Other systems have no such advice.
///
/// # Errors
/// Always.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn populate(_base: NonNull<u8>, _len: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

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

/// Takes pages out of a file. They read as zero then. False where the system refuses, and they read as before.
///
/// # Safety
/// The range is part of a shared mapping of the caller's, lies on page bounds, nothing borrows it, and it may read as
/// zero.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn forget(base: NonNull<u8>, len: usize) -> bool {
    // SAFETY: by the contract.
    unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxRemove) }.is_ok()
}

/// Does nothing: other systems cannot take pages out of a file.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn forget(_base: NonNull<u8>, _len: usize) -> bool {
    false
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `reserve` and nothing borrows it any more.
        let _refused = unsafe { munmap(self.mapped_base.as_ptr().cast(), self.mapped_len) };
    }
}
