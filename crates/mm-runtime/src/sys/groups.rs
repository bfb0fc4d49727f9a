//! Supplementary groups of the process, on Apple's systems.

use std::io;

/// Leaves all supplementary groups but this one. An empty list would be one of group 0 there, which is root's.
///
/// # Errors
/// The process is not root's.
#[expect(unsafe_code, reason = "a system call that neither rustix nor nix has there")]
pub fn keep_only(group: u32) -> io::Result<()> {
    // SAFETY: one group is read, which outlives the call.
    match unsafe { libc::setgroups(1, &raw const group) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
