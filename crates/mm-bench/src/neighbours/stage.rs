//! A neighbour at work in a thread of its own, and the connections it makes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::kinds::Kind;
use crate::machine::go_last;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a neighbour works on: the server's port, and whether it is to go on.
pub(super) struct Stage {
    pub(super) port: u16,
    over: Arc<AtomicBool>,
    ready: Sender<()>,
}

impl Stage {
    /// Whether it is to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What it does from now on is to be felt.
    pub(super) fn ready(&self) {
        // Nobody listens when the measurement has failed already.
        self.ready.send(()).ok();
    }

    /// Connects.
    ///
    /// # Errors
    /// The server does not listen.
    pub(super) fn connect(&self) -> Result<TcpStream, String> {
        connect(self.port)
    }
}

/// A neighbour at work.
pub(super) struct Actor {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Actor {
    /// Has it begin, and waits until it can be felt.
    ///
    /// # Errors
    /// It has failed before that.
    pub(super) fn begin(kind: &Kind, port: u16) -> Result<Self, String> {
        let over = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = channel();
        let (act, stage) = (kind.act, Stage { port, over: Arc::clone(&over), ready });
        let work = move || {
            // It shares the core of the load, which is not to wait for it.
            go_last();
            act(&stage)
        };
        let actor = Self { over, thread: thread::spawn(work) };
        match is_ready.recv() {
            Ok(()) => Ok(actor),
            Err(_) => actor.end().and_then(|_| Err("a neighbour ended before it began".to_owned())),
        }
    }

    /// Has it end, and gives how much it has done.
    ///
    /// # Errors
    /// It has failed.
    pub(super) fn end(self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| "a neighbour has panicked".to_owned())?
    }
}

/// A connection that waits for its answers.
pub(super) struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The server does not listen.
    pub(super) fn connect(port: u16) -> Result<Self, String> {
        let stream = connect(port)?;
        let copy = stream.try_clone().map_err(|error| format!("cannot copy a socket: {error}"))?;
        Ok(Self { stream, answers: BufReader::new(copy) })
    }

    /// Stores a value of so many bytes.
    ///
    /// # Errors
    /// It is not stored.
    pub(super) fn store(&mut self, key: &str, bytes: usize) -> Result<(), String> {
        self.send(format!("set {key} 0 0 {bytes}\r\n").as_bytes())?;
        let part = vec![b'v'; bytes.min(1 << 20)];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(part.len());
            self.send(&part[..now])?;
            left -= now;
        }
        self.send(b"\r\n")?;
        match self.line()?.as_str() {
            "STORED" => Ok(()),
            other => Err(format!("{key} of {bytes} bytes: {other}")),
        }
    }

    /// What the server counts, by name, always in the same order.
    ///
    /// # Errors
    /// The connection has broken.
    pub(super) fn stats(&mut self) -> Result<Vec<(String, i64)>, String> {
        self.send(b"stats server\r\n")?;
        let mut stats = Vec::new();
        loop {
            let line = self.line()?;
            let mut words = line.split(' ').skip(1);
            let (Some(name), Some(value)) = (words.next(), words.next()) else { return Ok(stats) };
            let value = value.parse().map_err(|error| format!("{line}: {error}"))?;
            stats.push((name.to_owned(), value));
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| format!("cannot send a request: {error}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| format!("no answer: {error}"))?;
        Ok(line.trim_end().to_owned())
    }
}

fn connect(port: u16) -> Result<TcpStream, String> {
    let failed = |error: std::io::Error| format!("cannot connect to port {port}: {error}");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(failed)?;
    Ok(stream)
}
