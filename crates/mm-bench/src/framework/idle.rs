//! User-space memory of connections that have each been used once and then say nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::contenders::start_own;
use super::print;
use super::servers::raise_descriptors;
use crate::machine::{Server, tell};

/// How many connections.
const COUNTS: [usize; 2] = [5_000, 20_000];

/// Connections made before anything is measured, so that what all have in common is there.
const FIRST: usize = 500;

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Measures and prints a line per server.
///
/// # Errors
/// A server does not start or answer, or there are too few descriptors.
pub(super) fn run() -> Result<(), String> {
    let descriptors = raise_descriptors();
    // What the first connections and a program itself need is to be had besides.
    let counts = COUNTS.map(|count| count.min(descriptors.saturating_sub(FIRST + 100)));
    let mut text = String::from("idle connections: user-space bytes of each, used once\n");
    text.push_str(&format!("  server             {:>10} {:>10}\n", counts[0], counts[1]));
    for (name, kind) in [("ours, handler", "handler"), ("ours, service", "service"), ("tokio", "tokio")] {
        let mut line = format!("  {name:<18}");
        for &count in &counts {
            line.push_str(&format!(" {:>10.0}", measure(kind, count)?));
        }
        text.push_str(&line);
        text.push('\n');
    }
    tell("");
    print(&text)
}

fn measure(kind: &str, count: usize) -> Result<f64, String> {
    let server = start_own(&["echo", kind])?;
    tell(&format!("{count} idle connections on {kind}"));
    let mut open = connect(&server, FIRST)?;
    let before = anonymous_bytes(&server)?;
    open.extend(connect(&server, count)?);
    let bytes = anonymous_bytes(&server)? - before;
    Ok(bytes / count as f64)
}

/// Makes connections and uses each once.
fn connect(server: &Server, count: usize) -> Result<Vec<TcpStream>, String> {
    let failed = |error: std::io::Error| format!("a connection failed: {error}");
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        stream.write_all(b"hello").map_err(failed)?;
        stream.read_exact(&mut [0; 5]).map_err(failed)?;
        open.push(stream);
    }
    Ok(open)
}

/// Resident memory of the process that no file stands behind.
fn anonymous_bytes(server: &Server) -> Result<f64, String> {
    let path = format!("/proc/{}/status", server.id());
    let status = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).ok_or_else(|| format!("{path} has no RssAnon"))
}
