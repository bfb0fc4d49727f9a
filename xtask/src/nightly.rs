//! `cargo xtask nightly`: the checks that take too long for every change.
//!
//! What cannot be run on this machine for want of a tool is listed at the end with the command that gets the
//! tool.

use crate::checks::{Checks, count_tests};
use crate::command::{Command, Failure, Outcome};
use crate::locks;
use crate::process::{cargo, printed, program, root};
use crate::server::DRIVER;
use crate::sim;
use crate::targets;
use crate::toolchain::{REMEDY, Toolchain};
use crate::tools::works;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "nightly",
    arguments: "[NAME...]",
    summary: "run the long checks, or those whose names contain NAME: Miri, loom, fuzzing, simulation, other platforms",
    run,
};

/// Crates whose tests Miri can run: they make no system call that it does not know.
const MIRI_CRATES: &[&str] = &["mm-base", "mm-proto", "mm-store"];
/// Models for loom: a crate, and what selects them.
const MODELS: &[(&str, &[&str])] =
    &[("mm-base", &["--test", "loom"]), ("mm-store", &["--lib", "--features", "canaries", "models"])];
/// Seeds of the simulation.
const SIMULATED_SEEDS: &str = "1000";
/// How long each fuzz target runs, in seconds.
const FUZZ_SECONDS: u32 = 120;
/// An input that takes so many seconds counts as one that hangs.
const FUZZ_TIMEOUT: &str = "-timeout=10";
/// Tells tests that try every driver to leave `io_uring` out.
const WITHOUT_URING: &str = "MM_TEST_WITHOUT_URING";
/// Platforms on which the tests run too, and what runs their programs here.
const TESTED_TARGETS: &[TestedTarget] = &[
    TestedTarget {
        target: "i686-unknown-linux-gnu",
        probe: "command -v i686-linux-gnu-gcc && test -e /usr/lib32/libgcc_s.so.1",
        remedy: "apt-get install gcc-i686-linux-gnu libc6-dev-i386-cross libc6-i386 lib32gcc-s1",
        environment: &[("CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER", "i686-linux-gnu-gcc")],
        // Their programs need a compiler of their own or measure the machine.
        left_out: &["mm-bench", "xtask"],
        skipped: &[],
    },
    TestedTarget {
        target: "aarch64-unknown-linux-gnu",
        probe: "command -v qemu-aarch64 && command -v aarch64-linux-gnu-gcc",
        remedy: "apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        environment: &[
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64 -L /usr/aarch64-linux-gnu"),
            (WITHOUT_URING, "1"),
            // Emulated code is slow enough; checks of overflow and assertions stay.
            ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
        ],
        // mmem's tests start the program, which only the machine itself could.
        left_out: &["mm-bench", "mmem", "xtask"],
        // The emulator refuses the system calls of io_uring, takes no advice about memory, and does not tell that
        // descriptors were dropped on their way. Tests that begin themselves anew, as a process that is to end, would
        // have to be run by it again.
        skipped: &[
            "uring",
            "resident_when_asked_for",
            "ends_the_process",
            "the_process_ends",
            "descriptors_that_do_not_come",
        ],
    },
];

/// A platform that is not this one but whose programs can run here.
struct TestedTarget {
    target: &'static str,
    /// Succeeds where programs can be linked and run.
    probe: &'static str,
    /// What to do where it does not.
    remedy: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// Packages whose tests cannot run there.
    left_out: &'static [&'static str],
    /// Parts of the names of tests that cannot run there.
    skipped: &'static [&'static str],
}

fn run(arguments: &[String]) -> Outcome {
    let mut checks = Checks::named(arguments);
    miri(&mut checks);
    loom(&mut checks);
    fuzz(&mut checks);
    simulation(&mut checks);
    outside(&mut checks);
    if works(locks::PROBE) {
        checks.check("a store of one shard locks nothing", locks::check);
    } else {
        checks.skip("a store of one shard locks nothing", locks::REMEDY);
    }
    for tested in TESTED_TARGETS {
        tested_target(&mut checks, tested);
    }
    targets::check(&mut checks);
    checks.finish()
}

fn miri(checks: &mut Checks) {
    if !works(&["cargo", "+nightly", "miri", "--version"]) {
        checks.skip("Miri", "rustup toolchain install nightly --component miri,rust-src");
        return;
    }
    for package in MIRI_CRATES {
        let mut tests = program("cargo", &["+nightly", "miri", "test", "--quiet", "--package", package]);
        // The folder that holds what a test writes down is not Miri's to isolate.
        tests.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "8");
        checks.check(&format!("Miri on {package}"), || count_tests(&mut tests));
    }
}

