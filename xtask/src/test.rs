//! `cargo xtask test`: everything that must hold before a change lands.

use crate::command::{Command, Outcome, no_arguments};
use crate::process::{cargo, run as run_program};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "test",
    arguments: "",
    summary: "run every check that must pass before a change lands",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    no_arguments("test", arguments)?;
    run_program(&mut cargo(&["fmt", "--all", "--check"]))?;
    run_program(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run_program(&mut cargo(&["test", "--workspace"]))
}
