//! Which of the threads that share a core goes first.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, setpriority_process};
use rustix::thread::gettid;

/// The least urgent niceness.
const LAST: i32 = 19;

/// The most urgent one.
const FIRST: i32 = -20;

/// Has the calling thread go before all others of its core. What it starts from now on does not inherit that. Gives
/// how this was reached.
pub(crate) fn go_first() -> &'static str {
    if schedule(&["--fifo", "--reset-on-fork"], "1") {
        "real-time priority"
    } else if setpriority_process(Some(gettid()), FIRST).is_ok() {
        "the most urgent niceness"
    } else {
        "no priority, which this user may not have: the figures contain what others of its core do to the load"
    }
}

/// The calling thread and those of some processes at real-time priority, until it is dropped. They must leave their
/// cores some time: whoever uses one for 950 ms of a second is kept from it for the rest, where others would run.
pub(crate) struct RealTime {
    processes: Vec<u32>,
}

impl RealTime {
    /// Begins. `None` where that is not permitted: all stays as it is then.
    pub(crate) fn begin(processes: impl IntoIterator<Item = u32>) -> Option<Self> {
        let real_time = Self { processes: processes.into_iter().collect() };
        let all = |pid: &u32| chrt(&["--fifo", "--reset-on-fork", "--all-tasks"], "1", &pid.to_string());
        // What was changed before it came to one that may not be changed goes back with it.
        (schedule(&["--fifo", "--reset-on-fork"], "1") && real_time.processes.iter().all(all))
            .then_some(real_time)
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        schedule(&["--other"], "0");
        for process in &self.processes {
            // It may have ended.
            chrt(&["--other", "--all-tasks"], "0", &process.to_string());
        }
    }
}

/// Has the calling thread go after the others of its core.
pub(crate) fn go_last() {
    if !schedule(&["--idle"], "0") {
        // Less urgent than before is always permitted.
        setpriority_process(Some(gettid()), LAST).ok();
    }
}

/// A thread that keeps its core from sleeping while nobody else has anything to do: a virtual processor that sleeps
/// takes as long to wake as a server to answer.
pub(crate) struct Awake {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Awake {
    /// Begins, on the core of the calling thread. Does nothing where the system knows no idle priority.
    pub(crate) fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            if schedule(&["--idle"], "0") {
                while !until.load(Ordering::Relaxed) {
                    // A neighbour that goes last, too, need not wait.
                    thread::yield_now();
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Where the kernel keeps how the sessions of processes share a core: niceness counts within one alone.
const SESSION: &str = "/proc/self/autogroup";

/// Has the session of this process, and so the servers that it starts, go before other programs, until it is dropped.
pub(crate) struct SessionFirst {
    before: Option<String>,
}

impl SessionFirst {
    /// Begins. Where that is not permitted, or the kernel knows no such groups, all stays as it is: the figures contain
    /// what other programs do to the servers.
    pub(crate) fn begin() -> Self {
        let text = std::fs::read_to_string(SESSION).ok();
        let before = text.and_then(|text| text.split_whitespace().last().map(str::to_owned));
        let is_changed = before.is_some() && std::fs::write(SESSION, FIRST.to_string()).is_ok();
        Self { before: before.filter(|_| is_changed) }
    }
}

impl Drop for SessionFirst {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It was permitted to make it more urgent.
            drop(std::fs::write(SESSION, before));
        }
    }
}

/// Changes how the calling thread is scheduled. False where that is not permitted, or there is no such program.
fn schedule(flags: &[&str], priority: &str) -> bool {
    chrt(flags, priority, &Pid::as_raw(Some(gettid())).to_string())
}

/// The same of a thread by its number, or with `--all-tasks` of those of a process.
fn chrt(flags: &[&str], priority: &str, pid: &str) -> bool {
    let mut command = Command::new("chrt");
    command.args(flags).args(["--pid", priority, pid]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
