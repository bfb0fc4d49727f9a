//! `cargo xtask experiment`: the measurements that decisions rest on.

use crate::bench::measure;
use crate::command::{Command, Failure, Outcome};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "experiment",
    arguments: "NAME [ARGUMENTS]",
    summary: "run an experiment that a decision rests on: turn",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    if arguments.is_empty() {
        return Err(Failure::Usage("experiment takes a name: turn".to_owned()));
    }
    measure("experiment", arguments)
}
