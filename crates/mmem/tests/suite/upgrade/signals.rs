//! Signals that end the server, and come while it is replaced.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Installed;
use crate::world::{Client, Server, drain, eventually, file, has_mapped, send_signal, stalling};

/// Upgrades to a process that has been given everything when this one gets a signal, and then fails.
fn ends_while_an_upgrade_fails(signal: &str) {
    let name = format!("upgrade-ends{signal}");
    let installed = Installed::new(&name);
    let memory = file(&format!("{name}-memory"));
    let (mut child, server) = installed.start(&name, &format!("-e {}", memory.display()));
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    let (given, gate) = (file(&format!("{name}-given")), file(&format!("{name}-gate")));
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    installed.replace_by(&format!(
        "printf r >&0; head -c 100 <&0 >/dev/null; touch {}; read _ <{}; exit 5",
        given.display(),
        gate.display()
    ));
    send_signal(child.id(), "-USR2");
    eventually(|| fs::remove_file(&given).ok());
    send_signal(child.id(), signal);
    fs::write(&gate, "\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(client.line(), "", "the connection is closed");
    let mut book = memory.clone().into_os_string();
    book.push(".meta");
    assert_eq!(fs::remove_file(&book).is_ok(), signal == "-USR1");
    fs::remove_file(&memory).unwrap();
    fs::remove_file(&gate).unwrap();
}

#[test]
fn a_signal_while_an_upgrade_fails_ends_the_server() {
    for signal in ["-TERM", "-INT", "-USR1"] {
        ends_while_an_upgrade_fails(signal);
    }
}

#[test]
fn a_signal_while_an_upgrade_is_completed_ends_the_new_process() {
    let name = "upgrade-then-ends";
    let installed = Installed::new(name);
    let (mut child, server) = installed.start(name, "-t 2");
    assert_eq!(Client::connect(&server).ask("set k 0 0 1\n1\n"), "STORED\n");
    let pipe = file(&format!("{name}-pipe"));
    installed.replace_by(&stalling(&pipe));
    send_signal(child.id(), "-USR2");
    let successor = eventually(|| Some(installed.pid()).filter(|id| *id != child.id()));
    eventually(|| has_mapped(successor, "/memfd:mmem").then_some(()));
    send_signal(child.id(), "-TERM");
    // It goes on, and says that it serves.
    assert!(drain(&pipe).wait().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!installed.pid_file.exists());
    fs::remove_file(&pipe).unwrap();
}

/// Whether a process has a file open whose path has this in it.
fn has_open(pid: u32, name: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| path.to_string_lossy().contains(name))
}

/// An upgrade to a process that serves, at whose end the old one waits to say so.
struct Ending {
    installed: Installed,
    old: Child,
    new: u32,
    server: Server,
    said: fs::File,
}

impl Ending {
    /// Has the old process go on, and waits for its end.
    fn go_on(&mut self) {
        self.said.read_exact(&mut [0; 4096]).unwrap();
        assert_eq!(self.old.wait().unwrap().code(), Some(0));
    }

    fn is_over(&self) {
        eventually(|| (!self.installed.pid_file.exists()).then_some(()));
    }
}

fn at_the_very_end(name: &str) -> Ending {
    let installed = Installed::new(name);
    let gate = file(&format!("{name}-gate"));
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    [&installed.said, &gate].into_iter().for_each(|path| fifo(path));
    let mut pipe = fs::File::options().read(true).write(true).open(&installed.said).unwrap();
    let (child, server) = installed.start(name, "-t 2 -v");
    let (program, gated) = (env!("CARGO_BIN_EXE_mmem"), gate.display());
    installed.replace_by(&format!("read _ <{gated}; exec {program} \"$@\" 2>/dev/null"));
    send_signal(child.id(), "-USR2");
    let (mut said, mut page) = (String::new(), [0; 4096]);
    while !said.contains("SIGUSR2: starting") || !said.ends_with('\n') {
        let bytes = pipe.read(&mut page).unwrap();
        said.push_str(std::str::from_utf8(&page[..bytes]).unwrap());
    }
    // There is room to say that the new process serves, and none for another line behind it.
    let room = "mmem: SIGUSR2: the new process serves\n".len();
    let full = format!("dd if=/dev/zero of={} bs=4096 count=10000 oflag=nonblock", installed.said.display());
    Command::new("sh").args(["-c", &full]).stderr(Stdio::null()).status().unwrap();
    pipe.read_exact(&mut page).unwrap();
    pipe.write_all(&page[room..]).unwrap();
    fs::write(&gate, "\n").unwrap();
    let new = eventually(|| Some(installed.pid()).filter(|id| *id != child.id()));
    // What it has given away it drops when it has heard that the new one serves.
    eventually(|| (!has_open(child.id(), "/memfd:mmem")).then_some(()));
    fs::remove_file(&gate).unwrap();
    Ending { installed, old: child, new, server, said: pipe }
}

#[test]
fn a_signal_at_the_very_end_of_an_upgrade_ends_the_new_process() {
    let mut ending = at_the_very_end("upgrade-last-signal");
    send_signal(ending.old.id(), "-TERM");
    ending.go_on();
    ending.is_over();
}

#[test]
fn a_signal_to_both_processes_of_an_upgrade_is_one() {
    for first in ["new", "old"] {
        let mut ending = at_the_very_end(&format!("upgrade-signal-{first}-first"));
        let [mut idle, mut client] = [0; 2].map(|_| Client::connect(&ending.server));
        assert_eq!(idle.ask("mn\n"), "MN\n");
        // What is asked for in one go is received so.
        assert_eq!(client.ask("mn\nset k 0 0 4\nab"), "MN\n");
        send_signal(ending.old.id(), "-TERM");
        if first == "old" {
            ending.go_on();
            assert_eq!(idle.line(), "", "the server is ending");
        }
        send_signal(ending.new, "-TERM");
        if first == "new" {
            assert_eq!(idle.line(), "", "the server is ending");
            ending.go_on();
        }
        assert_eq!(client.ask("cd\n"), "STORED\n");
        ending.is_over();
    }
}
