//! On which processors threads run.
//!
//! A thread, and a process, starts with the processors of the thread that starts it. So what a pinned thread starts,
//! and what is not to stay on that thread's processor, has to be [freed](free) from it.

#[cfg(target_os = "linux")]
pub use linux::{Pin, free, pin};
#[cfg(not(target_os = "linux"))]
pub use others::{Pin, free, pin};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::marker::PhantomData;
    use std::sync::OnceLock;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// What the process could use before a thread of it was pinned.
    static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

    /// A thread's stay on one processor, which ends when this is dropped.
    #[derive(Debug)]
    #[must_use = "dropped, it lets the thread go"]
    pub struct Pin {
        thread: PhantomData<*const ()>,
    }

    /// Keeps the calling thread on one processor: the one of this number, counted round, among those that the process
    /// could use when the first of its threads was pinned.
    ///
    /// # Errors
    /// The system refuses, or has no call for it (anything but Linux).
    pub fn pin(number: usize) -> io::Result<Pin> {
        let now = sched_getaffinity(None)?;
        let allowed = ALLOWED.get_or_init(|| now);
        let processors: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect();
        let mut one = CpuSet::new();
        one.set(processors[number % processors.len().max(1)]);
        sched_setaffinity(None, &one)?;
        Ok(Pin { thread: PhantomData })
    }

    /// Lets the calling thread run wherever the process could before a thread of it was pinned. Where none was, nothing
    /// changes, as where the system refuses.
    pub fn free() {
        if let Some(allowed) = ALLOWED.get() {
            sched_setaffinity(None, allowed).ok();
        }
    }

    impl Drop for Pin {
        fn drop(&mut self) {
            free();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::io;

    /// A thread's stay on one processor. There is none.
    #[derive(Debug)]
    pub enum Pin {}

    /// See the Linux form.
    ///
    /// # Errors
    /// Always.
    pub fn pin(_number: usize) -> io::Result<Pin> {
        let reason = "threads cannot be pinned to processors on this system";
        Err(io::Error::new(io::ErrorKind::Unsupported, reason))
    }

    /// No thread was pinned.
    pub fn free() {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::num::NonZeroUsize;
    use std::thread::{self, available_parallelism, spawn};

    use super::*;

    fn processors() -> usize {
        available_parallelism().map_or(0, NonZeroUsize::get)
    }

    #[test]
    fn a_pinned_thread_has_one_processor_and_shards_are_told_so() {
        let all = processors();
        let counts = spawn(move || {
            let pin = pin(1).unwrap();
            let pinned = processors();
            let inherited = thread::scope(|scope| scope.spawn(processors).join().unwrap());
            let freed = thread::scope(|scope| {
                let freed = || {
                    free();
                    processors()
                };
                scope.spawn(freed).join().unwrap()
            });
            drop(pin);
            (pinned, inherited, freed, processors())
        });
        assert_eq!(counts.join().unwrap(), (1, 1, all, all));
    }
}
