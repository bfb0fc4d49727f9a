//! Processor time that a process has used.

use std::collections::HashMap;
use std::fs;

use rustix::io::Errno;

/// Nanoseconds of a tick of `/proc/PID/stat`: Linux tells every program a hundredth of a second.
const TICK_NS: u64 = 10_000_000;

/// What a thread has had of the processor, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    ran: u64,
    /// It could have run, and others did.
    waited: u64,
}

impl Times {
    /// Those in the text of `schedstat`.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().map_while(|word| word.parse().ok());
        Some(Self { ran: words.next()?, waited: words.next()? })
    }
}

/// How long the calling thread could have run up to now while others did, in nanoseconds.
///
/// # Errors
/// The kernel keeps no such figures.
pub(crate) fn own_wait_ns() -> Result<u64, String> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Times::read(&text).map(|times| times.waited).ok_or_else(|| format!("{path} has no times"))
}

/// Processor time of a process up to a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// That of each thread that lives, by its number.
    threads: HashMap<String, Times>,
    /// Ticks of all threads that ever lived.
    ticks: u64,
}

impl CpuTime {
    /// That of a process up to now.
    ///
    /// # Errors
    /// The process is gone, or the kernel keeps no such figures.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let folder = format!("/proc/{pid}/task");
        let failed = |error: std::io::Error| format!("cannot read {folder}: {error}");
        let mut threads = HashMap::new();
        for task in fs::read_dir(&folder).map_err(failed)? {
            let task = task.map_err(failed)?;
            let text = match fs::read_to_string(task.path().join("schedstat")) {
                Ok(text) => text,
                // It has ended since the folder was listed.
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => {
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            let times = Times::read(&text).ok_or_else(|| format!("{folder}: schedstat has no times"))?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), times);
        }
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let ticks = ticks_in(&text).ok_or_else(|| format!("{path} has no processor time"))?;
        Ok(Self { threads, ticks })
    }

    /// What was used since an earlier moment, in nanoseconds; to a hundredth of a second only where a thread has ended
    /// meanwhile, of which the kernel tells no more.
    pub(crate) fn since_ns(&self, before: &Self) -> u64 {
        if before.threads.keys().any(|thread| !self.threads.contains_key(thread)) {
            return self.ticks.saturating_sub(before.ticks) * TICK_NS;
        }
        self.sum_since(before, |times| times.ran)
    }

    /// How long its threads could have run since an earlier moment and others did, in nanoseconds. Of threads that have
    /// ended meanwhile nothing is known.
    pub(crate) fn waited_since_ns(&self, before: &Self) -> u64 {
        self.sum_since(before, |times| times.waited)
    }

    fn sum_since(&self, before: &Self, part: impl Fn(&Times) -> u64) -> u64 {
        let earlier = |thread| before.threads.get(thread).map_or(0, &part);
        self.threads.iter().map(|(thread, times)| part(times).saturating_sub(earlier(thread))).sum()
    }
}

/// `utime` and `stime` of `/proc/PID/stat`: the twelfth and thirteenth word behind the program's name, which is in
/// brackets and may have blanks and brackets itself.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let (user, system) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(threads: &[(&str, u64)], ticks: u64) -> CpuTime {
        let times = |ran| Times { ran, waited: 10 * ran };
        let threads = threads.iter().map(|&(thread, ran)| (thread.to_owned(), times(ran))).collect();
        CpuTime { threads, ticks }
    }

    #[test]
    fn a_thread_that_ends_takes_nothing_away() {
        let before = time(&[("1", 100), ("2", 5_000_000_000)], 500);
        assert_eq!(time(&[("1", 150), ("2", 5_000_000_007), ("3", 9)], 500).since_ns(&before), 66);
        assert_eq!(time(&[("1", 150)], 503).since_ns(&before), 30_000_000);
        assert_eq!(time(&[("1", 150)], 503).waited_since_ns(&before), 500);
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        assert_eq!(ticks_in("7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20"), Some(42));
        assert_eq!(ticks_in("7 (a) R 1"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        let now = CpuTime::of(std::process::id()).unwrap();
        assert!(!now.threads.is_empty());
        assert!(CpuTime::of(std::process::id()).unwrap().ticks >= now.ticks);
    }
}
