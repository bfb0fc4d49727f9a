//! Running caches (mmem, memcached, redis) as a measurement of their memory sees them: many writes, many looks
//! whether a key is there, and how much memory the process holds.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::machine::{Server, free_port};

/// Requests that are under way at a time.
const BATCH: usize = 256;
/// Bytes of requests that are under way at a time, unless one alone has more.
const BATCH_BYTES: usize = 256 << 10;
/// The longest value, in bytes; `-I` of the servers is as much, item header and key included.
const VALUE_MAX: usize = 2 << 20;
/// At how many places of the bytes that they are taken from values of different keys begin.
const SHIFTS: usize = 4096;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mmem,
    Memcached,
    Redis,
}

impl Kind {
    /// What tables call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mmem => "mmem",
            Self::Memcached => "memcached",
            Self::Redis => "redis",
        }
    }

    /// Its program: mmem beside this one, the others from the path.
    ///
    /// # Errors
    /// This program cannot be found.
    pub(crate) fn program(self) -> Result<PathBuf, String> {
        match self {
            Self::Mmem => {
                let this =
                    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
                Ok(this.with_file_name("mmem"))
            }
            Self::Memcached => Ok("memcached".into()),
            Self::Redis => Ok("redis-server".into()),
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// Stores a value of `len` bytes, for `ttl_s` seconds or (0) for good.
    Set { key: u64, len: usize, ttl_s: u32 },
    /// Looks whether the key is there, which counts as a use of it.
    Get { key: u64 },
    /// Removes the key.
    Delete { key: u64 },
}

/// A running cache and a connection to it.
#[derive(Debug)]
pub(crate) struct Peer {
    kind: Kind,
    server: Server,
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    requests: Vec<u8>,
    pending: Vec<Request>,
    filler: Vec<u8>,
    line: String,
    /// Writes that were not stored.
    pub(crate) refused: u64,
}

/// Length of every key in bytes.
pub(crate) const KEY_BYTES: usize = 20;

impl Peer {
    /// Starts the cache with one thread and this memory limit.
    ///
    /// # Errors
    /// It cannot be started or connected to.
    pub(crate) fn start(kind: Kind, limit_mib: u64) -> Result<Self, String> {
        Self::start_program(kind, &kind.program()?, limit_mib)
    }

    /// As [`Peer::start`], with another program of that kind.
    ///
    /// # Errors
    /// See [`Peer::start`].
    pub(crate) fn start_program(kind: Kind, program: &Path, limit_mib: u64) -> Result<Self, String> {
        let port = free_port()?;
        let mut command = Command::new(program);
        let (port_text, limit) = (port.to_string(), limit_mib.to_string());
        if kind == Kind::Redis {
            command.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--maxmemory", &format!("{limit}mb"), "--maxmemory-policy", "allkeys-lru"]);
            command.args(["--daemonize", "no"]);
        } else {
            command.args(["-p", &port_text, "-l", "127.0.0.1", "-m", &limit, "-t", "1", "-I", "2m"]);
            if rustix::process::geteuid().is_root() {
                command.args(["-u", "root"]);
            }
        }
        let server = Server::start(&mut command, port)?;
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(failed)?;
        let answers = BufReader::with_capacity(64 << 10, stream.try_clone().map_err(failed)?);
        Ok(Self {
            kind,
            server,
            stream,
            answers,
            requests: Vec::new(),
            pending: Vec::new(),
            filler: filler(),
            line: String::new(),
            refused: 0,
        })
    }

    /// Bytes resident now.
    ///
    /// # Errors
    /// It has died.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        self.server.resident_bytes()
    }

    /// The most bytes that were ever resident.
    ///
    /// # Errors
    /// It has died.
    pub(crate) fn peak_bytes(&self) -> Result<u64, String> {
        self.server.peak_bytes()
    }

    /// Sends a request; the answers of a batch come together, to `answered`, which is told whether the key was there.
    ///
    /// # Errors
    /// The connection broke, or the answer is none.
    pub(crate) fn send(
        &mut self,
        request: Request,
        answered: &mut impl FnMut(Request, bool),
    ) -> Result<(), String> {
        self.queue(request);
        if self.is_full() { self.flush(answered) } else { Ok(()) }
    }

    /// Puts a request into the batch, which only [`Peer::flush`] sends.
    pub(crate) fn queue(&mut self, request: Request) {
        self.encode(request);
        self.pending.push(request);
    }

    /// Whether the batch is as large as it should get.
    pub(crate) const fn is_full(&self) -> bool {
        self.pending.len() >= BATCH || self.requests.len() >= BATCH_BYTES
    }

    /// Takes the answers of all that was sent.
    ///
    /// # Errors
    /// See [`Peer::send`].
    pub(crate) fn flush(&mut self, answered: &mut impl FnMut(Request, bool)) -> Result<(), String> {
        let name = self.kind.name();
        self.stream.write_all(&self.requests).map_err(|error| format!("{name}: {error}"))?;
        self.requests.clear();
        for request in std::mem::take(&mut self.pending) {
            self.line.clear();
            self.answers.read_line(&mut self.line).map_err(|error| format!("{name}: {error}"))?;
            let line = self.line.trim_end();
            let found = match (request, line) {
                (Request::Set { .. }, "STORED" | "+OK") | (Request::Get { .. }, "HD" | ":1") => true,
                (Request::Delete { .. }, _) | (Request::Get { .. }, "EN" | ":0") => false,
                (Request::Set { .. }, refusal) if refusal.contains("ERR") || refusal.contains("OOM") => {
                    self.refused += 1;
                    false
                }
                _ => return Err(format!("{name}: an answer of {line:?} to {request:?}")),
            };
            answered(request, found);
        }
        Ok(())
    }

    /// Reads the values of these keys, one after the other; gives how many are there. None of them may be another than
    /// the last that was stored for its key, of the length that `length` tells, if it does.
    ///
    /// # Errors
    /// A value is wrong, the connection broke, or requests are still queued.
    pub(crate) fn verify(
        &mut self,
        keys: impl IntoIterator<Item = u64>,
        length: impl Fn(u64) -> Option<usize>,
    ) -> Result<u64, String> {
        let name = self.kind.name();
        if !self.pending.is_empty() {
            return Err(format!("{name}: values are verified between batches only"));
        }
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let mut there = 0;
        for key in keys {
            let request = match self.kind {
                Kind::Redis => format!("*2\r\n$3\r\nGET\r\n$20\r\n{key:020}\r\n"),
                Kind::Mmem | Kind::Memcached => format!("mg {key:020} v\r\n"),
            };
            self.stream.write_all(request.as_bytes()).map_err(failed)?;
            match read_value(&mut self.answers).map_err(failed)? {
                None => {}
                Some(found) if is_value(&self.filler, key, &found, length(key)) => there += 1,
                Some(found) => {
                    let len = found.len();
                    return Err(format!("{name}: key {key}: a value of {len} bytes that is not its own"));
                }
            }
        }
        Ok(there)
    }

    fn encode(&mut self, request: Request) {
        let out = &mut self.requests;
        match (self.kind, request) {
            (Kind::Redis, Request::Set { key, len, ttl_s }) => {
                let parts = if ttl_s == 0 { 3 } else { 5 };
                out.extend(format!("*{parts}\r\n$3\r\nSET\r\n$20\r\n{key:020}\r\n${len}\r\n").bytes());
                out.extend(value(&self.filler, key, len));
                out.extend(b"\r\n");
                if ttl_s != 0 {
                    let ttl = ttl_s.to_string();
                    out.extend(format!("$2\r\nEX\r\n${}\r\n{ttl}\r\n", ttl.len()).bytes());
                }
            }
            (Kind::Redis, Request::Get { key }) => {
                out.extend(format!("*2\r\n$6\r\nEXISTS\r\n$20\r\n{key:020}\r\n").bytes());
            }
            (Kind::Redis, Request::Delete { key }) => {
                out.extend(format!("*2\r\n$3\r\nDEL\r\n$20\r\n{key:020}\r\n").bytes());
            }
            (_, Request::Set { key, len, ttl_s }) => {
                out.extend(format!("set {key:020} 0 {ttl_s} {len}\r\n").bytes());
                out.extend(value(&self.filler, key, len));
                out.extend(b"\r\n");
            }
            (_, Request::Get { key }) => out.extend(format!("mg {key:020}\r\n").bytes()),
            (_, Request::Delete { key }) => out.extend(format!("delete {key:020}\r\n").bytes()),
        }
    }
}

