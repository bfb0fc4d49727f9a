//! `-e`: a server that is restarted has its items, or says why not; it never has a wrong one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::world::{
    Client, Server, by_nobody_else, drain, eventually, file, has_mapped, run, send_signal, stalling,
};

/// A memory file of its own for each test, which goes with it.
struct Memory(PathBuf);

impl Memory {
    fn new(name: &str) -> Self {
        Self(file(name))
    }

    fn book(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".meta");
        path.into()
    }

    /// Starts a server with it. One that is started by root stays root, since others may not write here.
    fn start(&self, name: &str, options: &str) -> Server {
        Server::start(name, &format!("mmem {}", self.line(options)))
    }

    fn line(&self, options: &str) -> String {
        format!("-p -1 -l 127.0.0.1 -u root -e {} {options}", self.0.display())
    }

    /// Starts a server with it that stalls before it serves; the pipe that it waits for.
    fn start_stalled(&self, name: &str, options: &str) -> (Server, PathBuf) {
        let pipe = file(&format!("{name}-pipe"));
        let mut command = Command::new("sh");
        command.args(["-c", &stalling(&pipe), "sh"]).args(self.line(options).split_whitespace());
        by_nobody_else(&mut command);
        (Server::start_by(&format!("{name}-ports"), command.stdin(Stdio::null())), pipe)
    }

    /// Waits until a server has opened the store.
    fn is_open_in(&self, pid: u32) {
        let name = self.0.file_name().unwrap().to_str().unwrap();
        eventually(|| has_mapped(pid, name).then_some(()));
    }

    /// Has a server leave an item there.
    fn fill(&self, name: &str) {
        let server = self.start(name, "");
        assert_eq!(Client::connect(&server).ask("set k 0 0 1\n1\n"), "STORED\n");
        assert_eq!(restart_later(server), Some(0));
    }

    /// Whether the next server has that item.
    fn is_filled(&self, name: &str) -> bool {
        let mut server = self.start(name, "");
        told(&mut server).ends_with(": the items that were left there are back\n")
            && Client::connect(&server).ask("mg k s\n") == "HD s1\n"
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
        drop(fs::remove_file(self.book()));
    }
}

/// Has a server save its items and end; its exit code.
fn restart_later(mut server: Server) -> Option<i32> {
    send_signal(server.child.id(), "-USR1");
    server.child.wait().unwrap().code()
}

/// What a server says of its memory.
fn told(server: &mut Server) -> String {
    loop {
        let line = server.next_line();
        if line.contains(": -e ") {
            return line;
        }
    }
}

fn cas(client: &mut Client, key: &str) -> String {
    let line = client.ask(format!("mg {key} c v\n"));
    let value = client.line();
    format!("{line}{value}")
}

#[test]
fn a_restarted_server_has_its_items() {
    let memory = Memory::new("restart");
    let large = "x".repeat(300_000);
    let mut before = Vec::new();
    // The number of shards changes, and each start finds what the one before has left.
    for (round, shards) in [1, 2, 3, 1].into_iter().enumerate() {
        let mut server = memory.start("restart-ports", &format!("-t {shards}"));
        if round != 0 {
            let line = told(&mut server);
            assert!(line.ends_with(": the items that were left there are back\n"), "{line}");
        }
        let mut client = Client::connect(&server);
        let found: Vec<String> =
            (0..100 * round).map(|number| cas(&mut client, &format!("k{number}"))).collect();
        assert_eq!(found, before);
        for number in 100 * round..100 * (round + 1) {
            assert_eq!(client.ask(format!("set k{number} 7 0 5\nv-{:03}\n", number % 1000)), "STORED\n");
        }
        if round == 0 {
            assert_eq!(client.ask(format!("set large 0 1000 300000\n{large}\n")), "STORED\n");
        }
        assert_eq!(client.ask("get large\n"), "VALUE large 0 300000\n");
        assert_eq!((client.line().trim_end(), client.line()), (large.as_str(), "END\n".to_owned()));
        before = (0..100 * (round + 1)).map(|number| cas(&mut client, &format!("k{number}"))).collect();
        assert_eq!(client.stat("", "curr_items"), before.len().saturating_add(1).to_string());
        assert_eq!(client.stat(" settings", "memory_file"), memory.0.display().to_string());
        assert_eq!(restart_later(server), Some(0));
    }
}

