//! `cargo xtask sim`: builds the simulation of whole servers and runs seeds of it.

use crate::command::{Command, Outcome};
use crate::process;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "sim",
    arguments: "[--seed N [--show] | --seeds M [--from N] | --canary NAME|all | --hour]",
    summary: "run mmem in virtual time under faults, and hold every answer against a model",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    let mut all = vec!["run", "--release", "--quiet", "--package", "mm-sim"];
    all.extend(["--features", "marks,canaries", "--"]);
    all.extend(arguments.iter().map(String::as_str));
    process::run(&mut process::cargo(&all))
}
