//! The program as an operator sees it: where it listens, what it says, how it ends.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under the name of the first word, with the rest as its arguments.
fn program(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmem"));
    command.arg0(words.next().unwrap()).args(words).stdin(Stdio::null());
    command.env_remove("MEMCACHED_PORT_FILENAME").env_remove("MM_BACKGROUND");
    command
}

/// Runs the program to its end; what it said on the standard error, and its exit code.
fn run(line: &str) -> (String, i32) {
    let Output { status, stderr, .. } = program(line).output().unwrap();
    (String::from_utf8(stderr).unwrap(), status.code().unwrap())
}

/// A file name of its own for each test.
fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    drop(fs::remove_file(&path));
    path
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "this takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// The value of a line of /proc/PID/status.
fn status_of(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|text| text.trim().to_owned())
}

fn terminate(pid: u32) {
    assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
}

/// A running server, which ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts on any free port.
    fn start(name: &str, line: &str) -> Self {
        let ports = file(name);
        let mut command = program(line);
        let child = command.env("MEMCACHED_PORT_FILENAME", &ports).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, port: port_in(&ports) }
    }

    /// Its first line on the standard error.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The port that a server has written down; its lines for both families show the same one.
fn port_in(ports: &Path) -> u16 {
    let text = eventually(|| fs::read_to_string(ports).ok());
    fs::remove_file(ports).unwrap();
    let mut numbers = text.lines().map(|line| line.rsplit(' ').next().unwrap());
    let first = numbers.next().unwrap();
    assert!(numbers.all(|number| number == first), "{text}");
    first.parse().unwrap()
}

/// Sets and gets an item on a fresh connection.
fn converse(mut stream: impl Read + Write) {
    stream.write_all(b"set a 0 0 1\r\n1\r\nget a\r\nquit\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
}

#[test]
fn what_cannot_be_honoured_is_one_line_and_an_exit_code() {
    for (line, message, code) in [
        ("mmem --frobnicate", "mmem: --frobnicate: there is no such flag; -h lists them all\n", 1),
        ("memcached -S -u root", "memcached: -S: SASL is not supported\n", 64),
        (
            "mmem -l 192.0.2.1",
            "mmem: cannot listen on 192.0.2.1:11211: cannot assign requested address\n",
            71,
        ),
    ] {
        assert_eq!(run(line), (message.to_owned(), code), "{line}");
    }
    let (message, code) = run("mmem -p -1 -P /nonexistent/mmem.pid");
    assert!(
        message.starts_with("mmem: -P /nonexistent/mmem.pid: ") && message.lines().count() == 1,
        "{message}"
    );
    assert_eq!(code, 71);
}

#[test]
fn a_port_in_use_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let message = format!("mmem: cannot listen on 127.0.0.1:{port}: address already in use\n");
    assert_eq!(run(&format!("mmem -p {port}")), (message.clone(), 71));
    assert_eq!(run(&format!("mmem -d -p {port}")), (message, 71));
}

#[test]
fn an_unknown_user_is_named() {
    if is_root() {
        let message = "mmem: -u nobody-by-that-name: there is no such user\n".to_owned();
        assert_eq!(run("mmem -u nobody-by-that-name"), (message, 67));
        let message =
            "memcached: -u is missing: started as root, memcached wants to be told which user to become\n";
        assert_eq!(run("memcached"), (message.to_owned(), 64));
    }
}

#[test]
fn the_version_goes_to_the_standard_output() {
    let output = program("/usr/bin/memcached -V").output().unwrap();
    assert_eq!(output.stdout, b"memcached 1.6.45\n");
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn it_says_where_it_listens_and_serves_there() {
    let mut server = Server::start("greeting", "mmem -p -1");
    let line = server.first_line();
    assert!(line.starts_with(&format!("mmem: listening on 127.0.0.1:{}", server.port)), "{line}");
    assert!(line.contains("driver epoll"), "{line}");
    converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
}

#[test]
fn root_becomes_nobody_without_groups() {
    let server = Server::start("root", "mmem -p -1");
    // It answers only when it has become whom it will be.
    converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    if is_root() {
        let pid = server.child.id();
        let ids = status_of(pid, "Uid").unwrap();
        assert!(ids.split('\t').all(|id| id != "0"), "{ids}");
        assert_eq!(status_of(pid, "Groups").as_deref(), Some(""));
    }
}

#[test]
fn a_signal_ends_it_with_code_0() {
    let mut server = Server::start("signal", "mmem -p -1");
    converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    terminate(server.child.id());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_unix_socket_has_the_permissions_asked_for_and_goes_with_the_server() {
    let path = file("unix.sock");
    let mut server = program(&format!("mmem -u root -a 750 -s {}", path.display()));
    let mut server = server.stderr(Stdio::null()).spawn().unwrap();
    let stream = eventually(|| UnixStream::connect(&path).ok());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
    converse(stream);
    terminate(server.id());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn in_the_background_it_serves_when_the_caller_has_ended() {
    let (pids, ports) = (file("background.pid"), file("background.ports"));
    let mut command = program(&format!("mmem -d -u root -p -1 -P {}", pids.display()));
    assert!(command.env("MEMCACHED_PORT_FILENAME", &ports).stderr(Stdio::null()).status().unwrap().success());
    let pid: u32 = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
    assert!(status_of(pid, "State").is_some());
    converse(TcpStream::connect(("127.0.0.1", port_in(&ports))).unwrap());
    terminate(pid);
    eventually(|| (!pids.exists()).then_some(()));
}
