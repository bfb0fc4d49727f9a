//! How a thread is scheduled beside others.

use std::io;

/// The niceness of a thread that gives way: one that wants a whole processor beside a shard that does gets a tenth of
/// it. It may hold a lock of the process's memory, for which a shard would have to wait: so it is not the last of all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// How long such a thread may keep a shard waiting that wakes on its processor, in nanoseconds; the least there is.
/// Before Linux 6.12 it is as with other threads.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

#[cfg(target_os = "linux")]
const ATTRIBUTES_BYTES: u32 = 48;

/// What the system is told of a thread, as `sched_setattr` takes it: its first form, of 48 bytes.
#[cfg(target_os = "linux")]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Has the calling thread give way to the shards where it wants the same processor as one of them.
///
/// # Errors
/// The system refuses, or has no call for it (anything but Linux).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call that rustix does not have")]
pub fn give_way() -> io::Result<()> {
    use libc::{SCHED_OTHER, SYS_sched_setattr, syscall};
    // One that is less urgent already stays so.
    let nice = rustix::process::getpriority_process(None)?.max(NICE);
    let attributes = Attributes {
        size: ATTRIBUTES_BYTES,
        policy: SCHED_OTHER.cast_unsigned(),
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: SLICE_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the call reads as many bytes as they say they have, and changes nothing but how this thread is scheduled.
    match unsafe { syscall(SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// See the Linux form.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn give_way() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads have no priorities of their own on this system"))
}

#[cfg(target_os = "linux")]
const _: () =
    assert!(size_of::<Attributes>() == ATTRIBUTES_BYTES as usize, "the kernel knows it by its size");

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_is_less_urgent_and_no_other_is() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The name, which stands in brackets, may have spaces.
            let (_, behind) = stat.rsplit_once(')').unwrap();
            behind.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let given = std::thread::spawn(move || {
            give_way().unwrap();
            nice()
        });
        assert_eq!((given.join().unwrap(), nice()), (NICE.max(before), before));
    }
}
