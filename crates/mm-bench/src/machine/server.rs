//! A server under test: a child process on the server core, gone when dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::{CpuTime, LOAD_CORE, SERVER_CORE, pin};

/// How long a server may take until it accepts connections: some have their memory populated before.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    title: String,
    /// The TCP port on loopback it serves.
    pub(crate) port: u16,
}

/// A TCP port on loopback that is free now.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> Result<u16, String> {
    let failed = |error| format!("no free TCP port on loopback: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

impl Server {
    /// Starts a server on the server core, waits until it accepts, and moves the calling thread to the load core.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not accept connections in time.
    pub(crate) fn start(command: &mut Command, port: u16) -> Result<Self, String> {
        let title = command.get_program().to_string_lossy().into_owned();
        // A child inherits the core of the thread that starts it.
        pin(SERVER_CORE)?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        pin(LOAD_CORE)?;
        let child = spawned.map_err(|error| format!("cannot start {title}: {error}"))?;
        let mut server = Self { child, title, port };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at its start: {status}", self.title));
            }
            if start.elapsed() > START_TIMEOUT {
                return Err(format!("{} does not accept connections on port {}", self.title, self.port));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes sure that each of its shards waits by io_uring: mmem goes on with epoll where the kernel refuses that.
    ///
    /// # Errors
    /// A shard waits by epoll, or does not wait at all in time.
    pub(crate) fn need_rings(&self, shards: usize) -> Result<(), String> {
        let path = format!("/proc/{}/fd", self.id());
        let start = Instant::now();
        loop {
            let entries = std::fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?;
            let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            let kinds: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
            match all_rings(&kinds, shards) {
                Some(true) => return Ok(()),
                Some(false) => {
                    return Err(format!("{} cannot use io_uring here, and uses epoll", self.title));
                }
                // The port is open before the shards run.
                None if start.elapsed() < START_TIMEOUT => thread::sleep(Duration::from_millis(5)),
                None => return Err(format!("{} has not begun to wait for its connections", self.title)),
            }
        }
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// It does not stop in time.
    pub(crate) fn terminate(mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot stop {}: {error}", self.title);
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|error| failed(error.into()))?;
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            if self.child.try_wait().map_err(failed)?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{} has not stopped {} s after SIGTERM", self.title, STOP_TIMEOUT.as_secs()))
    }

    /// Lets it have so many descriptors more than now, and no others.
    ///
    /// # Errors
    /// It has died, or the system refuses.
    pub(crate) fn limit_descriptors(&self, left: u64) -> Result<(), String> {
        let path = format!("/proc/{}/fd", self.id());
        let open = std::fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?.count() as u64;
        let process = Some(Pid::from_child(&self.child));
        let limit = Rlimit { current: Some(open + left), maximum: Some(open + left) };
        let limited = prlimit(process, Resource::Nofile, limit);
        limited.map(drop).map_err(|error| format!("cannot limit the descriptors of {}: {error}", self.title))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of it resident now.
    ///
    /// # Errors
    /// It has died.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        self.status("VmRSS:")
    }

    /// The most bytes of it that were ever resident.
    ///
    /// # Errors
    /// It has died.
    pub(crate) fn peak_bytes(&self) -> Result<u64, String> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| format!("{path}: no {name}"))
    }

    /// Processor time it has used up to now.
    ///
    /// # Errors
    /// It has died.
    pub(crate) fn cpu_time(&self) -> Result<CpuTime, String> {
        CpuTime::of(self.child.id()).map_err(|error| format!("{} is gone: {error}", self.title))
    }
}

/// Whether all shards wait by io_uring, by what the descriptors of a process are; `None` while some do not wait yet.
fn all_rings(descriptors: &[String], shards: usize) -> Option<bool> {
    let count = |kind| descriptors.iter().filter(|descriptor| *descriptor == kind).count();
    let (rings, polls) = (count("anon_inode:[io_uring]"), count("anon_inode:[eventpoll]"));
    (rings + polls >= shards).then_some(rings >= shards)
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself is what these calls want anyway.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::all_rings;

    #[test]
    fn a_shard_on_epoll_is_told_from_one_that_has_not_begun() {
        let judge = |kinds: &[&str], shards| {
            let links: Vec<String> = kinds.iter().map(|kind| format!("anon_inode:[{kind}]")).collect();
            all_rings(&links, shards)
        };
        assert_eq!(judge(&["eventfd", "io_uring"], 1), Some(true));
        assert_eq!(judge(&["eventfd", "io_uring"], 2), None);
        assert_eq!(judge(&["eventpoll", "io_uring"], 2), Some(false));
        assert_eq!(judge(&["eventpoll"], 1), Some(false));
        assert_eq!(judge(&["io_uring", "io_uring"], 2), Some(true));
    }
}
