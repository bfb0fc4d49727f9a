//! `cargo xtask memory`: a small server filled with values of all sizes keeps to its memory and refuses
//! nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::Tally;
use crate::command::{Command, Failure, Outcome, seconds};
use crate::process::{cargo, run as run_program};
use crate::server::Server;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "memory",
    arguments: "[--seconds N]",
    summary: "fill a server of 64 MiB for a minute and watch its resident memory",
    run,
};

/// The server's limit, `-m`, in MiB.
const LIMIT_MIB: u64 = 64;
/// What it may take besides, for code, connections and the like, in MiB.
const ALLOWANCE_MIB: u64 = 8;
/// How long the command fills, in seconds.
const SECONDS: u64 = 60;
/// Connections that write at a time.
const WRITERS: u64 = 4;
/// The smallest and the largest value, in bytes; sizes between are even on a logarithmic scale.
const VALUE_MIN: usize = 8;
/// See [`VALUE_MIN`]: what a server with `-I 1m` must take.
const VALUE_MAX: usize = 1_047_552;
/// Writes of one connection that are under way at a time: so many, or so many bytes.
const PIPELINE_MAX: usize = 32;
/// See [`PIPELINE_MAX`].
const PIPELINE_BYTES_MAX: usize = 256 << 10;
/// How often it is told how the server fares.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a writer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn run(arguments: &[String]) -> Outcome {
    let seconds = seconds("memory", arguments, SECONDS)?;
    run_program(&mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]))?;
    fill(seconds).map(|_| ())
}

/// What the writers have done, and whether they shall go on.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    writes: AtomicU64,
    bytes: AtomicU64,
}

/// Fills the release build for so many seconds.
///
/// # Errors
/// [`Failure::Failed`] if its resident memory was ever above the bound, or a write was refused.
pub(crate) fn fill(seconds: u64) -> Result<Tally, Failure> {
    let server = Server::start("memory", &["-m", &LIMIT_MIB.to_string()])?;
    let (progress, address) = (&Progress::default(), &server.address());
    let (watched, writers) = thread::scope(|scope| {
        let writers: Vec<_> =
            (1..=WRITERS).map(|seed| scope.spawn(move || write(address, seed, progress))).collect();
        let watched = watch(&server, seconds, progress);
        progress.stop.store(true, Ordering::Relaxed);
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        (watched, results)
    });
    for result in writers {
        result.unwrap_or_else(|_| Err(Failure::Failed("a writer panicked".to_owned())))?;
    }
    watched?;
    // What is resident between two looks counts too.
    let highest_kib = server.peak_kib()?;
    server.stop()?;
    let bound_kib = (LIMIT_MIB + ALLOWANCE_MIB) << 10;
    println!(
        "at most {highest_kib} KiB resident of {bound_kib} KiB allowed at -m {LIMIT_MIB}; no write refused"
    );
    if highest_kib > bound_kib {
        return Err(Failure::Failed(format!("{highest_kib} KiB resident, {bound_kib} KiB allowed")));
    }
    Ok(Tally::ONE_PASSED)
}

/// Tells how it goes until the time is over.
fn watch(server: &Server, seconds: u64, progress: &Progress) -> Outcome {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        thread::sleep(SAMPLE_INTERVAL);
        let now_kib = server.resident_kib()?;
        let writes = progress.writes.load(Ordering::Relaxed);
        let mib = progress.bytes.load(Ordering::Relaxed) >> 20;
        println!("{writes} writes, {mib} MiB written, {now_kib} KiB resident");
    }
    Ok(())
}

/// Writes until told to stop. The seed decides all keys and sizes.
fn write(address: &str, seed: u64, progress: &Progress) -> Outcome {
    let failed = |what: String| Failure::Failed(format!("writer with seed {seed}: {what}"));
    let broken = |error: std::io::Error| failed(error.to_string());
    let mut stream = TcpStream::connect(address).map_err(broken)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut answers = BufReader::new(stream.try_clone().map_err(broken)?);
    let mut random = Random(seed);
    let mut requests = Vec::with_capacity(PIPELINE_BYTES_MAX + VALUE_MAX + 64);
    let mut line = String::new();
    while !progress.stop.load(Ordering::Relaxed) {
        requests.clear();
        let mut count = 0;
        while count < PIPELINE_MAX && requests.len() < PIPELINE_BYTES_MAX {
            random.request(&mut requests);
            count += 1;
        }
        stream.write_all(&requests).map_err(broken)?;
        for _ in 0..count {
            line.clear();
            answers.read_line(&mut line).map_err(broken)?;
            if line != "STORED\r\n" {
                return Err(failed(format!("a write was answered by {line:?}")));
            }
        }
        progress.writes.fetch_add(count as u64, Ordering::Relaxed);
        progress.bytes.fetch_add(requests.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Marsaglia's xorshift with 64 bits; the seed must not be 0.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A size from [`VALUE_MIN`] to [`VALUE_MAX`], each power of two as likely as another.
    fn size(&mut self) -> usize {
        let lowest = VALUE_MIN.ilog2();
        let doublings = u64::from(VALUE_MAX.ilog2() + 1 - lowest);
        let shift = self.next() % doublings;
        let base = VALUE_MIN << shift;
        let part = usize::try_from(self.next()).unwrap_or(usize::MAX) % base;
        (base + part).min(VALUE_MAX)
    }

    /// Adds one write to the requests.
    fn request(&mut self, requests: &mut Vec<u8>) {
        let (key, size) = (self.next(), self.size());
        requests.extend(format!("set memory-{key:016x} 0 0 {size}\r\n").bytes());
        let start = requests.len();
        // Bytes that no kernel and no store could merge with others.
        while requests.len() < start + size {
            requests.extend(self.next().to_le_bytes());
        }
        requests.truncate(start + size);
        requests.extend(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, VALUE_MAX, VALUE_MIN};

    #[test]
    fn sizes_cover_the_whole_range() {
        let mut random = Random(1);
        let sizes: Vec<usize> = (0..10_000).map(|_| random.size()).collect();
        assert!(sizes.iter().all(|size| (VALUE_MIN..=VALUE_MAX).contains(size)));
        assert!(sizes.iter().any(|size| *size < 16) && sizes.contains(&VALUE_MAX));
        let small = sizes.iter().filter(|size| **size < 1024).count();
        assert!((3000..5000).contains(&small), "{small}");
    }

    #[test]
    fn a_request_says_how_long_its_value_is() {
        let mut requests = Vec::new();
        Random(7).request(&mut requests);
        let end = requests.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8(requests[..end].to_vec()).unwrap();
        let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(requests.len(), end + 1 + size + 2);
        assert!(requests.ends_with(b"\r\n"));
    }
}
