//! SIGUSR2: a new process goes on with listeners, connections and items; where it cannot, the old one does.

mod signals;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::{
    Client, DRIVERS, Server, by_nobody_else, eventually, file, has_mapped, is_root, port_in,
    processors_of_shards, send_signal, stalling, terminate,
};

/// A copy of the program, which a test may replace by something else.
struct Installed {
    program: PathBuf,
    pid_file: PathBuf,
    said: PathBuf,
}

impl Installed {
    fn new(name: &str) -> Self {
        let program = file(&format!("{name}-program"));
        fs::copy(env!("CARGO_BIN_EXE_mmem"), &program).unwrap();
        Self { program, pid_file: file(&format!("{name}-pid")), said: file(&format!("{name}-said")) }
    }

    fn start(&self, name: &str, options: &str) -> (Child, Server) {
        let ports = file(&format!("{name}-ports"));
        let pid_file = name_of(&self.pid_file);
        let line = format!("-p -1 -l 127.0.0.1 -u root -P {pid_file} {options}");
        let mut command = Command::new(&self.program);
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        command.arg0(&self.program).args(line.split_whitespace()).stdin(Stdio::null());
        by_nobody_else(&mut command);
        command.env("MEMCACHED_PORT_FILENAME", &ports);
        command.stderr(fs::File::create(&self.said).unwrap());
        // While another test starts a program, that may have inherited the copy as a file to be written.
        let mut child = eventually(|| match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
            spawned => Some(spawned.unwrap()),
        });
        // From here on it ends with the test, even before it has a file of its id.
        let port = match catch_unwind(|| port_in(&ports)) {
            Ok(port) => port,
            Err(panic) => {
                drop(child.kill());
                resume_unwind(panic);
            }
        };
        // A stand-in that has only the port: the process behind it changes.
        let stand_in = Command::new("true").spawn().unwrap();
        (child, Server { child: stand_in, port, udp_port: 0 })
    }

    fn pid(&self) -> u32 {
        eventually(|| fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok())
    }

    /// Puts a script in the program's place.
    fn replace_by(&self, script: &str) {
        let beside = self.program.with_extension("new");
        fs::write(&beside, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&beside, &self.program).unwrap();
    }

    /// Has an upgrade fail when the new process could serve, as the one before, which was number `round`, from 0.
    fn fails(&self, child: &Child, round: usize) {
        self.replace_by("printf r >&0; exit 4");
        let failures = || {
            let said = fs::read_to_string(&self.said).unwrap();
            said.matches("; this process goes on serving").count()
        };
        send_signal(child.id(), "-USR2");
        eventually(|| (failures() > round).then_some(()));
    }

    fn said(&self, what: &str) -> bool {
        fs::read_to_string(&self.said).unwrap().contains(what)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(&self.pid_file) {
            drop(Command::new("kill").args(["-KILL", pid.trim()]).status());
        }
        for path in [&self.program, &self.pid_file, &self.said] {
            drop(fs::remove_file(path));
        }
    }
}

/// A file's name, by which it is found in its folder.
fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Upgrades; the new process's id.
fn upgrade(installed: &Installed, old: &mut Child) -> u32 {
    let old_pid = installed.pid();
    send_signal(old_pid, "-USR2");
    if old.id() == old_pid {
        assert!(old.wait().unwrap().success(), "{}", fs::read_to_string(&installed.said).unwrap());
    } else {
        eventually(|| (!Path::new(&format!("/proc/{old_pid}")).exists()).then_some(()));
    }
    let pid = installed.pid();
    assert_ne!(pid, old_pid);
    pid
}

