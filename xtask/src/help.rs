//! `cargo xtask help`: the list of commands.

use crate::COMMANDS;
use crate::command::{Command, Outcome, no_arguments};

/// The command.
pub(crate) const COMMAND: Command =
    Command { name: "help", arguments: "", summary: "list the commands", run };

fn run(arguments: &[String]) -> Outcome {
    no_arguments("help", arguments)?;
    println!("usage: cargo xtask COMMAND [ARGUMENTS]\n");
    let titles: Vec<String> =
        COMMANDS.iter().map(|c| format!("{} {}", c.name, c.arguments).trim_end().to_owned()).collect();
    let width = titles.iter().map(String::len).max().unwrap_or(0);
    for (title, command) in titles.iter().zip(COMMANDS) {
        println!("  {title:width$}  {}", command.summary);
    }
    Ok(())
}