/// Reads the answer to a get: the value, or none.
fn read_value(answers: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let line = line.trim_end();
    if matches!(line, "EN" | "$-1") {
        return Ok(None);
    }
    let words = line.strip_prefix("VA ").or_else(|| line.strip_prefix('$'));
    let len = words.and_then(|words| words.split(' ').next()?.parse().ok()).filter(|len| *len <= VALUE_MAX);
    let Some(len) = len else {
        return Err(std::io::Error::other(format!("an answer of {line:?} to a get")));
    };
    let mut value = vec![0; len + 2];
    answers.read_exact(&mut value)?;
    match value.split_off(len).as_slice() {
        b"\r\n" => Ok(Some(value)),
        _ => Err(std::io::Error::other(format!("a value of {len} bytes is not followed by an end of line"))),
    }
}

/// Whether these bytes are the value of a key, of this length if one is told.
fn is_value(filler: &[u8], key: u64, found: &[u8], len: Option<usize>) -> bool {
    len.is_none_or(|len| len == found.len()) && value(filler, key, found.len()) == found
}

/// Bytes that no server could merge with others.
fn filler() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..(VALUE_MAX + SHIFTS) / 8).flat_map(|_| next()).collect()
}

fn value(filler: &[u8], key: u64, len: usize) -> &[u8] {
    let start = usize::try_from(key).unwrap_or(0) % SHIFTS;
    &filler[start..start + len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_whole_or_not_at_all() {
        let read = |mut answer: &[u8]| read_value(&mut answer).ok();
        assert_eq!(read(b"VA 3\r\na\nb\r\n"), Some(Some(b"a\nb".to_vec())));
        assert_eq!(read(b"$0\r\n\r\n"), Some(Some(Vec::new())));
        assert_eq!((read(b"EN\r\n"), read(b"$-1\r\n")), (Some(None), Some(None)));
        for wrong in ["", "HD\r\n", "VA 3\r\nabcd\r\n", "VA 9\r\nabc\r\n", "SERVER_ERROR\r\n"] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn another_keys_value_and_another_length_are_told() {
        let filler = filler();
        let own = value(&filler, 7, 100);
        assert!(is_value(&filler, 7, own, Some(100)) && is_value(&filler, 7, own, None));
        assert!(!is_value(&filler, 8, own, None) && !is_value(&filler, 7, own, Some(99)));
    }
}
