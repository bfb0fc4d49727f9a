//! `cargo xtask bench`: builds what is measured, then lets `mm-bench` measure it.

use crate::command::{Command, Outcome};
use crate::process::{cargo, run as run_program};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "bench",
    arguments: "[instructions | framework | store | neighbours] [--help] | [--all] [--quick] [--twice] [--only ROW] \
                [--server NAME] [--threads N] [--floors DIR] [--json FILE] [--svg FILE] [--help]",
    summary: "compare mmem with the floors, memcached and redis; `instructions` counts them by callgrind, \
              `framework` measures echo and tasks, `store` is in process, `neighbours` shows what \
              others feel while connections misbehave",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    let (what, rest) = match arguments.split_first() {
        Some((first, rest)) if first == "framework" => {
            run_program(&mut cargo(&[
                "build",
                "--release",
                "--package",
                "mm-runtime",
                "--example",
                "costs",
            ]))?;
            return measure("framework", rest);
        }
        Some((first, rest)) if matches!(first.as_str(), "instructions" | "neighbours") => {
            (first.as_str(), rest)
        }
        Some((first, rest)) if first == "store" => return measure("store", rest),
        _ => ("compare", arguments),
    };
    // Two builds, because one build of both would give mmem's dependencies the features that mm-bench asks for.
    run_program(&mut cargo(&["build", "--release", "--package", "mmem"]))?;
    measure(what, rest)
}

/// Runs a command of `mm-bench`, built for release.
///
/// # Errors
/// It cannot be built, or fails.
pub(crate) fn measure(what: &str, arguments: &[String]) -> Outcome {
    let mut program = cargo(&["run", "--quiet", "--release", "--package", "mm-bench", "--", what]);
    run_program(program.args(arguments))
}