#[test]
fn the_pause_counts_for_expiry() {
    let memory = Memory::new("pause");
    let server = memory.start("pause-ports", "");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set short 0 3 1\n1\n"), "STORED\n");
    assert_eq!(client.ask("set long 0 1000 1\n1\n"), "STORED\n");
    let left_s = |client: &mut Client| {
        let line = client.ask("mg long t\n");
        line.trim_end().strip_prefix("HD t").unwrap().parse::<u64>().unwrap()
    };
    let before_s = left_s(&mut client);
    let began = std::time::Instant::now();
    assert_eq!(restart_later(server), Some(0));
    eventually(|| (began.elapsed().as_secs() >= 4).then_some(()));
    let server = memory.start("pause-ports", "");
    let mut client = Client::connect(&server);
    let passed_s = before_s - left_s(&mut client);
    assert!((3..=began.elapsed().as_secs() + 1).contains(&passed_s), "{passed_s}");
    assert_eq!(client.ask("get short\n"), "END\n");
}

/// Starts on what `harm` has made of a memory that was left in order; the reason given for starting empty.
fn refused(name: &str, options: &str, harm: impl Fn(&Path, &Path)) -> String {
    let memory = Memory::new(name);
    let server = memory.start(&format!("{name}-ports"), "-t 1");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    assert_eq!(restart_later(server), Some(0));
    harm(&memory.0, &memory.book());
    let mut server = memory.start(&format!("{name}-ports"), options);
    let line = told(&mut server);
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("get k\n"), "END\n");
    assert_eq!(client.ask("set k 0 0 1\n2\n"), "STORED\n");
    assert_eq!(restart_later(server), Some(0), "it can be left in order again");
    let start = format!("mmem: -e {}: the cache starts empty: ", memory.0.display());
    line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")).trim_end().to_owned()
}

fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_cannot_be_used_is_named_and_the_server_starts_empty() {
    let limit = refused("limit", "-m 65", |_, _| {});
    assert_eq!(limit, "it was left with a limit of 64 MiB, not 65");
    let foreign = refused("foreign", "", |_, book| fs::write(book, "nothing like it").unwrap());
    assert_eq!(foreign, "it was not left by a server of this kind");
    let cut = refused("cut", "", |_, book| change(book, |bytes| bytes.truncate(bytes.len() / 2)));
    assert_eq!(cut, "its book is damaged");
    let version = refused("version", "", |_, book| change(book, |bytes| bytes[24] ^= 64));
    assert!(version.starts_with("it is of version "), "{version}");
    let shorter = refused("shorter", "", |memory, _| {
        fs::OpenOptions::new().write(true).open(memory).unwrap().set_len(4096).unwrap();
    });
    assert!(shorter.starts_with("it has 4096 bytes, of "), "{shorter}");
    let other = refused("other", "", |memory, _| {
        let len = fs::metadata(memory).unwrap().len();
        fs::File::create(memory).unwrap().set_len(len).unwrap();
    });
    assert!(other.starts_with("its book is of another time"), "{other}");
    let absent = refused("absent", "", |_, book| fs::remove_file(book).unwrap());
    assert_eq!(absent, "it was not left in order: there is no book beside it");
}

#[test]
fn a_file_is_one_servers() {
    let memory = Memory::new("locked");
    let pids = file("locked-pid");
    let server = memory.start("locked-ports", &format!("-P {}", pids.display()));
    let (said, code) = run(&format!("mmem {}", memory.line(&format!("-P {}", pids.display()))));
    assert_eq!(fs::read_to_string(&pids).unwrap(), format!("{}\n", server.child.id()));
    assert_eq!(said, format!("mmem: -e {}: another server uses it\n", memory.0.display()));
    assert_eq!(code, 71);
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (said, code) = run(&format!("mmem -p -1 -u root -e {folder}"));
    assert!(said.starts_with(&format!("mmem: -e {folder}: ")) && code == 71, "{said}");
    fs::remove_file(&pids).unwrap();
}

