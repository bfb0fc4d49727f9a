//! The load generator against the floors, as separate processes: what one would type.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail like the test itself")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mm-bench");

/// A floor that runs until dropped.
struct Floor {
    child: Child,
    port: String,
}

impl Floor {
    /// None where the kernel has no io_uring, which the floor says.
    fn start(name: &str) -> Option<Self> {
        Self::start_with(name, "100")
    }

    /// With values of so many bytes.
    fn start_with(name: &str, value_bytes: &str) -> Option<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["floor", name, "--value-bytes", value_bytes])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
            child.wait().unwrap();
            assert!(text.contains("io_uring is missing or forbidden"), "{name}: {text}");
            return None;
        }
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Some(Self { child, port })
    }

    fn load(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM).args(["load", "--port", &self.port, "--json"]).args(arguments).output().unwrap()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn figure(output: &Output, name: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {text}"));
    let rest = &text[start + name.len() + 3..];
    rest[..rest.find([',', '}', '.']).unwrap()].parse().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_echo_comes_back_whole_whatever_its_size() {
    for name in ["echo-epoll", "echo-uring"] {
        let Some(floor) = Floor::start(name) else { continue };
        for (sizes, depth) in [("100", "1"), ("1-20000", "7"), ("300000", "1")] {
            let arguments =
                ["--protocol", "echo", "--requests", "500", "--value-bytes", sizes, "--depth", depth];
            let output = floor.load(&arguments);
            assert!(output.status.success(), "{name} {sizes}: {}", complaint(&output));
            assert_eq!(figure(&output, "hits"), 500);
        }
    }
}

#[test]
fn canned_answers_are_counted_and_their_form_is_checked() {
    for name in ["canned-epoll", "canned-uring"] {
        let Some(floor) = Floor::start(name) else { continue };
        let mixed =
            ["--unchecked", "--requests", "1000", "--depth", "50", "--set-ratio", "0.5", "--multiget", "3"];
        let output = floor.load(&mixed);
        assert!(output.status.success(), "{name}: {}", complaint(&output));
        assert_eq!(figure(&output, "requests"), 1000);
        assert_eq!(figure(&output, "hits"), 3 * (1000 - figure(&output, "sets")));
    }
}

#[test]
fn large_canned_answers_come_whole() {
    for (name, bytes) in [("canned-epoll", "300000"), ("canned-uring", "300000"), ("canned-uring", "16384")] {
        let Some(floor) = Floor::start_with(name, bytes) else { continue };
        let loads =
            ["--unchecked", "--requests", "100", "--depth", "9", "--multiget", "10", "--set-ratio", "0.2"];
        let output = floor.load(&[&loads[..], &["--connections", "3", "--value-bytes", bytes]].concat());
        assert!(output.status.success(), "{name}: {}", complaint(&output));
        assert_eq!(figure(&output, "hits"), 10 * (100 - figure(&output, "sets")));
        assert!(figure(&output, "received_bytes") > figure(&output, "hits") * bytes.parse::<u64>().unwrap());
    }
}

#[test]
fn a_canned_answer_is_not_mistaken_for_the_value_of_a_key() {
    let floor = Floor::start("canned-epoll").unwrap();
    let output = floor.load(&["--requests", "10", "--connections", "1"]);
    assert!(!output.status.success());
    assert!(complaint(&output).contains("key:123456"), "{}", complaint(&output));
}

#[test]
fn a_fixed_rate_is_kept() {
    let floor = Floor::start("canned-epoll").unwrap();
    let arguments = ["--unchecked", "--requests", "200", "--rate", "2000"];
    let output = floor.load(&arguments);
    assert!(output.status.success(), "{}", complaint(&output));
    // 200 requests are due within 99.5 ms; nothing may send them sooner.
    assert!(figure(&output, "keys_per_s") <= 2_011, "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_was_due_while_the_server_stood_still_counts() {
    let floor = &Floor::start("canned-epoll").unwrap();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &floor.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    let output = std::thread::scope(|scope| {
        let arguments = ["--unchecked", "--seconds", "0.1", "--rate", "2000", "--connections", "5"];
        let load = scope.spawn(move || floor.load(&arguments));
        // All 200 are to be counted whenever it goes on; it shows most where that is after the load's end.
        std::thread::sleep(Duration::from_millis(500));
        signal("-CONT");
        load.join().unwrap()
    });
    assert!(output.status.success(), "{}", complaint(&output));
    assert_eq!(figure(&output, "requests"), 200);
}

#[test]
fn a_missing_server_and_senseless_numbers_are_named() {
    let output = Command::new(PROGRAM).args(["load", "--port", "1"]).output().unwrap();
    assert!(!output.status.success());
    assert!(complaint(&output).contains("127.0.0.1:1"), "{}", complaint(&output));
    for (arguments, named) in [
        (["--depth", "0"], "--depth"),
        (["--set-ratio", "2"], "--set-ratio"),
        (["--zipf", "11"], "--zipf"),
        (["--value-bytes", "9-1"], "9-1"),
    ] {
        let output = Command::new(PROGRAM).arg("load").args(arguments).output().unwrap();
        assert!(!output.status.success());
        assert!(complaint(&output).contains(named), "{arguments:?}: {}", complaint(&output));
    }
}
