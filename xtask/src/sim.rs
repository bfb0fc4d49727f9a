//! `cargo xtask sim`: builds the simulation of whole servers and runs seeds of it.

use std::process::Command as Program;

use crate::command::{Command, Outcome};
use crate::process;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "sim",
    arguments: "[--seed N [--show] | --seeds M [--from N] [--jobs J] | --canary NAME|all | --hour]",
    summary: "run mmem in virtual time under faults, and hold every answer against a model",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    process::run(&mut program(&arguments))
}

/// The simulation, with marks counted and with mistakes that it can be told to make.
pub(crate) fn program(arguments: &[&str]) -> Program {
    let mut program = process::cargo(&["run", "--release", "--quiet", "--package", "mm-sim"]);
    program.args(["--features", "marks,canaries", "--"]).args(arguments);
    program
}