fn goes_on_after(name: &str, options: &str) {
    let installed = Installed::new(name);
    let (mut child, server) = installed.start(name, options);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    assert_eq!(clients[0].ask("cache_memlimit 50\n"), "OK\n");
    let large = "x".repeat(400_000);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(format!("set k{number} 5 100 2\nhi\n")), "STORED\n");
    }
    assert_eq!(clients[0].ask(format!("set large 0 0 400000\n{large}\n")), "STORED\n");
    for round in 0..2 {
        // One in the middle of a line, one in the middle of a short value, one that does not read, one that stays
        // silent.
        clients[1].send("mg k1 f");
        clients[2].send(format!("set new{round} 0 0 4\nab"));
        clients[3].send("get large\n");
        upgrade(&installed, &mut child);
        for (number, client) in clients.iter_mut().enumerate().skip(4) {
            assert_eq!(client.ask(format!("mg k{number} f v\n")), "VA 2 f5\n");
            assert_eq!(client.line(), "hi\n");
        }
        assert_eq!(clients[1].ask("\n"), "HD f5\n");
        assert_eq!(clients[2].ask("cd\n"), "STORED\n");
        assert_eq!(clients[3].line(), "VALUE large 0 400000\n");
        assert_eq!((clients[3].line().trim_end(), clients[3].line()), (large.as_str(), "END\n".to_owned()));
        let mut fresh = Client::connect(&server);
        assert_eq!(fresh.ask(format!("mg new{round} s\n")), "HD s4\n");
        assert_eq!(fresh.stat("", "curr_items"), (21 + round + 1).to_string());
        assert_eq!(fresh.stat("", "limit_maxbytes"), (50 << 20).to_string());
        assert_eq!(fresh.stat("", "pid"), installed.pid().to_string());
    }
    let line = clients[4].ask("mg k4 t\n");
    let left_s: u32 = line.trim_end().strip_prefix("HD t").unwrap().parse().unwrap();
    assert!((1..=100).contains(&left_s), "{line}");
}

#[test]
fn a_new_process_goes_on_with_one_shard() {
    for driver in DRIVERS {
        goes_on_after(&format!("upgrade-one-{driver}"), &format!("-t 1 --driver {driver}"));
    }
}

#[test]
fn a_new_process_goes_on_with_several_shards() {
    for driver in DRIVERS {
        goes_on_after(&format!("upgrade-two-{driver}"), &format!("-t 2 --driver {driver}"));
    }
}

#[test]
fn a_new_process_goes_on_with_a_memory_file() {
    let memory = file("upgrade-memory");
    goes_on_after("upgrade-file", &format!("-e {}", memory.display()));
    drop(fs::remove_file(&memory));
}

#[test]
fn the_threads_of_a_new_process_are_pinned_as_those_of_the_old_one() {
    let installed = Installed::new("upgrade-pinned");
    let (mut child, server) = installed.start("upgrade-pinned", "-t 2 --pin");
    assert_eq!(Client::connect(&server).ask("version\n"), "VERSION 1.6.45\n");
    let before = processors_of_shards(installed.pid());
    assert_eq!(before.len(), 2);
    upgrade(&installed, &mut child);
    assert_eq!(Client::connect(&server).ask("version\n"), "VERSION 1.6.45\n");
    assert_eq!(processors_of_shards(installed.pid()), before);
}

#[test]
fn where_the_new_process_fails_the_old_one_goes_on() {
    let installed = Installed::new("upgrade-fails");
    let (mut child, server) = installed.start("upgrade-fails", "-t 2");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    let pid = installed.pid();
    for (number, (script, why)) in [
        ("exit 3", "exit status: 3"),
        ("printf x >&0; exec sleep 60", "signal: 9 (SIGKILL)"),
        // These two fail after they have said that they could serve.
        ("printf r >&0; exit 4", "exit status: 4"),
        ("printf r >&0; head -c 100 <&0 >/dev/null; exit 5", "exit status: 5"),
    ]
    .into_iter()
    .enumerate()
    {
        installed.replace_by(script);
        send_signal(pid, "-USR2");
        let expected =
            format!("SIGUSR2: the upgrade failed: the new process has ended ({why}); this process goes on");
        eventually(|| installed.said(&expected).then_some(()));
        assert_eq!(client.ask(format!("set k{number} 0 0 1\n1\n")), "STORED\n");
        assert_eq!(client.ask("get k\n"), "VALUE k 0 1\n");
        assert_eq!((client.line(), client.line()), ("1\n".to_owned(), "END\n".to_owned()));
        assert_eq!(Client::connect(&server).ask("get k\n"), "VALUE k 0 1\n");
    }
    fs::remove_file(&installed.program).unwrap();
    send_signal(pid, "-USR2");
    eventually(|| installed.said("the upgrade failed: No such file or directory").then_some(()));
    fs::copy(env!("CARGO_BIN_EXE_mmem"), &installed.program).unwrap();
    upgrade(&installed, &mut child);
    assert_eq!(client.ask("get k\n"), "VALUE k 0 1\n");
}

