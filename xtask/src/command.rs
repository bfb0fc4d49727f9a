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

/// The number of `--seconds N`, 1 at least, or what it is without that.
///
/// # Errors
/// [`Failure::Usage`] for any other arguments.
pub(crate) fn seconds(name: &str, arguments: &[String], default: u64) -> Result<u64, Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seconds = match words.as_slice() {
        [] => Some(default),
        ["--seconds", number] => number.parse().ok().filter(|seconds| *seconds > 0),
        _ => None,
    };
    seconds.ok_or_else(|| {
        let given = words.join(" ");
        Failure::Usage(format!("{name} takes --seconds and a whole number above 0, not '{given}'"))
    })
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

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_are_a_number_above_0() {
        let given = |words: &[&str]| {
            let arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            seconds("memory", &arguments, 60).ok()
        };
        assert_eq!(given(&[]), Some(60));
        assert_eq!(given(&["--seconds", "5"]), Some(5));
        for wrong in [&["--seconds", "0"][..], &["--seconds"], &["--seconds", "x"], &["5"]] {
            assert_eq!(given(wrong), None, "{wrong:?}");
        }
    }
}
