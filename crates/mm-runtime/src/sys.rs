//! The system calls of the runtime, behind types that own what they return.
//!
//! Everything but `io_uring`, a thread's priority, its descriptors and Apple's groups goes through rustix, whose
//! interface is safe except for what takes descriptors by number.

pub mod affinity;
pub mod clock;
pub mod descriptors;
#[cfg(target_vendor = "apple")]
pub mod groups;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub mod kqueue;
pub mod priority;
pub mod socket;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) mod uring;
