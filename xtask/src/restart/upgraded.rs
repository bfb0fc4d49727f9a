//! Upgrades under load: no client sees an error, and as many requests hit before as after.

use std::fmt::Write;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Choice, Client, PATIENCE, failed};
use crate::command::{Failure, Outcome};
use crate::process::{program, run as run_program};
use crate::server::{Server, has_rings};
use crate::tools;

const DRIVERS: &[&str] = &["epoll", "uring"];
const CONNECTIONS: u64 = 1000;
const THREADS: u64 = 4;
/// Shards of the server.
const SHARDS: usize = 2;
/// Keys stored, and keys asked for.
const STORED: u64 = 400_000;
const ASKED: u64 = 500_000;
const UPGRADES: usize = 3;
/// The largest part by which hits may differ, by chance: five deviations of a hundred thousand requests.
const TOLERANCE: f64 = 0.007;

/// What clients saw between two upgrades.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: u64,
    hits: u64,
    slowest: Duration,
}

pub(super) fn run(seconds: u64) -> Outcome {
    for driver in DRIVERS {
        println!("upgrades of a server on {driver}");
        run_on(driver, seconds)?;
    }
    Ok(())
}

fn run_on(driver: &str, seconds: u64) -> Outcome {
    fs::create_dir_all(tools::folder()).map_err(failed)?;
    let pid_file = tools::folder().join("restart-upgraded.pid");
    let pid_path = pid_file.display().to_string();
    let shards = SHARDS.to_string();
    let arguments = ["-m", "1024", "-c", "2000", "-t", &shards, "--driver", driver, "-P", &pid_path];
    let mut server = Server::start("restart-upgraded", &arguments)?;
    let needs_rings = driver == "uring";
    if needs_rings && !server.has_rings(SHARDS)? {
        println!("left out: io_uring cannot be used here");
        return server.stop();
    }
    let address = server.address();
    fill(&address).map_err(failed)?;
    let (phase, seen) = (AtomicUsize::new(0), Mutex::new([Seen::default(); UPGRADES + 1]));
    let result = thread::scope(|scope| {
        let (address, phase, seen) = (&address, &phase, &seen);
        let load = |thread| scope.spawn(move || load(address, Choice(seed_of(thread)), phase, seen));
        let loads: Vec<_> = (1..=THREADS).map(load).collect();
        let mut upgraded = Ok(());
        for next in 1..=UPGRADES + 1 {
            thread::sleep(Duration::from_secs(seconds));
            if next <= UPGRADES && upgraded.is_ok() {
                upgraded = upgrade(&pid_file, phase, next);
            }
        }
        phase.store(usize::MAX, Ordering::Relaxed);
        let errors: Vec<String> = loads
            .into_iter()
            .filter_map(|load| match load.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("a client panicked".to_owned()),
            })
            .collect();
        upgraded.map(|()| errors)
    });
    let pid = fs::read_to_string(&pid_file).unwrap_or_default();
    let is_last_on_driver = match pid.trim().parse() {
        Ok(pid) if needs_rings => has_rings(pid, SHARDS),
        _ => Ok(true),
    };
    drop(run_program(&mut program("kill", &["-TERM", pid.trim()])));
    let ended = server.wait(PATIENCE);
    report(&result?, &seen.into_inner().unwrap_or_default())?;
    ended?;
    if is_last_on_driver? {
        return Ok(());
    }
    Err(Failure::Failed("the last process uses epoll, as the first did not".to_owned()))
}

fn seed_of(thread: u64) -> u64 {
    thread.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn report(errors: &[String], seen: &[Seen]) -> Outcome {
    let ratio = |seen: &Seen| seen.hits as f64 / seen.requests.max(1) as f64;
    for (upgrades, seen) in seen.iter().enumerate() {
        println!(
            "after {upgrades} upgrades: {} requests on {CONNECTIONS} connections, hit ratio {:.4}, slowest round of \
             250 requests {:.0} ms",
            seen.requests,
            ratio(seen),
            seen.slowest.as_secs_f64() * 1000.0,
        );
    }
    println!("errors seen by clients: {}", errors.len());
    let differs = seen.iter().any(|later| (ratio(later) - ratio(&seen[0])).abs() > TOLERANCE);
    match errors.first() {
        Some(error) => Err(Failure::Failed(format!("a client saw an error: {error}"))),
        None if differs => Err(Failure::Failed("the hit ratio is not what it was".to_owned())),
        None => Ok(()),
    }
}

fn fill(address: &str) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    let mut text = String::new();
    for number in 0..STORED {
        let _infallible = write!(text, "set k{number} 0 0 200 noreply\r\n{number:0200}\r\n");
        if text.len() > 100_000 {
            client.send(text.as_bytes())?;
            text.clear();
        }
    }
    client.send(text.as_bytes())?;
    client.ask("version\r\n").map(drop)
}

/// Has the process of the file replaced, and waits until another one has written its number there.
fn upgrade(pid_file: &std::path::Path, phase: &AtomicUsize, next: usize) -> Outcome {
    let pid = || fs::read_to_string(pid_file).unwrap_or_default().trim().to_owned();
    let old = pid();
    let began = Instant::now();
    run_program(&mut program("kill", &["-USR2", &old]))?;
    while pid() == old || std::path::Path::new(&format!("/proc/{old}/fd/0")).exists() {
        if began.elapsed() > Duration::from_secs(30) {
            return Err(Failure::Failed("the upgrade takes too long".to_owned()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    println!("upgrade {next}: the old process has ended after {:.3} s", began.elapsed().as_secs_f64());
    phase.store(next, Ordering::Relaxed);
    Ok(())
}

/// Asks on its part of the connections, one request on each at a time, and writes now and then.
fn load(
    address: &str,
    mut choice: Choice,
    phase: &AtomicUsize,
    seen: &Mutex<[Seen; UPGRADES + 1]>,
) -> std::io::Result<()> {
    let connect = |_| Client::connect(address);
    let mut clients: Vec<Client> = (0..CONNECTIONS / THREADS).map(connect).collect::<Result<_, _>>()?;
    let mut numbers = vec![0; clients.len()];
    loop {
        let now = phase.load(Ordering::Relaxed);
        if now > UPGRADES {
            return Ok(());
        }
        let (began, mut hits) = (Instant::now(), 0);
        for (client, number) in clients.iter_mut().zip(&mut numbers) {
            *number = choice.below(ASKED);
            client.send(format!("get k{number}\r\n").as_bytes())?;
        }
        for (client, number) in clients.iter_mut().zip(&numbers) {
            let head = client.line()?;
            if head == "END" {
                continue;
            }
            let (value, end) = (client.line()?, client.line()?);
            if value != format!("{number:0200}") || end != "END" {
                return Err(std::io::Error::other(format!(
                    "k{number}: a wrong answer: {head} {value} {end}"
                )));
            }
            hits += 1;
        }
        if let Ok(mut seen) = seen.lock() {
            let seen = &mut seen[now];
            seen.requests += clients.len() as u64;
            seen.hits += hits;
            seen.slowest = seen.slowest.max(began.elapsed());
        }
    }
}
