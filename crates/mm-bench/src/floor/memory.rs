//! Memory straight from the kernel, and the prefetch instruction.

#![expect(unsafe_code, reason = "mapping memory and prefetching are raw by nature")]

use std::ffi::c_void;

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// Maps zeroed, page-aligned memory that is never given back: it lives as long as the process, so that nothing
/// the kernel still writes to can be freed under it.
///
/// # Errors
/// The kernel has not that much memory.
pub(super) fn map(bytes: usize) -> Result<*mut c_void, String> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
    unsafe { mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }
        .map_err(|error| format!("cannot map {bytes} bytes: {error}"))
}

/// Asks the kernel for huge pages behind the whole pages of `memory`; best before they are first written to.
pub(crate) fn advise_huge_pages<T>(memory: &[T]) {
    const PAGE: usize = 4_096;
    let bytes = size_of_val(memory);
    let start = memory.as_ptr().cast::<u8>();
    let skipped = start.align_offset(PAGE).min(bytes);
    let whole = (bytes - skipped) / PAGE * PAGE;
    // SAFETY: the range lies within `memory`; the advice changes no contents and no access rights.
    let advised =
        unsafe { mm::madvise(start.wrapping_add(skipped).cast_mut().cast(), whole, Advice::LinuxHugepage) };
    // A kernel without huge pages serves the same memory in small ones.
    advised.unwrap_or(());
}

/// Asks the processor to bring the first cache line of `target` near. Nothing happens where it has no such instruction.
#[inline(always)]
pub(crate) fn prefetch<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching reads nothing and cannot fault; the address is that of a live reference besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _: &T = target;
}
