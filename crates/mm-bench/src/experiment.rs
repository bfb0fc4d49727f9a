//! Throw-away experiments, kept because a decision rests on each.

mod turn;

use std::process::ExitCode;

use clap::Subcommand;

use turn::{ServeArguments, TurnArguments};

/// Which experiment.
#[derive(Debug, Subcommand)]
pub(crate) enum Experiment {
    /// One connection after the other, or all in stages: docs/decisions/0003-staged-turn.md.
    Turn(TurnArguments),
    /// One of that experiment's servers, alone.
    #[command(hide = true)]
    TurnServer(ServeArguments),
}

/// Runs one.
///
/// # Errors
/// What stopped it.
pub(crate) fn run(experiment: Experiment) -> Result<ExitCode, String> {
    match experiment {
        Experiment::Turn(arguments) => turn::run(&arguments),
        Experiment::TurnServer(arguments) => match turn::serve(&arguments)? {},
    }
}
