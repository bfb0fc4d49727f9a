//! `cargo xtask trace`: builds mm-bench and has it replay traces against eviction policies.

use crate::command::{Command, Outcome};
use crate::process;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "trace",
    arguments: "[--dir DIR] [--all] [--study] [--help]",
    summary: "compare eviction policies on recorded traces (with --dir) and generated workloads",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    let mut all = vec!["run", "--release", "--quiet", "--package", "mm-bench", "--", "trace"];
    all.extend(arguments.iter().map(String::as_str));
    process::run(&mut process::cargo(&all))
}
