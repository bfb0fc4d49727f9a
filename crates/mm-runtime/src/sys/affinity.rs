//! On which processors a thread runs.

use std::io;

/// Keeps the calling thread on one processor: the one of this number, counted round, among those it may use.
///
/// # Errors
/// The system refuses, or has no call for it (anything but Linux).
#[cfg(target_os = "linux")]
pub fn pin(number: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let processors: Vec<usize> =
        (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect();
    let mut one = CpuSet::new();
    one.set(processors[number % processors.len().max(1)]);
    sched_setaffinity(None, &one)?;
    Ok(())
}

/// See the Linux form.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn pin(_number: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads cannot be pinned to processors on this system"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_processor_and_shards_are_told_so() {
        let pinned = std::thread::spawn(|| {
            pin(1).unwrap();
            std::thread::available_parallelism().unwrap().get()
        });
        assert_eq!(pinned.join().unwrap(), 1);
    }
}
