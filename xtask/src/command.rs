//! What a developer command is, and how it fails.

use std::fmt;

/// One developer command.
pub(crate) struct Command {
    /// The word after `cargo xtask`.
    pub(crate) name: &'static str,
    /// Its arguments as help shows them; empty where it takes none.
    pub(crate) arguments: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// Runs it with the arguments after its name.
    pub(crate) run: fn(&[String]) -> Outcome,
}

/// How a command ended.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller asked for something that does not exist: exit code 2.
    Usage(String),
    /// The work was tried and failed: exit code 1.
    Failed(String),
}

impl Failure {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// Refuses arguments for a command that takes none.
///
/// # Errors
/// [`Failure::Usage`] naming the first argument.
pub(crate) fn no_arguments(name: &str, arguments: &[String]) -> Outcome {
    match arguments.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Usage(format!("{name} takes no arguments, but was given '{first}'"))),
    }
}
