//! `cargo xtask test`: everything that must hold before a change lands.

use crate::checks::{Checks, count_tests};
use crate::command::{Command, Failure, Outcome, no_arguments};
use crate::process::cargo;
use crate::tools::works;
use crate::{clients, memory, tidy};

/// How long the server is filled, in seconds; `cargo xtask memory` does it for a minute.
const MEMORY_SECONDS: u64 = 10;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "test",
    arguments: "",
    summary: "run every check that must pass before a change lands",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    no_arguments("test", arguments)?;
    need_components()?;
    let mut checks = Checks::new();
    checks.program("formatting", &mut cargo(&["fmt", "--all", "--check"]));
    checks.check("tidy", tidy::all);
    let lint = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    checks.program("clippy", &mut cargo(&lint));
    checks.check("tests", || count_tests(&mut cargo(&["test", "--quiet", "--workspace", "--no-fail-fast"])));
    check_without_smp(&mut checks);
    let mut documents = cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    checks.program("documentation", documents.env("RUSTDOCFLAGS", "--deny warnings"));
    let built =
        checks.program("release build", &mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]));
    if built {
        clients::check(&mut checks);
        checks.check("memory", || memory::fill(MEMORY_SECONDS));
    }
    checks.finish()
}

/// The build for one shard, in which `Shared` is not there. The store's tests stand for all: what differs is there.
/// Those that count the steps of millions of writes are left out: they take most of the time and cannot differ.
fn check_without_smp(checks: &mut Checks) {
    let mut lint = cargo(&["clippy", "--quiet", "--no-default-features", "--all-targets"]);
    let packages = ["--package", "mm-store", "--package", "mainmemory", "--package", "mmem"];
    checks.program("clippy without smp", lint.args(packages).args(["--", "--deny", "warnings"]));
    let mut tests = cargo(&["test", "--quiet", "--no-default-features", "--package", "mm-store"]);
    tests.args(["--no-fail-fast", "--", "--skip", "no_write_", "--skip", "small_writes_"]);
    checks.check("tests without smp", || count_tests(&mut tests));
}

/// rustfmt and clippy are parts of the toolchain that a minimal one lacks.
fn need_components() -> Outcome {
    for (command, component) in
        [(["cargo", "fmt", "--version"], "rustfmt"), (["cargo", "clippy", "--version"], "clippy")]
    {
        if !works(&command) && !works(&["rustup", "component", "add", component]) {
            let what = format!("{component} is missing: rustup component add {component}");
            return Err(Failure::Failed(what));
        }
    }
    Ok(())
}
