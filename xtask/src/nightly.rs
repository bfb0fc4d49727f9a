//! `cargo xtask nightly`: the checks that take too long for every change.
//!
//! What cannot be run on this machine for want of a tool is listed at the end with the command that gets the
//! tool.

use crate::checks::{Checks, count_tests};
use crate::command::{Command, Outcome, no_arguments};
use crate::process::{cargo, program, root};
use crate::tools::works;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "nightly",
    arguments: "",
    summary: "run the long checks: Miri, loom, fuzzing, other platforms",
    run,
};

/// Crates whose tests Miri can run: they make no system call that it does not know.
const MIRI_CRATES: &[&str] = &["mm-base", "mm-proto", "mm-store"];
/// Crates with models for loom.
const LOOM_CRATES: &[&str] = &["mm-base"];
/// How long each fuzz target runs, in seconds.
const FUZZ_SECONDS: u32 = 300;
/// Platforms on which the tests run too, and what runs their programs here.
const TESTED_TARGETS: &[(&str, &[&str], &str)] = &[
    ("i686-unknown-linux-gnu", &["sh", "-c", "test -e /usr/lib32/libc.so.6"], "apt-get install gcc-multilib"),
    (
        "aarch64-unknown-linux-gnu",
        &["sh", "-c", "command -v qemu-aarch64 && command -v aarch64-linux-gnu-gcc"],
        "apt-get install qemu-user gcc-aarch64-linux-gnu",
    ),
];
/// Platforms for which the code is type-checked only.
const CHECKED_TARGETS: &[&str] =
    &["x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-unknown-freebsd", "x86_64-unknown-linux-musl"];

fn run(arguments: &[String]) -> Outcome {
    no_arguments("nightly", arguments)?;
    let mut checks = Checks::new();
    miri(&mut checks);
    loom(&mut checks);
    fuzz(&mut checks);
    for (target, probe, remedy) in TESTED_TARGETS {
        tested_target(&mut checks, target, probe, remedy);
    }
    for target in CHECKED_TARGETS {
        checked_target(&mut checks, target);
    }
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
    for package in LOOM_CRATES {
        let mut tests = cargo(&["test", "--quiet", "--release", "--package", package, "loom"]);
        tests.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
        tests.env("CARGO_TARGET_DIR", root().join("target").join("loom"));
        checks.check(&format!("loom on {package}"), || count_tests(&mut tests));
    }
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
    let listed = program("cargo", &["+nightly", "fuzz", "list"]).output();
    let targets =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for target in targets.lines() {
        let seconds = format!("-max_total_time={FUZZ_SECONDS}");
        let mut fuzzer = program("cargo", &["+nightly", "fuzz", "run", target, "--", &seconds]);
        checks.program(&format!("fuzzing {target}"), &mut fuzzer);
    }
}

fn tested_target(checks: &mut Checks, target: &str, probe: &[&str], remedy: &str) {
    let name = format!("tests on {target}");
    if !has_standard_library(target) {
        checks.skip(&name, &format!("rustup target add {target}"));
    } else if !works(probe) {
        checks.skip(&name, remedy);
    } else {
        let mut tests = cargo(&["test", "--quiet", "--workspace", "--exclude", "xtask", "--target", target]);
        tests.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        tests.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64 -L /usr/aarch64-linux-gnu");
        checks.check(&name, || count_tests(&mut tests));
    }
}

fn checked_target(checks: &mut Checks, target: &str) {
    let name = format!("types on {target}");
    if has_standard_library(target) {
        checks.program(&name, &mut cargo(&["check", "--quiet", "--package", "mmem", "--target", target]));
    } else {
        checks.skip(&name, &format!("rustup target add {target}"));
    }
}

/// Whether the toolchain in use can compile for this platform.
fn has_standard_library(target: &str) -> bool {
    let output = program("rustc", &["--print", "target-libdir", "--target", target]).output();
    let folder =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    !folder.is_empty() && std::path::Path::new(&folder).is_dir()
}
