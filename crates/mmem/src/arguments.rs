//! The command line: what was given, checked, as a [`Config`].
//!
//! [`flags::GROUPS`] and [`suboptions::SUBOPTIONS`] describe every flag once; parsing and the help text walk
//! them.

mod check;
mod flags;
mod given;
mod help;
mod listen;
mod suboptions;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{Config, Name};
use crate::refusal::{Refusal, exit};
use flags::{Flag, GROUPS, Meaning};
use given::Given;
pub(crate) use help::MEMCACHED_VERSION;

/// What the caller asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Print this on the standard output and end.
    Print(String),
    /// Serve.
    Serve(Box<Config>),
}

/// What the process is, besides its arguments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Whether it runs as root.
    pub(crate) is_root: bool,
    /// The variable `MEMCACHED_PORT_FILENAME`.
    pub(crate) port_file: Option<PathBuf>,
}

/// The name by which the program was called.
pub(crate) fn name_of(program: &str) -> Name {
    let file = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program);
    if file.starts_with("memcached") {
        Name::Memcached { debug: file.starts_with("memcached-debug") }
    } else {
        Name::Mmem
    }
}

/// Reads the arguments, the program's own name first.
///
/// # Errors
/// The first [`Refusal`]: an unknown flag, a value that a flag does not take, flags that do not go together.
pub(crate) fn parse(arguments: &[OsString], surroundings: &Surroundings) -> Result<Request, Refusal> {
    let program = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name_of(&program);
    let matches = command().try_get_matches_from(arguments).map_err(|error| refusal(&error))?;
    let mut config = Config::new(name);
    config.listening.port_file.clone_from(&surroundings.port_file);
    for flag in flags() {
        let shown = flag.shown();
        for value in values(&matches, flag) {
            let given = Given::new(&shown, value);
            match flag.meaning {
                Meaning::Print(text) => return Ok(Request::Print(text(name))),
                Meaning::Set(set) => set(&mut config, &given)?,
                Meaning::Refused(why) => return Err(given.refuse(exit::USAGE, why)),
                Meaning::Nothing(check) => {
                    check(&mut config, &given)?;
                    config.without_meaning.push(given.to_string());
                }
            }
        }
    }
    let operands = matches.get_many::<String>(OPERANDS).into_iter().flatten();
    // An empty one is a script's variable that is not set.
    for operand in operands.filter(|operand| !operand.is_empty()) {
        // Most often a flag's dash was forgotten; memcached says nothing.
        if name == Name::Mmem {
            let message = format!("{operand}: not a flag, nor a flag's value; a flag begins with a dash");
            return Err(Refusal::new(exit::USAGE, message));
        }
        config.without_meaning.push(operand.clone());
    }
    check::together(&mut config, surroundings)?;
    Ok(Request::Serve(Box::new(config)))
}

/// The name under which clap keeps what is neither a flag nor a flag's value.
const OPERANDS: &str = "operands";

/// Every flag.
fn flags() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

fn command() -> Command {
    let arguments = flags().map(argument);
    Command::new("mmem")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(true)
        .args(arguments)
        .arg(Arg::new(OPERANDS).num_args(0..).value_parser(clap::builder::StringValueParser::new()))
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.long).long(flag.long).short(flag.short);
    if flag.value.is_empty() {
        argument.action(ArgAction::Count)
    } else {
        argument.action(ArgAction::Append).allow_hyphen_values(true).num_args(1)
    }
}

/// The values given to a flag, in order; an empty one for each time that a flag without value was given.
fn values<'a>(matches: &'a ArgMatches, flag: &Flag) -> Vec<&'a str> {
    if flag.value.is_empty() {
        return vec![""; usize::from(matches.get_count(flag.long))];
    }
    matches.get_many::<String>(flag.long).into_iter().flatten().map(String::as_str).collect()
}

/// clap's complaint in our words.
fn refusal(error: &clap::Error) -> Refusal {
    let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    // clap shows a flag by its long form, with its value's name.
    let typed = about.split(' ').next().unwrap_or_default().trim_end_matches("...");
    let known = flags().find(|flag| typed.strip_prefix("--") == Some(flag.long));
    let flag = known.map_or_else(|| typed.to_owned(), Flag::shown);
    let meant: Vec<String> = flags()
        .map(|flag| format!("--{}", flag.long))
        .filter(|long| known.is_none() && typed.len() > 2 && long.starts_with(typed))
        .collect();
    let message = match error.kind() {
        ErrorKind::UnknownArgument if !meant.is_empty() => {
            format!("{flag}: which of them: {}?", meant.join(", "))
        }
        ErrorKind::UnknownArgument => format!("{flag}: there is no such flag; -h lists them all"),
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues => format!("{flag}: needs a value"),
        ErrorKind::TooManyValues => format!("{flag}: takes no value"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => format!("{flag}: {kind}"),
    };
    Refusal::new(exit::FAILURE, message)
}

#[cfg(test)]
mod tests;
