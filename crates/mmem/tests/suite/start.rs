//! Where the program listens, what it says, how it ends.

use std::fs;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::world::{
    Server, converse, eventually, file, is_root, port_in, program, run, status_of, terminate,
};

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
fn a_port_in_use_in_one_family_is_no_port_to_serve_on() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = other.local_addr().unwrap().port();
    let message = format!("mmem: cannot listen on [::1]:{port}: address already in use\n");
    assert_eq!(run(&format!("mmem -p {port}")), (message, 71));
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
    for driver in ["epoll", "poll", "uring"] {
        let mut server = Server::start("greeting", &format!("mmem -p -1 --driver {driver}"));
        let line = server.first_line();
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
