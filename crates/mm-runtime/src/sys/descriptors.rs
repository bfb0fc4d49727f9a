//! Which threads share the process's descriptors.

use std::io;

/// How many descriptors every process begins with: standard input, output and error.
pub const STANDARD: u32 = 3;

/// Gives the calling thread descriptors of its own, of which only those below `kept` are there: with [`STANDARD`] it
/// can write to the standard error, and use no file and no socket that the process has opened.
///
/// As long as one thread alone has a table of descriptors, Linux looks a descriptor up without counting who uses it:
/// each system call of a shard is cheaper by two atomic instructions on the file. So helpers that need no descriptors
/// leave the table to the only shard.
///
/// # Errors
/// The system refuses, or has no call for it (Linux before 5.9, or anything else): the thread shares them as before.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call that rustix does not have")]
pub fn stop_sharing(kept: u32) -> io::Result<()> {
    use libc::{CLOSE_RANGE_UNSHARE, SYS_close_range, c_uint, syscall};
    // SAFETY: what is closed are copies in a new table, which only this thread has: descriptors that others own stay
    // open. The caller's own are gone, which it has been told.
    match unsafe { syscall(SYS_close_range, kept, c_uint::MAX, CLOSE_RANGE_UNSHARE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// See the Linux form.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn stop_sharing(_kept: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads share their descriptors on this system"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::read_dir;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_thread_that_shares_no_more_has_the_standard_ones_and_takes_none_from_others() {
        let (reader, mut writer) = io::pipe().unwrap();
        let left = std::thread::spawn(|| {
            stop_sharing(STANDARD).unwrap();
            read_dir("/proc/thread-self/fd").unwrap().count()
        });
        // One more is open while the folder is read.
        assert!(left.join().unwrap() <= 4);
        writer.write_all(b"still open").unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(reader).unwrap(), "still open");
    }
}
