//! The neighbours.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use super::stage::{Client, Stage};

/// A neighbour.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What it counts of its doing.
    pub(super) unit: &'static str,
    /// How long it is measured, in seconds.
    pub(super) seconds: f64,
    pub(super) memory: Memory,
    /// How many connections its server takes, where that is to be felt.
    pub(super) connections_max: Option<u32>,
    /// How many descriptors its server has left from when the well-behaved are connected, where they are to run out.
    /// Not on `io_uring`: an accept that goes on keeps the limit that it began with.
    pub(super) descriptors_left: Option<u64>,
    /// What it needs in the server.
    pub(super) prepare: fn(&mut Client) -> Result<(), String>,
    /// Does it until the stage is over; gives how much it has done.
    pub(super) act: fn(&Stage) -> Result<u64, String>,
}

impl Kind {
    /// Whether it can be measured on a driver.
    pub(super) fn can_be_on(&self, driver: &str) -> bool {
        self.descriptors_left.is_none() || driver != "uring"
    }
}

/// What memory the servers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// It becomes resident as it is used.
    Ordinary,
    /// All of it is resident from the start.
    Resident,
    /// As with [`Self::Ordinary`], and each round has new servers: later ones would find it resident.
    Fresh,
}

const ORDINARY: Kind = Kind {
    name: "",
    unit: "connections",
    seconds: 0.6,
    memory: Memory::Ordinary,
    connections_max: None,
    descriptors_left: None,
    prepare: |_| Ok(()),
    act: |_| Ok(0),
};

/// All of them.
pub(super) const KINDS: &[Kind] = &[
    Kind { name: "half-requests", act: half_requests, ..ORDINARY },
    Kind { name: "slow-senders", act: slow_senders, unit: "bytes", seconds: 1.2, ..ORDINARY },
    Kind {
        name: "slow-readers",
        act: slow_readers,
        prepare: store_large,
        unit: "bytes",
        seconds: 1.2,
        ..ORDINARY
    },
    Kind { name: "never-readers", act: never_readers, prepare: store_large, ..ORDINARY },
    Kind { name: "resets", act: resets, prepare: store_large, ..ORDINARY },
    Kind { name: "half-closes", act: half_closes, ..ORDINARY },
    Kind { name: "idle-10000", act: idle, ..ORDINARY },
    Kind { name: "connects-1000/s", act: connects, ..ORDINARY },
    Kind { name: "above-limit", act: above_limit, connections_max: Some(200), ..ORDINARY },
    Kind { name: "descriptors-exhausted", act: exhausting, descriptors_left: Some(100), ..ORDINARY },
    Kind {
        name: "uploads-1GiB",
        act: uploads,
        memory: Memory::Resident,
        unit: "MiB",
        seconds: 3.0,
        ..ORDINARY
    },
    Kind {
        name: "uploads-fresh",
        act: uploads,
        memory: Memory::Fresh,
        unit: "MiB",
        seconds: 4.0,
        ..ORDINARY
    },
    Kind {
        name: "downloads-1GiB",
        act: downloads,
        prepare: |client| client.store(GIANT, GIB),
        unit: "MiB",
        seconds: 1.5,
        ..ORDINARY
    },
];

/// Key of a value of [`LARGE_BYTES`].
const LARGE: &str = "neighbour:large";
const LARGE_BYTES: usize = 64 << 10;
/// Key of a value of [`GIB`] bytes.
const GIANT: &str = "neighbour:giant";
/// The longest value of `-I 1g`, less what belongs to the item.
const GIB: usize = (1 << 30) - 1024;
/// What is moved at a time of a giant value.
const PART: usize = 64 << 10;
/// How fast giant values are moved, in bytes a second: the one core that neighbour and load share can do more, but
/// then it is that core that is measured.
const PACE: f64 = 300.0 * 1024.0 * 1024.0;
/// How often a paced neighbour acts.
const TICK: Duration = Duration::from_millis(10);

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: std::io::Error) -> String {
    format!("a neighbour's connection: {error}")
}

fn store_large(client: &mut Client) -> Result<(), String> {
    client.store(LARGE, LARGE_BYTES)
}

