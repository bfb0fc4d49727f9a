//! Servers to test, and what the tests do with them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under the name of the first word, with the rest as its arguments.
pub(crate) fn program(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmem"));
    command.arg0(words.next().unwrap()).args(words).stdin(Stdio::null());
    by_nobody_else(&mut command);
    command
}

/// Has a program take itself for one that an operator has started.
pub(crate) fn by_nobody_else(command: &mut Command) {
    for name in ["MEMCACHED_PORT_FILENAME", "MM_BACKGROUND", "MM_SUCCESSOR"] {
        command.env_remove(name);
    }
}

/// Shell commands that run the program with the shell's own arguments; it stalls when it first says something, until
/// somebody [reads](drain) the pipe that these commands make.
pub(crate) fn stalling(pipe: &Path) -> String {
    format!(
        "mkfifo {pipe} && exec 2<>{pipe}\n\
         dd if=/dev/zero of={pipe} bs=4096 count=10000 oflag=nonblock 2>/dev/null\n\
         exec {program} \"$@\"",
        pipe = pipe.display(),
        program = env!("CARGO_BIN_EXE_mmem")
    )
}

/// Reads a pipe until nobody has it any more; tells what was said there.
pub(crate) fn drain(pipe: &Path) -> Child {
    let pipe = fs::File::open(pipe).unwrap();
    Command::new("tr").args(["-d", "\\000"]).stdin(pipe).stdout(Stdio::piped()).spawn().unwrap()
}

/// Whether a process has a file mapped whose path has this in it.
pub(crate) fn has_mapped(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(name))
}

/// Runs the program to its end; what it said on the standard error, and its exit code.
pub(crate) fn run(line: &str) -> (String, i32) {
    let Output { status, stderr, .. } = program(line).output().unwrap();
    (String::from_utf8(stderr).unwrap(), status.code().unwrap())
}

/// The drivers that a program of this platform has on Linux.
pub(crate) const DRIVERS: &[&str] = if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
    &["epoll", "poll", "uring"]
} else {
    &["epoll", "poll"]
};

/// A file name of its own for each test.
pub(crate) fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    drop(fs::remove_file(&path));
    path
}

/// Tries until there is a result.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "this takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// The value of a line of /proc/PID/status.
pub(crate) fn status_of(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|text| text.trim().to_owned())
}

/// Which processors the thread of a status file may use, as the kernel lists them.
pub(crate) fn processors_in(status: &Path) -> Option<String> {
    let status = fs::read_to_string(status).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(list.trim().to_owned())
}

/// The same of each thread of a process that serves, in their order.
pub(crate) fn processors_of_shards(pid: u32) -> Vec<String> {
    let of = |shard: u32| {
        let mut threads =
            fs::read_dir(format!("/proc/{pid}/task")).ok()?.map(|thread| thread.unwrap().path());
        let is_it = |thread: &PathBuf| {
            let name = fs::read_to_string(thread.join("comm")).unwrap_or_default();
            if shard == 0 {
                thread.ends_with(pid.to_string())
            } else {
                name.trim() == format!("shard-{shard}")
            }
        };
        processors_in(&threads.find(is_it)?.join("status"))
    };
    (0..).map_while(of).collect()
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    send_signal(pid, "-TERM");
}

/// Sends a signal to a process.
pub(crate) fn send_signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// A running server, which ends with the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
    /// For datagrams; 0 for none.
    pub(crate) udp_port: u16,
}

impl Server {
    /// Starts on any free port.
    pub(crate) fn start(name: &str, line: &str) -> Self {
        Self::start_by(name, program(line).stderr(Stdio::piped()))
    }

    /// Starts by this command.
    pub(crate) fn start_by(name: &str, command: &mut Command) -> Self {
        let ports = file(name);
        let child = command.env("MEMCACHED_PORT_FILENAME", &ports).spawn().unwrap();
        // From here on the child ends with the test.
        let mut server = Self { child, port: 0, udp_port: 0 };
        let text = eventually(|| fs::read_to_string(&ports).ok());
        fs::remove_file(&ports).unwrap();
        (server.port, server.udp_port) = (port_of(&text, "TCP"), port_of(&text, "UDP"));
        server
    }

    /// Its next line on the standard error.
    pub(crate) fn next_line(&mut self) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The port of a kind that a server has written down, 0 for none. Its lines for both families show the same one.
fn port_of(text: &str, kind: &str) -> u16 {
    let lines = text.lines().filter(|line| line.starts_with(kind));
    let mut numbers = lines.map(|line| line.rsplit(' ').next().unwrap());
    let Some(first) = numbers.next() else { return 0 };
    assert!(numbers.all(|number| number == first), "{text}");
    first.parse().unwrap()
}

/// The TCP port that a server has written down.
pub(crate) fn port_in(ports: &Path) -> u16 {
    let text = eventually(|| fs::read_to_string(ports).ok());
    fs::remove_file(ports).unwrap();
    port_of(&text, "TCP")
}

/// Sets and gets an item on a fresh connection.
pub(crate) fn converse(mut stream: impl Read + Write) {
    stream.write_all(b"set a 0 0 1\r\n1\r\nget a\r\nquit\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
}

/// A dialogue with a server. Lines are written and shown with `\n` alone.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a server on loopback.
    pub(crate) fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends `input`.
    pub(crate) fn send(&mut self, input: impl AsRef<[u8]>) {
        assert!(self.try_send(input));
    }

    /// Sends `input`, if the server is still there.
    pub(crate) fn try_send(&mut self, input: impl AsRef<[u8]>) -> bool {
        let lines: Vec<&[u8]> = input.as_ref().split(|&byte| byte == b'\n').collect();
        self.stream.get_mut().write_all(&lines.join(b"\r\n".as_slice())).is_ok()
    }

    /// The next line of the answer, if the server is still there.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        Some(line.replace("\r\n", "\n"))
    }

    /// The next line of the answer; empty where the server has closed the connection.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.replace("\r\n", "\n")
    }

    /// Sends `input`, which is answered by one line, and returns that.
    pub(crate) fn ask(&mut self, input: impl AsRef<[u8]>) -> String {
        self.send(input);
        self.line()
    }

    /// The value of a line of `stats` or of a group of them.
    pub(crate) fn stat(&mut self, group: &str, name: &str) -> String {
        let start = format!("STAT {name} ");
        let lines = self.lines_of(format!("stats{group}\n"));
        let found = lines.iter().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no {name} in stats{group}")).trim_end().to_owned()
    }

    /// Sends `input`, and returns the lines of the answer up to its end.
    pub(crate) fn lines_of(&mut self, input: impl AsRef<[u8]>) -> Vec<String> {
        self.send(input);
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line == "END\n" || line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }
}