/// A folder whose file system has room for a few hundred MiB at least and tells how much, in MiB.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn folder_with_room() -> (&'static str, u64) {
    let room_of = |folder| {
        let told = Command::new("df").args(["-Pm", folder]).output().ok()?.stdout;
        let columns = String::from_utf8(told).ok()?;
        let room_mib: u64 = columns.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
        // Twice as much must still be a limit that the program takes.
        (300..1 << 23).contains(&room_mib).then_some((folder, room_mib))
    };
    ["/dev/shm", env!("CARGO_TARGET_TMPDIR")].into_iter().find_map(room_of).unwrap()
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_limit_that_the_files_system_has_no_room_for_is_refused() {
    let (folder, room_mib) = folder_with_room();
    let memory = Memory(Path::new(folder).join(format!("mmem-test-room-{}", std::process::id())));
    let too_much = 2 * room_mib;
    for options in ["-t 1", "-t 2", "-d -t 2"] {
        let (said, code) = run(&format!("mmem {}", memory.line(&format!("{options} -m {too_much}"))));
        let start = format!("mmem: -e {}: its file system has room for ", memory.0.display());
        assert!(said.starts_with(&start), "{said}");
        assert!(said.contains(&format!(" MiB of the {too_much} MiB of -m; ")), "{said}");
        assert_eq!((said.lines().count(), code), (1, 71), "{said}");
    }
    let server = memory.start("room-ports", &format!("-m {}", room_mib / 2));
    let mut client = Client::connect(&server);
    assert_eq!(
        client.ask(format!("cache_memlimit {}\n", room_mib / 2 * 3)),
        "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\n"
    );
    assert_eq!(client.ask(format!("cache_memlimit {}\n", room_mib / 2 + 1)), "OK\n");
    let limit = (room_mib / 2 + 1) << 20;
    assert_eq!(client.stat("", "limit_maxbytes"), limit.to_string());
}