/// Sends half a request on each of 200 connections, and says no more.
fn half_requests(stage: &Stage) -> Result<u64, String> {
    let mut open = Vec::new();
    for number in 0..200 {
        let mut stream = stage.connect()?;
        let half: &[u8] = match number % 4 {
            0 => b"get somet",
            1 => b"set half 0 0 100000\r\nthe beginning",
            2 => b"set half 0 0 100\r\nthe begi",
            _ => b"mg a v",
        };
        stream.write_all(half).map_err(failed)?;
        open.push(stream);
    }
    rest(stage);
    Ok(open.len() as u64)
}

/// A byte a second on each of 100 connections.
fn slow_senders(stage: &Stage) -> Result<u64, String> {
    let mut open = connections(stage, 100)?;
    stage.ready();
    let mut bytes = 0;
    let text = b"set slow 0 0 1000000\r\nget slow\r\n";
    while !stage.is_over() {
        for (number, stream) in open.iter_mut().enumerate() {
            stream.write_all(&text[number % text.len()..][..1]).map_err(failed)?;
            bytes += 1;
        }
        pause(stage, Duration::from_secs(1));
    }
    Ok(bytes)
}

/// Twenty connections ask for 16 MiB each in values of 64 KiB, and read a byte a second.
fn slow_readers(stage: &Stage) -> Result<u64, String> {
    let mut open = greedy(stage)?;
    stage.ready();
    let mut bytes = 0;
    while !stage.is_over() {
        for stream in &mut open {
            bytes += stream.read(&mut [0]).map_err(failed)? as u64;
        }
        pause(stage, Duration::from_secs(1));
    }
    Ok(bytes)
}

/// Twenty connections ask for 16 MiB each and read nothing.
fn never_readers(stage: &Stage) -> Result<u64, String> {
    let open = greedy(stage)?;
    rest(stage);
    Ok(open.len() as u64)
}

/// Connections that have asked for more than sockets hold, and have small buffers to read into.
fn greedy(stage: &Stage) -> Result<Vec<TcpStream>, String> {
    let mut open = connections(stage, 20)?;
    for stream in &mut open {
        set_socket_recv_buffer_size(&*stream, 4096).map_err(|error| failed(error.into()))?;
        stream.write_all(format!("get {LARGE}\r\n").repeat(256).as_bytes()).map_err(failed)?;
    }
    Ok(open)
}

/// Five hundred times a second: asks for 64 KiB, reads a part of it or nothing, and resets the connection.
fn resets(stage: &Stage) -> Result<u64, String> {
    stage.ready();
    paced(stage, 500, |number| {
        let mut stream = stage.connect()?;
        stream.write_all(format!("get {LARGE}\r\nget {LARGE}\r\n").as_bytes()).map_err(failed)?;
        if number.is_multiple_of(2) {
            stream.read_exact(&mut [0; 1000]).map_err(failed)?;
        }
        set_socket_linger(&stream, Some(Duration::ZERO)).map_err(|error| failed(error.into()))
    })
}

/// Five hundred times a second: asks, closes its direction, and reads to the end.
fn half_closes(stage: &Stage) -> Result<u64, String> {
    stage.ready();
    paced(stage, 500, |_| {
        let mut stream = stage.connect()?;
        stream.write_all(b"get key:1\r\nget ke").map_err(failed)?;
        stream.shutdown(Shutdown::Write).map_err(failed)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failed)?;
        if answer.ends_with(b"END\r\n") {
            Ok(())
        } else {
            Err("a half-closed connection got no answer".to_owned())
        }
    })
}

/// Ten thousand connections, each used once.
fn idle(stage: &Stage) -> Result<u64, String> {
    let mut open = connections(stage, 10_000)?;
    for stream in &mut open {
        ask(stream)?;
    }
    rest(stage);
    Ok(open.len() as u64)
}

/// A thousand connections a second, each used once.
fn connects(stage: &Stage) -> Result<u64, String> {
    stage.ready();
    paced(stage, 1000, |_| ask(&mut stage.connect()?))
}

