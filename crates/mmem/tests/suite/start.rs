//! Where the program listens, what it says, how it ends.

use std::fs;
use std::io::Read;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::world::{
    Client, DRIVERS, Server, converse, eventually, file, is_root, port_in, program, run, send_signal,
    status_of, terminate,
};

#[test]
fn what_cannot_be_honoured_is_one_line_and_an_exit_code() {
    for (line, message, code) in [
        ("mmem --frobnicate", "mmem: --frobnicate: there is no such flag; -h lists them all\n", 1),
        (
            "memcached -o sock_cookie_id=7 -u root",
            "memcached: -o sock_cookie_id=7: marking sockets is not supported; leave it out\n",
            64,
        ),
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
    let folder = file("folder-for-pids");
    fs::create_dir(&folder).unwrap();
    let said = run(&format!("mmem -p -1 -u root -P {}", folder.display()));
    assert_eq!(said, (format!("mmem: -P {}: is a directory\n", folder.display()), 71));
    let name = folder.file_name().unwrap().to_str().unwrap();
    let beside = fs::read_dir(folder.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let left = beside.filter(|beside| beside.to_str().is_some_and(|beside| beside.starts_with(name))).count();
    assert_eq!(left, 1, "nothing is left behind");
    fs::remove_dir(&folder).unwrap();
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
fn a_port_in_use_in_one_family_is_no_port_to_serve_on() {
    let refused = |family: &str, port| {
        (format!("mmem: cannot listen on {family}:{port}: address already in use\n"), 71)
    };
    let Ok(mut other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    for _ in 0..10 {
        let port = other.local_addr().unwrap().port();
        let said = run(&format!("mmem -p {port}"));
        if said != refused("127.0.0.1", port) {
            assert_eq!(said, refused("[::1]", port));
            return;
        }
        // Somebody else of this machine has the same port of the other family: another port, then.
        other = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    }
    panic!("the other family's port is always in use");
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
    for driver in DRIVERS {
        let mut server = Server::start("greeting", &format!("mmem -p -1 --driver {driver}"));
        let line = server.next_line();
        assert!(line.starts_with(&format!("mmem: listening on 127.0.0.1:{}", server.port)), "{line}");
        assert!(line.contains(&format!("driver {driver}")), "{line}");
        converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    }
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
fn a_start_as_root_gives_nobody_else_what_a_pid_file_leads_to() {
    if !is_root() {
        return;
    }
    let (secret, pids) = (file("secret"), file("led-away.pid"));
    fs::write(&secret, "for root alone").unwrap();
    let pipe = || assert!(Command::new("mkfifo").arg(&pids).status().unwrap().success());
    let link = || std::os::unix::fs::symlink(&secret, &pids).unwrap();
    for lead in [&pipe as &dyn Fn(), &link] {
        lead();
        let (said, code) = run(&format!("mmem -u nobody -P {} -s /nonexistent/mmem.sock", pids.display()));
        assert_eq!(code, 71, "{said}");
        // Nobody may not remove it from this folder.
        let left = fs::symlink_metadata(&pids).unwrap();
        assert!(left.is_file() && left.len() == 0, "{:?}", fs::read_to_string(&pids));
        fs::remove_file(&pids).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "for root alone");
    }
    fs::write(&pids, "4194304\n").unwrap();
    run(&format!("mmem -u nobody -P {} -s /nonexistent/mmem.sock", pids.display()));
    assert_eq!(fs::read_to_string(&pids).unwrap(), "4194304\n", "it may be another server's");
    fs::remove_file(&pids).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn root_that_has_become_nobody_still_dumps_core() {
    if !is_root() {
        return;
    }
    for (options, may_dump) in [("", false), ("-r", true)] {
        let server = Server::start("core", &format!("mmem -p -1 -u nobody {options}"));
        converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
        // Such files of a process that may not dump core are root's.
        let owner = fs::metadata(format!("/proc/{}/environ", server.child.id())).unwrap().uid();
        assert_eq!(owner != 0, may_dump, "{options}");
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

#[test]
fn in_the_background_a_socket_of_the_folder_where_it_was_started_goes_with_the_server() {
    let (path, pids) = (file("background.sock"), file("background-socket.pid"));
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut command = program(&format!("mmem -d -u root -P {} -s {name}", pids.display()));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    converse(UnixStream::connect(&path).unwrap());
    terminate(fs::read_to_string(&pids).unwrap().trim().parse().unwrap());
    eventually(|| (!pids.exists()).then_some(()));
    eventually(|| (!path.exists()).then_some(()));
}

#[test]
fn other_signals_are_memcacheds() {
    let mut server = Server::start("signals", "mmem -p -1 -v");
    for signal in ["-HUP", "-HUP", "-USR1"] {
        converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
        send_signal(server.child.id(), signal);
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("mmem: SIGHUP: there is nothing to read again\n"), "{said}");
    assert!(said.ends_with("mmem: stopped\n"), "{said}");
}

#[test]
fn a_pid_file_may_lie_where_only_the_user_to_become_may_write() {
    if !is_root() {
        return;
    }
    let folder = file("pids-of-nobody");
    fs::create_dir(&folder).unwrap();
    assert!(Command::new("chown").arg("nobody").arg(&folder).status().unwrap().success());
    let pids = folder.join("mmem.pid");
    // A service manager takes most of root's rights away, that of writing everywhere among them.
    let line = format!("mmem -p -1 -u nobody -P {}", pids.display());
    let rights = "-all,+setuid,+setgid,+sys_resource";
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", rights, env!("CARGO_BIN_EXE_mmem")]).args(line.split(' ').skip(1));
    let ports = file("pids-of-nobody.ports");
    command.env("MEMCACHED_PORT_FILENAME", &ports);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    converse(TcpStream::connect(("127.0.0.1", port_in(&ports))).unwrap());
    assert_eq!(fs::read_to_string(&pids).unwrap().trim(), child.id().to_string());
    terminate(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!pids.exists());
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_pid_file_in_a_folder_of_another_user_leads_to_no_other_file() {
    if !is_root() {
        return;
    }
    let (folder, victim) = (file("pids-led-away"), file("overwritten"));
    fs::create_dir(&folder).unwrap();
    fs::write(&victim, "a file of root's").unwrap();
    let (link, name) = (folder.join("link.pid"), folder.join("name.pid"));
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    fs::hard_link(&victim, &name).unwrap();
    assert!(Command::new("chown").arg("nobody").arg(&folder).status().unwrap().success());
    for (pids, account) in [(&link, "root"), (&link, "nobody"), (&name, "root"), (&name, "nobody")] {
        let line = format!("-p -1 -u {account} -P {} -s /nonexistent/mmem.sock", pids.display());
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-all,+setuid,+setgid,+sys_resource", env!("CARGO_BIN_EXE_mmem")]);
        let output = command.args(line.split(' ')).env("MEMCACHED_PORT_FILENAME", pids).output().unwrap();
        assert_eq!(output.status.code(), Some(71), "{output:?}");
        assert_eq!(
            fs::read_to_string(&victim).unwrap(),
            "a file of root's",
            "{} as {account}",
            pids.display()
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_listeners_are_told_as_they_are() {
    let mut server = Server::start("listeners", "mmem -p -1 -U -1");
    let has_ipv6 = server.next_line().contains("[::1]");
    let lines = Client::connect(&server).lines_of("stats conns\n");
    let told = |what: &str| lines.iter().filter(|line| line.ends_with(what)).count();
    let (tcp, udp) = (server.port, server.udp_port);
    assert_eq!(told(&format!(":addr tcp:127.0.0.1:{tcp}\n")), 1, "{lines:?}");
    assert_eq!(told(&format!(":addr udp:127.0.0.1:{udp}\n")), 1, "{lines:?}");
    assert_eq!(told(&format!(":addr tcp6:[::1]:{tcp}\n")), usize::from(has_ipv6), "{lines:?}");
    assert_eq!(told(&format!(":addr udp6:[::1]:{udp}\n")), usize::from(has_ipv6), "{lines:?}");
    assert_eq!(told(&format!(":listen_addr tcp:127.0.0.1:{tcp}\n")), 1, "{lines:?}");
}

#[test]
fn settings_without_effect_are_shown_as_given() {
    let flags =
        "-o hot_lru_pct=10,warm_max_factor=3,no_lru_crawler,hashpower=17,slab_chunk_max=16k,temporary_ttl=9";
    let server = Server::start("shown", &format!("mmem -p -1 -l proto[ascii]:127.0.0.1 {flags}"));
    let mut client = Client::connect(&server);
    for (name, value) in [
        ("hot_lru_pct", "10"),
        ("warm_lru_pct", "40"),
        ("warm_max_factor", "3.00"),
        ("lru_crawler", "no"),
        ("hashpower_init", "17"),
        ("slab_chunk_max", "16384"),
        ("temp_lru", "yes"),
        ("temporary_ttl", "9"),
        ("inter", "proto[ascii]:127.0.0.1"),
    ] {
        assert_eq!(client.stat(" settings", name), value, "{name}");
    }
}

#[test]
fn more_threads_than_processors_are_remarked_upon() {
    let mut server = Server::start("threads", "mmem -p -1 -t 250");
    let line = server.next_line();
    assert!(line.starts_with("mmem: -t 250: more threads than the "), "{line}");
    converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
}

#[test]
fn little_memory_is_served_by_fewer_threads_than_were_asked_for() {
    let mut server = Server::start("threads-memory", "mmem -p -1 -m 1 -I 512k -t 64");
    let line = server.next_line();
    assert!(line.starts_with("mmem: -t 64: 32 threads serve, because "), "{line}");
    assert!(line.contains(" -m 1 "), "{line}");
    let mut client = Client::connect(&server);
    assert_eq!(client.stat("", "threads"), "32");
    converse(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
}