fn loom(checks: &mut Checks) {
    for (package, selected) in MODELS {
        let mut tests = cargo(&["test", "--quiet", "--release", "--package", package]);
        tests.args(*selected);
        tests.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
        tests.env("CARGO_TARGET_DIR", root().join("target").join("loom"));
        checks.check(&format!("loom on {package}"), || count_tests(&mut tests));
    }
}

/// Many seeds, which have to reach every marked path; mistakes on purpose, which have to be caught; an hour of expiry.
fn simulation(checks: &mut Checks) {
    checks.program("simulation of many seeds", &mut sim::program(&["--seeds", SIMULATED_SEEDS]));
    checks.program("mistakes made on purpose", &mut sim::program(&["--canary", "all"]));
    for (name, package, test) in
        [("mistakes on threads", "mm-sim", "linearizability"), ("pins ignored", "mm-store", "limit")]
    {
        let select = ["--package", package, "--features", "canaries", "--test", test, "mistake"];
        checks.check(name, || count_tests(cargo(&["test", "--quiet"]).args(select)));
    }
    checks.program("an hour of expiring items", &mut sim::program(&["--hour"]));
}

/// The whole program: other people's tests, and what becomes of a cache when its process ends.
fn outside(checks: &mut Checks) {
    if works(&["apt-get", "--version"]) && works(&["prove", "--version"]) {
        let tests = || cargo(&["xtask", "compat"]);
        checks.program("memcached's own tests", &mut tests());
        checks.program("memcached's own tests on io_uring", tests().env(DRIVER, "uring"));
    } else {
        checks.skip("memcached's own tests", "apt-get install perl, on Debian");
    }
    checks.program("client libraries on io_uring", cargo(&["xtask", "clients"]).env(DRIVER, "uring"));
    checks.program("restarts, kills and upgrades", &mut cargo(&["xtask", "restart"]));
}

fn fuzz(checks: &mut Checks) {
    if !root().join("fuzz").join("Cargo.toml").exists() {
        checks.skip("fuzzing", "there are no fuzz targets yet");
        return;
    }
    if !works(&["cargo", "fuzz", "--version"]) || !works(&["cargo", "+nightly", "--version"]) {
        checks.skip("fuzzing", "rustup toolchain install nightly && cargo install cargo-fuzz");
        return;
    }
    let targets = match fuzz_targets() {
        Ok(targets) => targets,
        Err(failure) => {
            checks.check("fuzzing", || Err(failure));
            return;
        }
    };
    for target in targets.lines() {
        let seconds = format!("-max_total_time={FUZZ_SECONDS}");
        let dictionary = "-dict=fuzz/memcached.dict";
        let mut fuzzer =
            program("cargo", &["+nightly", "fuzz", "run", target, "--", &seconds, dictionary, FUZZ_TIMEOUT]);
        checks.program(&format!("fuzzing {target}"), &mut fuzzer);
    }
}

/// The names of the fuzz targets, one in a line; there is one at least.
fn fuzz_targets() -> Result<String, Failure> {
    let targets = printed(&mut program("cargo", &["+nightly", "fuzz", "list"]))?;
    if targets.trim().is_empty() {
        return Err(Failure::Failed("`cargo fuzz list` names no target".to_owned()));
    }
    Ok(targets)
}

fn tested_target(checks: &mut Checks, tested: &TestedTarget) {
    let name = format!("tests on {}, without {}", tested.target, tested.left_out.join(", "));
    let Some(toolchain) = Toolchain::for_target(tested.target) else {
        checks.skip(&name, &format!("no standard library: {REMEDY}"));
        return;
    };
    if !works(&["sh", "-c", tested.probe]) {
        checks.skip(&name, tested.remedy);
        return;
    }
    let mut tests = toolchain.cargo("test", tested.target, "std,test,panic_unwind");
    tests.args(["--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    tests.args(tested.left_out.iter().flat_map(|package| ["--exclude", package]));
    tests.arg("--").args(tested.skipped.iter().flat_map(|part| ["--skip", part]));
    tests.envs(tested.environment.iter().copied());
    checks.check(&name, || count_tests(&mut tests));
}