/// More connections than the server takes: a part of them waits.
fn above_limit(stage: &Stage) -> Result<u64, String> {
    let open = connections(stage, 300)?;
    rest(stage);
    Ok(open.len() as u64)
}

/// More connections than the server has descriptors for: it tries to accept the rest again and again.
fn exhausting(stage: &Stage) -> Result<u64, String> {
    let open = connections(stage, 300)?;
    rest(stage);
    Ok(open.len() as u64)
}

/// Stores values of a gigabyte.
fn uploads(stage: &Stage) -> Result<u64, String> {
    let mut stream = stage.connect()?;
    let part = vec![b'v'; PART];
    stage.ready();
    let mut bytes = 0;
    for number in 0_u64.. {
        stream.write_all(format!("set {GIANT}{} 0 0 {GIB}\r\n", number % 2).as_bytes()).map_err(failed)?;
        let mut left = GIB;
        let over = steady(stage, || {
            let now = left.min(PART);
            stream.write_all(&part[..now]).map_err(failed)?;
            left -= now;
            bytes += now as u64;
            Ok((left > 0).then_some(now))
        })?;
        if over {
            break;
        }
        stream.write_all(b"\r\n").map_err(failed)?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).map_err(failed)?;
        if answer != *b"STORED\r\n" {
            return Err(format!("a gigabyte was not stored: {}", answer.escape_ascii()));
        }
    }
    Ok(bytes >> 20)
}

/// Fetches a value of a gigabyte again and again.
fn downloads(stage: &Stage) -> Result<u64, String> {
    let mut stream = stage.connect()?;
    let mut part = vec![0; PART];
    stage.ready();
    stream.write_all(format!("get {GIANT}\r\n").repeat(100).as_bytes()).map_err(failed)?;
    let mut bytes = 0;
    steady(stage, || {
        let count = stream.read(&mut part).map_err(failed)?;
        if count == 0 {
            return Err("a download ended early".to_owned());
        }
        bytes += count as u64;
        Ok(Some(count))
    })?;
    Ok(bytes >> 20)
}

/// Moves bytes at [`PACE`] until there are no more; `true`: until the stage was over.
fn steady(stage: &Stage, mut step: impl FnMut() -> Result<Option<usize>, String>) -> Result<bool, String> {
    let (start, mut moved) = (Instant::now(), 0.0);
    while !stage.is_over() {
        if moved > start.elapsed().as_secs_f64() * PACE {
            sleep(Duration::from_millis(1));
            continue;
        }
        match step()? {
            Some(bytes) => moved += bytes as f64,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Does something so many times a second; gives how often.
fn paced(stage: &Stage, per_s: u32, mut act: impl FnMut(u64) -> Result<(), String>) -> Result<u64, String> {
    let (start, mut done) = (Instant::now(), 0);
    while !stage.is_over() {
        if done as f64 > start.elapsed().as_secs_f64() * f64::from(per_s) {
            sleep(TICK.min(Duration::from_secs(1) / per_s));
            continue;
        }
        act(done)?;
        done += 1;
    }
    Ok(done)
}

/// Says that all is as it is to be, and keeps it so.
fn rest(stage: &Stage) {
    stage.ready();
    pause(stage, Duration::from_secs(3600));
}

/// Waits, but not longer than the stage goes on.
fn pause(stage: &Stage, time: Duration) {
    let start = Instant::now();
    while !stage.is_over() && start.elapsed() < time {
        sleep(TICK);
    }
}

fn connections(stage: &Stage, count: usize) -> Result<Vec<TcpStream>, String> {
    (0..count).map(|_| stage.connect()).collect()
}

/// One get of a key that is not there.
fn ask(stream: &mut TcpStream) -> Result<(), String> {
    stream.write_all(b"get nothing\r\n").map_err(failed)?;
    let mut answer = [0; 5];
    match stream.read_exact(&mut answer) {
        Ok(()) if answer == *b"END\r\n" => Ok(()),
        Ok(()) => Err(format!("an answer of {}", answer.escape_ascii())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("no answer in time".to_owned()),
        Err(error) => Err(failed(error)),
    }
}
