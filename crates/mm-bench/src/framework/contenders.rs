//! The echo servers that are compared.

use std::path::Path;
use std::process::Command;

use crate::machine::{Server, free_port, tell};

/// One server.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) server: Server,
}

/// Starts all that can be had, the epoll floor first, and says what is missing.
///
/// # Errors
/// A server that is there does not start.
pub(super) fn start(peers: &Path) -> Result<(Vec<Contender>, Vec<String>), String> {
    let mut list = Vec::new();
    let mut remarks = Vec::new();
    for (name, words) in [
        ("floor, epoll", ["floor", "echo-epoll"]),
        ("floor, uring", ["floor", "echo-uring"]),
        ("ours, handler", ["echo", "handler"]),
        ("ours, service", ["echo", "service"]),
        ("tokio", ["echo", "tokio"]),
    ] {
        match start_own(&words) {
            Ok(server) => list.push(Contender { name: name.to_owned(), server }),
            Err(complaint) if name.ends_with("uring") => {
                remarks.push(format!("{name} is left out: {complaint}"));
            }
            Err(complaint) => return Err(complaint),
        }
    }
    match start_libst(peers) {
        Ok(server) => list.push(Contender { name: "libst".to_owned(), server }),
        Err(complaint) => remarks.push(format!("libst is left out: {complaint}")),
    }
    Ok((list, remarks))
}

/// A server that is a command of this program.
pub(super) fn start_own(words: &[&str]) -> Result<Server, String> {
    tell(&format!("starting {}", words.join(" ")));
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(words).args(["--port", &port.to_string()]);
    Server::start(&mut command, port)
}

/// State Threads' echo server, compiled here.
fn start_libst(peers: &Path) -> Result<Server, String> {
    let source = peers.join("st_echo.c");
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let compiled = program.with_file_name("st_echo");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-o"]).arg(&compiled).arg(&source).arg("-lst");
    let output = compiler.output().map_err(|error| format!("cannot run cc: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{} does not compile; `apt-get install libst-dev` brings its library",
            source.display()
        ));
    }
    let port = free_port()?;
    Server::start(Command::new(compiled).arg(port.to_string()), port)
}
