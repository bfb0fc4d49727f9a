//! `cargo xtask help`: the list of commands.

use crate::COMMANDS;
use crate::command::{Command, Outcome, no_arguments};

/// The command.
pub(crate) const COMMAND: Command =
    Command { name: "help", arguments: "", summary: "list the commands", run };

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
