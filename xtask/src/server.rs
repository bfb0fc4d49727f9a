//! The release build of mmem, started for a check on a port of its own.

use std::fs;
use std::process::{Child, Command as Program, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{Failure, Outcome};
use crate::process::{program, release, run};
use crate::tools;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(5);

/// The environment variable that says which driver the servers of checks get; without it they choose themselves.
pub(crate) const DRIVER: &str = "MMEM_DRIVER";

/// The driver that was asked for.
pub(crate) fn driver() -> Option<String> {
    std::env::var(DRIVER).ok().filter(|driver| !driver.is_empty())
}

/// A running server; dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    name: String,
}

impl Server {
    /// Starts mmem with these arguments and waits until it listens. `name` tells servers of one run apart.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it is not built, ends, or does not listen in time, or has another driver than [`DRIVER`]
    /// says.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let failed = |what: String| Failure::Failed(format!("{name}: {what}"));
        let folder = tools::folder();
        fs::create_dir_all(&folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
        let port_file = folder.join(format!("{name}.port"));
        drop(fs::remove_file(&port_file));
        let binary = release().join("mmem");
        let mut mmem = Program::new(&binary);
        let driver = driver();
        mmem.args(["-p", "-1", "-u", "root"]);
        mmem.args(driver.iter().flat_map(|driver| ["--driver", driver]));
        mmem.args(arguments).stdin(Stdio::null());
        mmem.env("MEMCACHED_PORT_FILENAME", &port_file);
        let child = mmem.spawn().map_err(|error| failed(format!("{}: {error}", binary.display())))?;
        let mut server = Self { child, port: 0, name: name.to_owned() };
        let deadline = Instant::now() + PATIENCE;
        while server.port == 0 {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(failed(format!("ended at its start: {status}")));
            }
            if Instant::now() > deadline {
                return Err(failed("did not listen in time".to_owned()));
            }
            thread::sleep(PAUSE);
            server.port = fs::read_to_string(&port_file).ok().and_then(|file| port_in(&file)).unwrap_or(0);
        }
        if driver.as_deref() == Some("uring") && !server.has_rings(1)? {
            return Err(failed("io_uring cannot be used here".to_owned()));
        }
        Ok(server)
    }

    /// Whether its shards, so many, wait by io_uring: they go on with epoll where the kernel refuses that.
    ///
    /// # Errors
    /// [`Failure::Failed`] if they do not wait in time.
    pub(crate) fn has_rings(&self, shards: usize) -> Result<bool, Failure> {
        has_rings(self.child.id(), shards)
    }

    /// The port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address on loopback, as clients take it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`Failure::Failed`] if there is no such process.
    pub(crate) fn signal(&self, name: &str) -> Outcome {
        run(&mut program("kill", &[&format!("-{name}"), &self.child.id().to_string()]))
    }

    /// Waits until the process has ended, whether by itself or not.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it still runs after this time.
    pub(crate) fn wait(&mut self, patience: Duration) -> Outcome {
        self.ended(patience).map(|_| ())
    }

    /// How the process ended.
    fn ended(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(PAUSE),
                Ok(None) => return Err(Failure::Failed(format!("{}: did not stop in time", self.name))),
                Err(error) => return Err(Failure::Failed(format!("{}: {error}", self.name))),
            }
        }
    }

    /// The resident memory of the process, in KiB.
    ///
    /// # Errors
    /// [`Failure::Failed`] if the process has ended.
    pub(crate) fn resident_kib(&self) -> Result<u64, Failure> {
        self.status_kib("VmRSS:")
    }

    /// The most of the process that was ever resident, in KiB.
    ///
    /// # Errors
    /// [`Failure::Failed`] if the process has ended.
    pub(crate) fn peak_kib(&self) -> Result<u64, Failure> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).unwrap_or_default();
        number_in(&status, field)
            .ok_or_else(|| Failure::Failed(format!("{}: no {field} in {path}", self.name)))
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it does not stop in time, or not with exit code 0.
    pub(crate) fn stop(mut self) -> Outcome {
        run(&mut program("kill", &["-TERM", &self.child.id().to_string()]))?;
        match self.ended(PATIENCE)? {
            status if status.success() => Ok(()),
            status => Err(Failure::Failed(format!("{}: ended with {status}", self.name))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether so many shards of a process wait by io_uring, and not by epoll.
///
/// # Errors
/// [`Failure::Failed`] if they do not wait in time, or there is no such process.
pub(crate) fn has_rings(pid: u32, shards: usize) -> Result<bool, Failure> {
    let folder = format!("/proc/{pid}/fd");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let entries = fs::read_dir(&folder).map_err(|error| Failure::Failed(format!("{folder}: {error}")))?;
        let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let kinds: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
        let count = |kind| kinds.iter().filter(|other| *other == kind).count();
        let rings = count("anon_inode:[io_uring]");
        if rings + count("anon_inode:[eventpoll]") >= shards {
            return Ok(rings >= shards);
        }
        thread::sleep(PAUSE);
    }
    Err(Failure::Failed(format!("{folder}: its shards do not wait in time")))
}

/// The number behind the name of a field.
fn number_in(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first TCP port in a file that mmem writes by `MEMCACHED_PORT_FILENAME`.
fn port_in(file: &str) -> Option<u16> {
    let line = file.lines().find(|line| line.starts_with("TCP "))?;
    line.rsplit(' ').next()?.trim().parse().ok()
}

/// Runs the checks of a client against a fresh server: a program that finds the address in `MMEM_ADDRESS`.
///
/// # Errors
/// [`Failure::Failed`] if the program fails, or the server does not start and stop as it should.
pub(crate) fn with_client<T>(
    name: &str,
    client: &mut Program,
    run: impl FnOnce(&mut Program) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let server = Server::start(name, &[])?;
    let result = run(client.env("MMEM_ADDRESS", server.address()))?;
    server.stop()?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::{number_in, port_in};

    #[test]
    fn the_peak_is_not_what_is_resident_now() {
        let status = "VmPeak:\t  900 kB\nVmHWM:\t   70 kB\nVmRSS:\t   60 kB\n";
        assert_eq!(number_in(status, "VmHWM:"), Some(70));
        assert_eq!(number_in(status, "VmRSS:"), Some(60));
        assert_eq!(number_in(status, "VmSwap:"), None);
    }

    #[test]
    fn the_port_is_found_in_either_family() {
        assert_eq!(port_in("TCP INET: 1234\nTCP INET6: 1234\n"), Some(1234));
        assert_eq!(port_in("TCP INET6: 77\n"), Some(77));
        assert_eq!(port_in("UDP INET: 77\n"), None);
    }
}
