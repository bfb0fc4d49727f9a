//! `cargo xtask restart`: a cache outlives its process. A warm restart of many items, servers killed at random
//! points, and upgrades under load.

mod killed;
mod upgraded;
mod warm;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{Command, Failure, Outcome};
use crate::process::{cargo, run as run_program};
use crate::tools;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "restart",
    arguments: "[--items N] [--rounds N] [--seconds N]",
    summary: "restart warm, kill at random points, and upgrade under load from 1,000 connections",
    run,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[String]) -> Outcome {
    let (mut items, mut rounds, mut seconds) = (10_000_000, 100, 3);
    let usage =
        || Failure::Usage("restart takes --items, --rounds and --seconds, each with a number".to_owned());
    for pair in arguments.chunks(2) {
        let [name, number] = pair else { return Err(usage()) };
        let number: u64 = number.parse().map_err(|_not_a_number| usage())?;
        match name.as_str() {
            "--items" => items = number,
            "--rounds" => rounds = number,
            "--seconds" => seconds = number,
            _ => return Err(usage()),
        }
    }
    if (items, rounds, seconds) == (0, 0, 0) {
        return Err(Failure::Usage("restart would do nothing with 0 of everything".to_owned()));
    }
    run_program(&mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]))?;
    let memory = MemoryFile::new();
    if items != 0 {
        warm::run(&memory, items)?;
    }
    if rounds != 0 {
        killed::run(&memory, rounds)?;
    }
    if seconds != 0 {
        upgraded::run(seconds)?;
    }
    Ok(())
}

/// A memory file on tmpfs, where there is that.
struct MemoryFile(PathBuf);

impl MemoryFile {
    fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { shared.to_owned() } else { tools::folder() };
        Self(folder.join(format!("mmem-restart-{}", std::process::id())))
    }

    /// For an argument.
    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn forget(&self) {
        drop(fs::remove_file(&self.0));
        drop(fs::remove_file(format!("{}.meta", self.path())));
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A connection that asks line by line.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next line without its end. That the connection was closed is an error.
    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, request: &str) -> std::io::Result<String> {
        self.send(request.as_bytes())?;
        self.line()
    }

    /// A line of `stats`.
    fn stat(&mut self, name: &str) -> std::io::Result<String> {
        let start = format!("STAT {name} ");
        let mut line = self.ask("stats\r\n")?;
        let mut found = String::new();
        while line != "END" {
            if let Some(value) = line.strip_prefix(&start) {
                value.clone_into(&mut found);
            }
            line = self.line()?;
        }
        Ok(found)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("restart: {error}"))
}

/// Numbers that look random, the same for the same seed.
struct Choice(u64);

impl Choice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    }
}
