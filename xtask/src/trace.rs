//! `cargo xtask trace`: builds mm-bench and has it replay traces against eviction policies.

use crate::bench::measure;
use crate::command::{Command, Outcome};
use crate::process;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "trace",
    arguments: "[--dir DIR] [--all] [--study] [--running [--peer PATH]] [--help]",
    summary: "compare eviction policies, or running caches, on recorded traces (with --dir) and generated ones",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "--running") {
        process::run(&mut process::cargo(&["build", "--release", "--quiet", "--package", "mmem"]))?;
    }
    measure("trace", arguments)
}
