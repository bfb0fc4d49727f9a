//! `cargo xtask memslap`: libmemcached's load generators against the release build.
//!
//! memcaslap stores and fetches and verifies what it fetches; memcslap stores keys from many connections and fetches
//! them, alone and many at a time.

use std::time::{Duration, Instant};

use crate::checks::Tally;
use crate::command::{Command, Failure, Outcome, seconds};
use crate::process::{cargo, program, run as run_program};
use crate::server::Server;
use crate::tools::{self, LIBMEMCACHED};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "memslap",
    arguments: "[--seconds N]",
    summary: "run memcaslap and memcslap for a minute each; nothing may fail",
    run,
};

/// How long each runs, in seconds.
const SECONDS: u64 = 60;
/// What memcslap does in one go.
const MEMCSLAP_TESTS: &[&str] = &["set", "get", "mget"];
/// Keys of each connection of memcslap in one go.
const MEMCSLAP_KEYS: u64 = 2000;
/// Connections of memcslap.
const MEMCSLAP_CONNECTIONS: u64 = 8;

fn run(arguments: &[String]) -> Outcome {
    let seconds = seconds("memslap", arguments, SECONDS)?;
    run_program(&mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]))?;
    load(seconds).map(|_| ())
}

/// Runs both for so many seconds each.
///
/// # Errors
/// [`Failure::Failed`] with what went wrong, if anything did.
pub(crate) fn load(seconds: u64) -> Result<Tally, Failure> {
    tools::need(&[LIBMEMCACHED])?;
    let server = Server::start("memslap", &["-m", "512"])?;
    let address = server.address();
    let time = format!("{seconds}s");
    let printed =
        printed(&mut program("memcaslap", &["-s", &address, "-t", &time, "-T", "1", "-c", "16", "-v", "1"]))?;
    judge_memcaslap(&printed)?;
    println!("memcaslap, {seconds} s: {}", printed.lines().last().unwrap_or_default());
    let keys = memcslap(&address, Duration::from_secs(seconds))?;
    println!("memcslap, {seconds} s: {keys} keys stored or fetched, nothing failed");
    server.stop()?;
    Ok(Tally::ONE_PASSED)
}

/// Runs memcslap again and again until the time is over; how many keys it has stored or fetched.
fn memcslap(address: &str, time: Duration) -> Result<u64, Failure> {
    let end = Instant::now() + time;
    let mut keys = 0;
    while Instant::now() < end {
        for test in MEMCSLAP_TESTS {
            let arguments = [
                format!("--servers={address}"),
                format!("--concurrency={MEMCSLAP_CONNECTIONS}"),
                format!("--execute-number={MEMCSLAP_KEYS}"),
                format!("--test={test}"),
                "--flush".to_owned(),
            ];
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let printed = printed(&mut program("memcslap", &arguments))?;
            if !printed.contains("Time total") {
                return Err(Failure::Failed(format!("memcslap --test={test}: {printed}")));
            }
            keys += MEMCSLAP_KEYS * MEMCSLAP_CONNECTIONS;
        }
    }
    Ok(keys)
}

/// What a program prints, on both its outputs.
fn printed(program: &mut std::process::Command) -> Result<String, Failure> {
    let name = program.get_program().to_string_lossy().into_owned();
    let output = program.output().map_err(|error| Failure::Failed(format!("{name}: {error}")))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if !output.status.success() || has_errors(&printed) {
        return Err(Failure::Failed(format!("{name}: {}, printing:\n{printed}", output.status)));
    }
    Ok(printed)
}

/// Both say so where something has failed, and go on.
fn has_errors(printed: &str) -> bool {
    ["error", "fail", "refused", "timeout"].iter().any(|word| {
        let lines = printed.lines().map(str::to_ascii_lowercase);
        lines.filter(|line| !line.ends_with("_failed: 0")).any(|line| line.contains(word))
    })
}

/// Everything that was stored must have come back as it was.
fn judge_memcaslap(printed: &str) -> Outcome {
    let count = |name: &str| -> Option<u64> {
        printed.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let zeros = ["get_misses:", "verify_misses:", "verify_failed:"];
    let is_clean = zeros.iter().all(|name| count(name) == Some(0));
    if is_clean && count("cmd_get:") > Some(0) && count("cmd_set:") > Some(0) {
        return Ok(());
    }
    Err(Failure::Failed(format!("memcaslap: {printed}")))
}

#[cfg(test)]
mod tests {
    use super::{has_errors, judge_memcaslap};

    const CLEAN: &str = "cmd_get: 9\ncmd_set: 1\nget_misses: 0\nverify_misses: 0\nverify_failed: 0\n";

    #[test]
    fn misses_and_failures_count() {
        assert!(judge_memcaslap(CLEAN).is_ok() && !has_errors(CLEAN));
        assert!(judge_memcaslap(&CLEAN.replace("get_misses: 0", "get_misses: 1")).is_err());
        assert!(judge_memcaslap(&CLEAN.replace("cmd_set: 1", "cmd_set: 0")).is_err());
        assert!(judge_memcaslap("").is_err());
        assert!(has_errors("ERROR during set"));
        assert!(has_errors("verify_failed: 2"));
    }
}
