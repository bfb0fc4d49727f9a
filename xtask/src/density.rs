//! `cargo xtask density`: builds mmem, then has mm-bench measure what caches need beside keys and values.

use crate::bench::measure;
use crate::command::{Command, Outcome};
use crate::process::{cargo, run as run_program};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "density",
    arguments: "[--limits MIB,...] [--only VALUES] [--cache NAME] [--ttl no|yes] [--fresh]",
    summary: "bytes beside key and value in mmem, memcached and redis, fresh and after churn",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    run_program(&mut cargo(&["build", "--release", "--package", "mmem"]))?;
    measure("density", arguments)
}
