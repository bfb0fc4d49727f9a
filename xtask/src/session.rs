//! The sessions shown in README.md, run as they stand there.

use std::process::Stdio;

use crate::checks::Tally;
use crate::command::{Failure, Outcome};
use crate::process::{program, root};
use crate::server::Server;
use crate::tools::{self, NETCAT};

/// The port that the README's sessions use.
const SHOWN_PORT: &str = "11211";

/// A command line and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    output: String,
}

/// Runs every command of README.md that speaks to a server by netcat and compares what it prints.
///
/// # Errors
/// [`Failure::Failed`] with both texts if one prints something else.
pub(crate) fn readme() -> Result<Tally, Failure> {
    tools::need(&[NETCAT])?;
    let path = root().join("README.md");
    let page =
        std::fs::read_to_string(&path).map_err(|error| Failure::Failed(format!("README.md: {error}")))?;
    let exchanges = exchanges(&page);
    if exchanges.is_empty() {
        return Err(Failure::Failed("README.md shows no session".to_owned()));
    }
    let server = Server::start("readme", &[])?;
    for exchange in &exchanges {
        run(exchange, server.port())?;
    }
    server.stop()?;
    Ok(Tally::ONE_PASSED)
}

fn run(exchange: &Exchange, port: u16) -> Outcome {
    let command = exchange.command.replace(SHOWN_PORT, &port.to_string());
    let output = program("sh", &["-c", &command]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::Failed(format!("{command}: {error}")))?;
    let printed = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    if printed == exchange.output {
        return Ok(());
    }
    let shown = &exchange.output;
    Err(Failure::Failed(format!("{command}\nREADME.md shows:\n{shown}but it prints:\n{printed}")))
}

/// The commands with `nc` in a page's `console` blocks, each with the lines below it.
fn exchanges(page: &str) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            found.push(Exchange { command: command.to_owned(), output: String::new() });
        } else if inside && let Some(last) = found.last_mut() {
            last.output.push_str(line);
            last.output.push('\n');
        }
    }
    found.retain(|exchange| exchange.command.contains("| nc "));
    found
}

#[cfg(test)]
mod tests {
    use super::{Exchange, exchanges};

    #[test]
    fn only_commands_with_netcat_in_console_blocks_are_sessions() {
        let page = "```console\n$ cargo run\n$ printf 'a' | nc b\nA\nB\n```\n$ printf 'c' | nc d\n";
        let only = Exchange { command: "printf 'a' | nc b".to_owned(), output: "A\nB\n".to_owned() };
        assert_eq!(exchanges(page), [only]);
    }
}