#[test]
fn a_server_that_is_not_asked_to_keeps_nothing() {
    let memory = Memory::new("ended");
    let mut server = memory.start("ended-ports", "");
    assert_eq!(Client::connect(&server).ask("set k 0 0 1\n1\n"), "STORED\n");
    send_signal(server.child.id(), "-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(!memory.book().exists());
}

#[test]
fn shutdown_graceful_keeps_items_too() {
    let memory = Memory::new("graceful");
    let mut server = memory.start("graceful-ports", "-A");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
    client.send("shutdown graceful\n");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let server = memory.start("graceful-ports", "");
    assert_eq!(Client::connect(&server).ask("get k\n"), "VALUE k 0 1\n");
}

/// Writes versions of a few keys as fast as it goes, until the server is gone; `wrote` is called after each.
fn write_until_killed(server: &Server, first: u32, wrote: impl Fn()) -> u32 {
    let mut client = Client::connect(server);
    let mut version = first;
    loop {
        let writes: String = (0..50_u32).map(|key| format!("set k{key} 0 0 10\n{version:010}\n")).collect();
        if !client.try_send(writes) {
            return version;
        }
        for _ in 0..50 {
            match client.try_line().as_deref() {
                Some("STORED\n") => {}
                _ => return version,
            }
        }
        version += 1;
        wrote();
    }
}

#[test]
fn a_killed_server_never_has_a_wrong_value() {
    let memory = Memory::new("killed");
    let mut version = 0;
    for round in 0..6 {
        let mut server = memory.start("killed-ports", ["-t 1", "-t 2"][round % 2]);
        let mut client = Client::connect(&server);
        // Each second round begins with what was left in order.
        for key in 0..50 {
            let line = client.ask(format!("get k{key}\n"));
            let expected = if round % 2 == 0 { "END\n".to_owned() } else { format!("VALUE k{key} 0 10\n") };
            assert_eq!(line, expected, "round {round}");
            if round % 2 == 1 {
                assert_eq!(client.line(), format!("{version:010}\n"));
                assert_eq!(client.line(), "END\n");
            }
        }
        if round % 2 == 0 {
            version += 1;
            for key in 0..50 {
                assert_eq!(client.ask(format!("set k{key} 0 0 10\n{version:010}\n")), "STORED\n");
            }
            assert_eq!(restart_later(server), Some(0));
        } else {
            let pid = server.child.id();
            let (wrote, written) = channel();
            // In the midst of writing: the signal takes as long as a process to start.
            let killer = std::thread::spawn(move || {
                written.recv().unwrap();
                send_signal(pid, "-KILL");
            });
            version = write_until_killed(&server, version + 1, || wrote.send(()).unwrap_or(()));
            killer.join().unwrap();
            server.child.wait().unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_that_fails_leaves_the_items_to_the_next() {
    let memory = Memory::new("failed");
    for (shards, expected) in [(1, "EN\n"), (2, "HD s1\n")] {
        let options = format!("-m 1024 -t {shards}");
        let server = memory.start("failed-ports", &options);
        let mut client = Client::connect(&server);
        assert_eq!(client.ask("mg k s\n"), expected);
        assert_eq!(client.ask("set k 0 0 1\n1\n"), "STORED\n");
        assert_eq!(restart_later(server), Some(0));
        // So little address space is enough for all but the items.
        let line = format!("-p -1 -l 127.0.0.1 -u root -e {} {options}", memory.0.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 1000000 && exec $0", &format!("{} {line}", env!("CARGO_BIN_EXE_mmem"))]);
        let failed = shell.output().unwrap();
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && said.contains("-m 1024: "), "{said}");
    }
    let mut server = memory.start("failed-ports", "-m 1024");
    assert!(told(&mut server).ends_with(": the items that were left there are back\n"));
    assert_eq!(Client::connect(&server).ask("mg k s\n"), "HD s1\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_for_which_there_are_too_few_files_leaves_the_items_to_the_next() {
    let memory = Memory::new("few-files");
    memory.fill("few-files-ports");
    // As many as one connection needs, and with each attempt more of those that the shards need.
    for files in 65.. {
        let mut shell = Command::new("sh");
        let start = format!("ulimit -n {files} && exec \"$@\"");
        shell.args(["-c", &start, "sh", env!("CARGO_BIN_EXE_mmem"), "-c", "1", "-t", "20"]);
        shell.args(memory.line("").split_whitespace()).env_remove("MEMCACHED_PORT_FILENAME");
        let mut child = shell.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.ends_with(": the items that were left there are back\n") {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                break;
            }
        }
        // It serves, or still fails.
        if !line.is_empty() {
            send_signal(child.id(), "-USR1");
        }
        let ended = child.wait().unwrap();
        assert!(memory.book().exists(), "{files} files");
        if ended.success() {
            assert!(files > 65, "the first start had enough files");
            break;
        }
    }
    assert!(memory.is_filled("few-files-ports"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_that_a_signal_ends_leaves_the_items_to_the_next() {
    let memory = Memory::new("signalled");
    memory.fill("signalled-ports");
    for (round, (signal, code)) in
        [("-TERM", Some(0)), ("-INT", Some(0)), ("-USR1", Some(0)), ("-KILL", None)].into_iter().enumerate()
    {
        let options = ["-t 1", "-t 2"][round % 2];
        let (mut server, pipe) = memory.start_stalled("signalled", options);
        memory.is_open_in(server.child.id());
        // That does not end it.
        send_signal(server.child.id(), "-HUP");
        send_signal(server.child.id(), signal);
        let reader = code.map(|_| drain(&pipe));
        assert_eq!(server.child.wait().unwrap().code(), code, "{signal}");
        reader.into_iter().for_each(|mut reader| assert!(reader.wait().unwrap().success()));
        fs::remove_file(&pipe).unwrap();
        assert!(memory.book().exists(), "{signal}");
    }
    assert!(memory.is_filled("signalled-ports"));
    assert!(!memory.book().exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_comes_while_items_are_loaded_ends_that_and_leaves_them_to_the_next_start() {
    let memory = Memory::new("loading");
    memory.fill("loading-ports");
    let whole = fs::read(memory.book()).unwrap();
    for (signal, options) in [("-TERM", "-t 1"), ("-INT", "-t 2"), ("-USR1", "-t 1")] {
        // The server waits for its book.
        fs::remove_file(memory.book()).unwrap();
        assert!(Command::new("mkfifo").arg(memory.book()).status().unwrap().success());
        let mut server = memory.start("loading-ports", &format!("-v {options}"));
        let mut book = fs::OpenOptions::new().write(true).open(memory.book()).unwrap();
        send_signal(server.child.id(), signal);
        book.write_all(&whole).unwrap();
        drop(book);
        let mut said = String::new();
        server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{said}");
        assert!(said.ends_with("mmem: stopped\n"), "{said}");
        assert!(!said.contains(" items "), "they were loaded first: {said}");
        fs::remove_file(memory.book()).unwrap();
        fs::write(memory.book(), &whole).unwrap();
    }
    assert!(memory.is_filled("loading-ports"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_in_the_background_whose_caller_is_gone_leaves_the_items_to_the_next() {
    let memory = Memory::new("uncalled");
    memory.fill("uncalled-ports");
    let pids = file("uncalled-pid");
    let (mut server, pipe) = memory.start_stalled("uncalled", &format!("-d -P {}", pids.display()));
    let pid = eventually(|| fs::read_to_string(&pids).ok()?.trim().parse().ok());
    memory.is_open_in(pid);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    // Nobody hears that it serves.
    let said = String::from_utf8(drain(&pipe).wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("\nmmem: -d: nobody hears that it serves: "), "{said}");
    fs::remove_file(&pipe).unwrap();
    assert!(!pids.exists());
    assert!(memory.is_filled("uncalled-ports"));
}
