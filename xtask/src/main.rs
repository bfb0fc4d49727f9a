//! Developer commands: everything cargo itself cannot do. `cargo xtask help` lists them.
//!
//! A command is one module with a constant `COMMAND`; it becomes reachable by its line in [`COMMANDS`].

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its terminal")]

mod bench;
mod checks;
mod clients;
mod command;
mod compat;
mod density;
mod experiment;
mod help;
mod locks;
mod memcached_tool;
mod memory;
mod memslap;
mod nightly;
mod process;
mod restart;
mod server;
mod session;
mod sim;
mod targets;
mod test;
mod tidy;
mod toolchain;
mod tools;
mod trace;

use std::process::ExitCode;

use command::{Command, Failure};

/// All commands, in the order in which help lists them.
pub(crate) const COMMANDS: &[Command] = &[
    help::COMMAND,
    // Checks.
    clients::COMMAND,
    compat::COMMAND,
    locks::COMMAND,
    nightly::COMMAND,
    restart::COMMAND,
    sim::COMMAND,
    targets::COMMAND,
    test::COMMAND,
    tidy::COMMAND,
    // Measurements.
    bench::COMMAND,
    density::COMMAND,
    experiment::COMMAND,
    memory::COMMAND,
    memslap::COMMAND,
    trace::COMMAND,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the command named by the first argument with the rest as its arguments; no name at all means help.
fn dispatch(arguments: &[String]) -> command::Outcome {
    let Some((name, rest)) = arguments.split_first().filter(|_| !help::is_flag(arguments.first())) else {
        return (help::COMMAND.run)(&[]);
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) if help::is_asked(command, rest) => {
            help::explain(command);
            Ok(())
        }
        Some(command) => (command.run)(rest),
        None => Err(Failure::Usage(format!("there is no command '{name}'; `cargo xtask help` lists them"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{COMMANDS, dispatch, help};

    #[test]
    fn an_unknown_command_is_a_usage_error_that_names_it() {
        let failure = dispatch(&["frobnicate".to_owned()]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert_eq!(failure.to_string(), "there is no command 'frobnicate'; `cargo xtask help` lists them");
    }

    #[test]
    fn help_answers_with_and_without_its_name() {
        assert!(dispatch(&[]).is_ok());
        assert!(dispatch(&["help".to_owned()]).is_ok());
        assert!(dispatch(&["--help".to_owned()]).is_ok());
    }

    #[test]
    fn a_command_says_what_it_does_instead_of_doing_it() {
        for command in COMMANDS.iter().map(|command| command.name) {
            if !help::EXPLAINED_ELSEWHERE.contains(&command) {
                assert!(dispatch(&[command.to_owned(), "--help".to_owned()]).is_ok(), "{command}");
            }
        }
    }

    #[test]
    fn no_two_commands_share_a_name() {
        let names: HashSet<&str> = COMMANDS.iter().map(|command| command.name).collect();
        assert_eq!(names.len(), COMMANDS.len());
    }
}
