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
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// What the process could use before a thread of it was pinned; where none of that is left, what it can use since.
    static ALLOWED: Mutex<Option<CpuSet>> = Mutex::new(None);

    pub(super) fn allowed() -> MutexGuard<'static, Option<CpuSet>> {
        ALLOWED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's stay on one processor, which ends when this is dropped.
    #[derive(Debug)]
    #[must_use = "dropped, it lets the thread go"]
    pub struct Pin {
        thread: PhantomData<*const ()>,
    }

    /// Keeps the calling thread on one processor: the one of this number, counted round, among those that the process
    /// could use when the first of its threads was pinned and that it still may use, or else those that it may use
    /// now. Where a thread was pinned before and the system refuses, the calling one stays on all of them: that costs
    /// speed and nothing else.
    ///
    /// # Errors
    /// The system refuses the first one, or has no call for it (anything but Linux).
    pub fn pin(number: usize) -> io::Result<Pin> {
        let mut allowed = allowed();
        // Of what it allows the system takes what the process may use: processors may have been taken from it.
        let is_known = allowed.is_some_and(|allowed| sched_setaffinity(None, &allowed).is_ok());
        let now = sched_getaffinity(None)?;
        let processors: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|&processor| now.is_set(processor)).collect();
        let mut one = CpuSet::new();
        one.set(processors[number % processors.len().max(1)]);
        let pinned = sched_setaffinity(None, &one);
        if allowed.is_none() {
            pinned?;
        }
        if !is_known {
            *allowed = Some(now);
        }
        Ok(Pin { thread: PhantomData })
    }

    /// Lets the calling thread run wherever the process could before a thread of it was pinned. Where none was, nothing
    /// changes, as where the system refuses.
    pub fn free() {
        let allowed = *allowed();
        if let Some(allowed) = allowed {
            sched_setaffinity(None, &allowed).ok();
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
    use std::sync::{Mutex, PoisonError};
    use std::thread::{self, available_parallelism, spawn};

    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::linux::allowed;
    use super::*;

    /// What the process could use is one for all tests.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn processors() -> usize {
        available_parallelism().map_or(0, NonZeroUsize::get)
    }

    #[test]
    fn a_pinned_thread_has_one_processor_and_shards_are_told_so() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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

    #[test]
    fn processors_that_were_taken_away_are_not_pinned_to() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = CpuSet::MAX_CPU - 1;
        let mut none_left = CpuSet::new();
        none_left.set(taken);
        let mut some_left = sched_getaffinity(None).unwrap();
        some_left.set(taken);
        let all = processors();
        for before in [none_left, some_left] {
            *allowed() = Some(before);
            let counts = spawn(move || {
                // Counted round among those that are left, the last of all is one of them.
                let pin = pin(all).unwrap();
                let pinned = processors();
                drop(pin);
                (pinned, processors())
            });
            assert_eq!(counts.join().unwrap(), (1, all));
        }
        *allowed() = None;
    }
}
