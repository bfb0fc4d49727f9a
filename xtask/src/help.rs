//! `cargo xtask help`: the list of commands.

use crate::COMMANDS;
use crate::command::{Command, Outcome, no_arguments};

/// The command.
pub(crate) const COMMAND: Command =
    Command { name: "help", arguments: "", summary: "list the commands", run };

/// Commands whose arguments go to another program, which explains them in full.
pub(crate) const EXPLAINED_ELSEWHERE: &[&str] = &["bench", "density", "experiment", "sim", "trace"];

/// Whether a command's arguments only ask what it does, and this is where to tell.
pub(crate) fn is_asked(command: &Command, arguments: &[String]) -> bool {
    is_flag(arguments.first()) && !EXPLAINED_ELSEWHERE.contains(&command.name)
}

/// Whether this argument asks for help.
pub(crate) fn is_flag(argument: Option<&String>) -> bool {
    argument.is_some_and(|argument| argument == "--help" || argument == "-h")
}

/// Tells what one command does.
pub(crate) fn explain(command: &Command) {
    println!(
        "{}\n\nusage: {}",
        command.summary,
        format!("cargo xtask {} {}", command.name, command.arguments).trim()
    );
}

fn run(arguments: &[String]) -> Outcome {
    no_arguments("help", arguments)?;
    println!("usage: cargo xtask COMMAND [ARGUMENTS]\n");
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or(0);
    for command in COMMANDS {
        println!("  {:width$}  {}", command.name, command.summary);
        if !command.arguments.is_empty() {
            println!("  {:width$}  {}", "", command.arguments);
        }
    }
    Ok(())
}
