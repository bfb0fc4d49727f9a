//! `cargo xtask locks`: a store of one shard locks nothing on the path of a request.
//!
//! The service serves requests in process under callgrind, twice, the second time more of them. Whatever machine
//! instruction was executed more often then is on the path of a request: none of them may be one that locks the bus or
//! orders memory. A store of several shards does have such, so that the same look at it shows that they would be seen.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use crate::checks::Tally;
use crate::command::{Command, Failure, Outcome, no_arguments};
use crate::process::{cargo, printed, program, release, run as run_program};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "locks",
    arguments: "",
    summary: "look for locked instructions and fences on the path of a request of a store of one shard",
    run,
};

/// What is asked for.
const VERBS: &[&str] = &["get", "set", "mg", "ms"];
/// Requests of the shorter and the longer run.
const RUNS: [&str; 2] = ["2000", "4000"];
/// Requests in one input.
const DEPTH: &str = "20";
/// What has to be there, besides cargo.
pub(crate) const PROBE: &[&str] = &["sh", "-c", "valgrind --version && objdump --version && nm --version"];
/// What brings it.
pub(crate) const REMEDY: &str = "apt-get install valgrind binutils";

fn run(arguments: &[String]) -> Outcome {
    no_arguments("locks", arguments)?;
    if !crate::tools::works(PROBE) {
        return Err(Failure::Failed(format!("a tool is missing here: {REMEDY}")));
    }
    check().map(|_| ())
}

/// Looks at every verb.
///
/// # Errors
/// [`Failure::Failed`] with the instructions that should not be there, or where those of a store of several shards are
/// not seen.
pub(crate) fn check() -> Result<Tally, Failure> {
    let build = ["build", "--quiet", "--release", "--package", "mm-memcached", "--example", "requests"];
    run_program(&mut cargo(&build))?;
    let binary = release().join("examples/requests");
    let locking = locking_instructions(&binary)?;
    for verb in VERBS {
        let found = executed_per_request(&binary, &[verb])?.intersection(&locking).count();
        println!("one shard, {verb}: {found} instructions that lock or order");
        if found > 0 {
            return Err(Failure::Failed(format!("{verb} on a store of one shard locks or orders memory")));
        }
    }
    let found = executed_per_request(&binary, &["set", "shared"])?.intersection(&locking).count();
    println!("several shards, set: {found}");
    if found == 0 {
        return Err(Failure::Failed("what a store of several shards locks was not seen".to_owned()));
    }
    Ok(Tally::ONE_PASSED)
}

/// Addresses of the instructions that were executed more often in the longer run, as the program's file has them.
fn executed_per_request(binary: &Path, how: &[&str]) -> Result<HashSet<u64>, Failure> {
    let start = start_of_main(binary)?;
    let [short, long] = [counts(binary, how, RUNS[0])?, counts(binary, how, RUNS[1])?];
    let Some(moved_by) = long.main.and_then(|main| main.checked_sub(start)) else {
        return Err(Failure::Failed("callgrind does not tell where main begins".to_owned()));
    };
    let is_more =
        |&(address, count): &(&u64, &u64)| short.executed.get(address).is_none_or(|few| few < count);
    Ok(long.executed.iter().filter(is_more).map(|(address, _)| address.wrapping_sub(moved_by)).collect())
}

/// How often each instruction was executed, by its address in the process, and where `main` began there.
#[derive(Debug, Default)]
struct Counts {
    executed: HashMap<u64, u64>,
    main: Option<u64>,
}

fn counts(binary: &Path, how: &[&str], requests: &str) -> Result<Counts, Failure> {
    let file: PathBuf = std::env::temp_dir().join(format!("xtask-locks-{}", std::process::id()));
    let mut callgrind = program("valgrind", &["--tool=callgrind", "--dump-instr=yes", "--dump-line=no"]);
    callgrind.args(["--compress-strings=no", "--compress-pos=no", "--quiet"]);
    callgrind.arg(format!("--callgrind-out-file={}", file.display())).arg(binary);
    callgrind.args(&how[..1]).args([requests, DEPTH]).args(&how[1..]);
    run_program(&mut callgrind)?;
    let text = fs::read_to_string(&file);
    fs::remove_file(&file).unwrap_or(());
    let text = text.map_err(|error| Failure::Failed(format!("cannot read {}: {error}", file.display())))?;
    Ok(parse_counts(&text))
}

/// Reads what callgrind writes. A line behind one that begins with `calls=` counts what was called.
fn parse_counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    let (mut is_main, mut is_call) = (false, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            is_main = name == "main";
        }
        if line.starts_with("calls=") {
            is_call = true;
            continue;
        }
        let Some((address, count)) = line.strip_prefix("0x").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let (Ok(address), Ok(count)) = (u64::from_str_radix(address, 16), count.parse::<u64>()) else {
            continue;
        };
        if !std::mem::take(&mut is_call) {
            *counts.executed.entry(address).or_default() += count;
            if is_main {
                counts.main = Some(counts.main.map_or(address, |main| main.min(address)));
            }
        }
    }
    counts
}

/// Where `main` begins in the program's file.
fn start_of_main(binary: &Path) -> Result<u64, Failure> {
    let text = printed(Program::new("nm").arg(binary))?;
    let main = text.lines().find_map(|line| line.strip_suffix(" T main"));
    main.and_then(|address| u64::from_str_radix(address, 16).ok())
        .ok_or_else(|| Failure::Failed("nm does not tell where main is".to_owned()))
}

/// Addresses of the instructions that lock the bus or order memory.
fn locking_instructions(binary: &Path) -> Result<HashSet<u64>, Failure> {
    let text = printed(Program::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(binary))?;
    let instructions = text.lines().filter_map(|line| line.trim_start().split_once(":\t"));
    let locking = instructions.filter(|(_, instruction)| is_locking(instruction));
    Ok(locking.filter_map(|(address, _)| u64::from_str_radix(address, 16).ok()).collect())
}

/// Whether an instruction locks the bus or orders memory: one that exchanges with memory does so without a prefix.
fn is_locking(instruction: &str) -> bool {
    let mut words = instruction.split_whitespace();
    match words.next() {
        Some("lock" | "mfence" | "lfence" | "sfence") => true,
        Some(name) => name.starts_with("xchg") && instruction.contains('('),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_locks_or_orders_is_told_from_the_rest() {
        for locks in ["lock cmpxchg %ecx,(%rdi)", "lock incq 0x10(%rax)", "mfence", "xchg %eax,(%rdi)"] {
            assert!(is_locking(locks), "{locks}");
        }
        for plain in ["mov %eax,(%rdi)", "xchg %ax,%ax", "cmpxchg %ecx,(%rdi)", "incq 0x10(%rax)", ""] {
            assert!(!is_locking(plain), "{plain}");
        }
    }

    #[test]
    fn counts_are_of_instructions_and_not_of_what_they_call() {
        let text = "fn=main\n0x10 2\ncalls=1 0x20\n0x14 90\n0x14 1\nfn=other\n0x8 5\n0x10 1\n";
        let counts = parse_counts(text);
        assert_eq!(counts.main, Some(0x10));
        let expected = HashMap::from([(0x10, 3), (0x14, 1), (0x8, 5)]);
        assert_eq!(counts.executed, expected);
    }
}
