//! `cargo xtask targets`: the code compiles for platforms that are not this one.

use crate::checks::Checks;
use crate::command::{Command, Failure, Outcome, no_arguments};
use crate::toolchain::{REMEDY, Toolchain};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "targets",
    arguments: "",
    summary: "type-check the program and the framework for other platforms",
    run,
};

/// Platforms for which the code is type-checked.
const TARGETS: &[&str] = &[
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-unknown-freebsd",
    "x86_64-unknown-netbsd",
    "x86_64-unknown-openbsd",
    "aarch64-unknown-linux-gnu",
    "i686-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

fn run(arguments: &[String]) -> Outcome {
    no_arguments("targets", arguments)?;
    let mut checks = Checks::new();
    let checked = check(&mut checks);
    checks.finish()?;
    if checked == 0 {
        return Err(Failure::Failed(format!("no platform could be checked: {REMEDY}")));
    }
    Ok(())
}

/// Checks all platforms for which there is a toolchain; says how many those are.
pub(crate) fn check(checks: &mut Checks) -> usize {
    let mut checked = 0;
    for target in TARGETS {
        let name = format!("types on {target}");
        let Some(toolchain) = Toolchain::for_target(target) else {
            checks.skip(&name, &format!("no standard library: {REMEDY}"));
            continue;
        };
        checked += 1;
        let mut cargo = toolchain.cargo("check", target, "std");
        checks.program(&name, cargo.args(["--package", "mmem", "--package", "mainmemory"]));
    }
    checked
}