#[test]
fn where_the_new_process_fails_the_old_one_goes_on_counting() {
    for shards in ["-t 1", "-t 2"] {
        let installed = Installed::new("upgrade-counts");
        let (mut child, server) = installed.start("upgrade-counts", shards);
        let mut client = Client::connect(&server);
        assert_eq!(client.ask("verbosity 1\n"), "OK\n");
        assert_eq!(client.ask("stats detail on\n"), "OK\n");
        assert_eq!(client.ask("set a:k 0 0 1\n1\n"), "STORED\n");
        assert_eq!(client.ask("get none\n"), "END\n");
        assert_eq!(client.ask("incr a:k 1\n"), "2\n");
        let mut other = Client::connect(&server);
        assert_eq!(other.ask("mn\n"), "MN\n");
        for round in 0..2 {
            installed.fails(&child, round);
            assert_eq!(client.stat(" settings", "verbosity"), "1");
            let prefixes = client.lines_of("stats detail dump\n");
            assert_eq!(prefixes, ["PREFIX a get 0 hit 0 set 1 del 0\n"]);
            assert_eq!(client.stat("", "cmd_set"), "1");
            assert_eq!(client.stat("", "get_misses"), "1");
            assert_eq!(client.stat("", "incr_hits"), "1");
            assert_eq!(client.stat("", "total_items"), "1");
            assert_eq!(client.stat("", "total_connections"), "2");
            assert_eq!(client.stat("", "curr_connections"), "2");
        }
        send_signal(child.id(), "-TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn where_the_new_process_fails_what_the_store_has_counted_goes_on() {
    let memory = file("upgrade-counted-memory");
    for options in ["-t 1 -m 4", "-t 2 -m 4", "-t 1 -m 4 -e upgrade-counted-memory"] {
        let options = options.replace("upgrade-counted-memory", name_of(&memory));
        let installed = Installed::new("upgrade-counted");
        let (mut child, server) = installed.start("upgrade-counted", &options);
        let mut client = Client::connect(&server);
        assert_eq!(client.ask("set dead 0 -1 1\n1\n"), "STORED\n");
        assert_eq!(client.ask("get dead\n"), "END\n");
        let value = "x".repeat(50_000);
        for number in 0..200 {
            assert_eq!(client.ask(format!("set k{number} 0 0 50000\n{value}\n")), "STORED\n");
        }
        assert_eq!(client.ask("set number 0 0 1\n1\n"), "STORED\n");
        assert_eq!(client.ask("incr number 1\n"), "2\n");
        let counted = |client: &mut Client| {
            let names = ["evictions", "evicted_unfetched", "reclaimed", "expired_unfetched", "get_expired"];
            names.map(|name| client.stat("", name).parse::<u64>().unwrap())
        };
        let mut before = counted(&mut client);
        for round in 0..2 {
            installed.fails(&child, round);
            let after = counted(&mut client);
            let goes_on = |(before, after): (&u64, &u64)| *before > 0 && before <= after;
            assert!(before.iter().zip(&after).all(goes_on), "{options}: {before:?}, then {after:?}");
            before = after;
            assert_eq!(client.stat("", "total_items"), "202");
        }
        send_signal(child.id(), "-TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    fs::remove_file(&memory).unwrap();
}

#[test]
fn in_the_background_files_are_those_of_the_folder_where_it_was_started() {
    let installed = Installed::new("upgrade-folder");
    let memory = file("upgrade-folder-memory");
    let options = format!("-d -v -t 2 -e {}", name_of(&memory));
    let (mut child, server) = installed.start("upgrade-folder", &options);
    assert!(child.wait().unwrap().success());
    let works_in = |pid| fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(works_in(installed.pid()), Path::new("/"));
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    for _ in 0..2 {
        assert_eq!(works_in(upgrade(&installed, &mut child)), Path::new("/"));
        assert_eq!(client.ask("mg k s\n"), "HD s1\n");
    }
    // It fails after it has said that it could serve: the memory comes back, and is still to be kept.
    installed.replace_by("printf r >&0; exit 4");
    let pid = installed.pid();
    send_signal(pid, "-USR2");
    eventually(|| installed.said("has ended (exit status: 4); this process goes on").then_some(()));
    assert_eq!(client.ask("mg k s\n"), "HD s1\n");
    send_signal(pid, "-USR1");
    let mut book = memory.clone().into_os_string();
    book.push(".meta");
    eventually(|| fs::remove_file(&book).ok());
    fs::remove_file(&memory).unwrap();
}

/// Upgrades to a process that takes the memory over and then hangs.
fn hangs_with_the_memory(name: &str, options: &str, mapped_as: &str) {
    let installed = Installed::new(name);
    let (mut child, server) = installed.start(name, options);
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    let pid = installed.pid();
    // Nobody reads what it says, and the pipe is full.
    let pipe = file(&format!("{name}-pipe"));
    installed.replace_by(&stalling(&pipe));
    send_signal(pid, "-USR2");
    let successor = eventually(|| Some(installed.pid()).filter(|id| *id != pid));
    eventually(|| has_mapped(successor, mapped_as).then_some(()));
    eventually(|| installed.said("the new process did not say in time that it serves").then_some(()));
    assert_eq!(client.ask("mg k s\n"), "HD s1\n");
    assert_eq!(installed.pid(), pid);
    fs::remove_file(&pipe).unwrap();
    fs::remove_file(&installed.program).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_mmem"), &installed.program).unwrap();
    upgrade(&installed, &mut child);
    assert_eq!(client.ask("mg k s\n"), "HD s1\n");
}

#[test]
fn a_new_process_that_hangs_gives_the_memory_back() {
    hangs_with_the_memory("upgrade-hangs", "-t 1", "/memfd:mmem");
}

#[test]
fn a_new_process_that_hangs_gives_the_memory_file_back() {
    let memory = file("upgrade-hangs-memory");
    let options = format!("-t 2 -L -e {}", memory.display());
    hangs_with_the_memory("upgrade-hangs-file", &options, name_of(&memory));
    fs::remove_file(&memory).unwrap();
}

/// A process that is not left running, whatever becomes of the test.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status());
    }
}

/// Upgrades a process that has become nobody, in a folder that is closed to that user.
fn upgrades_as_nobody(name: &str, options: &str) {
    // Where any user may go, which the folder of the build may not be.
    let open = env::temp_dir().join(format!("mmem-{name}-{}", std::process::id()));
    let (closed, program, theirs) = (open.join("closed"), open.join("program"), open.join("theirs"));
    let path = theirs.join("socket");
    fs::create_dir_all(&closed).unwrap();
    fs::create_dir(&theirs).unwrap();
    assert!(Command::new("chown").arg("nobody").arg(&theirs).status().unwrap().success());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_mmem"), &program).unwrap();
    let mut command = Command::new(&program);
    let pid_file = open.join("mmem.pid");
    command.arg0(&program).args(["-u", "nobody", "-s"]).arg(&path).args(options.split_whitespace());
    command.arg("-P").arg(&pid_file);
    command.current_dir(&closed).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    by_nobody_else(&mut command);
    let mut child = eventually(|| match command.spawn() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
        spawned => Some(spawned.unwrap()),
    });
    let mut client = BufReader::new(eventually(|| UnixStream::connect(&path).ok()));
    let mut ask = |request: &str| {
        client.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        line
    };
    let mut pid = || -> u32 {
        let line = ask("stats\r\n");
        while ask("") != "END\r\n" {}
        line.trim_end().strip_prefix("STAT pid ").unwrap().parse().unwrap()
    };
    let old_pid = pid();
    let _ends = Killed(old_pid);
    send_signal(old_pid, "-USR2");
    let new_pid = eventually(|| Some(pid()).filter(|pid| *pid != old_pid));
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{new_pid}\n"));
    terminate(new_pid);
    eventually(|| (!path.exists()).then_some(()));
    fs::remove_dir_all(&open).unwrap();
}

#[test]
fn nobody_may_be_upgraded_in_a_folder_of_another_user() {
    if is_root() {
        upgrades_as_nobody("closed-folder", "");
        upgrades_as_nobody("closed-folder-background", "-d");
    }
}
