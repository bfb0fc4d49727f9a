//! What `-h`, `-V` and `-i` print.

use mainmemory::server::DriverChoice;

use super::flags::{Flag, GROUPS};
use super::suboptions::{self, SUBOPTIONS, Suboption};
use crate::config::Name;

/// The version of memcached whose behaviour this program has; clients and scripts go by it.
pub(crate) const MEMCACHED_VERSION: &str = "1.6.45";

/// Where the explanations begin, in columns.
const COLUMN: usize = 32;
/// How wide the help is, in columns.
const WIDTH: usize = 100;

/// The text of `-V`.
pub(super) fn version(name: Name) -> String {
    match name {
        Name::Mmem => format!("mmem {}\n", env!("CARGO_PKG_VERSION")),
        Name::Memcached { .. } => format!("memcached {MEMCACHED_VERSION}\n"),
    }
}

/// The text of `-i`.
pub(super) fn licence(_: Name) -> String {
    "MainMemory is licensed under the MIT licence or the Apache License 2.0, as you choose.\n".to_owned()
}

/// The text of `-h`.
pub(super) fn help(name: Name) -> String {
    let mut text = version(name);
    text.push_str(match name {
        Name::Mmem => "A replacement for memcached. Listens on loopback unless told otherwise.\n",
        Name::Memcached { .. } => "This is MainMemory's mmem under memcached's name.\n",
    });
    for group in GROUPS.iter().filter(|group| !group.title.is_empty()) {
        text.push_str(&format!("\n{}:\n", group.title));
        for flag in group.flags {
            line(&mut text, &shown(flag), &flag.help.replace("{drivers}", &drivers()));
        }
    }
    text.push_str("\nOptions of -o:\n");
    for suboption in SUBOPTIONS {
        if let suboptions::Meaning::Set(help, _) = suboption.meaning {
            line(&mut text, &format!("  {}", named(suboption)), help);
        }
    }
    if name == (Name::Memcached { debug: true }) {
        line(&mut text, "  relaxed_privileges", "for tests only: the command 'debugtime' moves the clock");
    }
    let nothing = |suboption: &&Suboption| {
        matches!(suboption.meaning, suboptions::Meaning::Nothing(_) | suboptions::Meaning::Shown(..))
    };
    let names: Vec<&str> = SUBOPTIONS.iter().filter(nothing).map(|suboption| suboption.name).collect();
    text.push_str("\nOptions of -o accepted for memcached's sake, without effect:\n");
    wrap(&mut text, &names.join(", "), 2);
    text
}

fn drivers() -> String {
    let names: Vec<&str> = DriverChoice::HERE.iter().map(|(name, _)| *name).collect();
    format!("{} ({})", names.join(", "), names[0])
}

fn shown(flag: &Flag) -> String {
    let value = if flag.value.is_empty() { String::new() } else { format!("={}", flag.value) };
    match flag.short {
        Some(short) => format!("  -{short}, --{}{value}", flag.long),
        None => format!("      --{}{value}", flag.long),
    }
}

fn named(suboption: &Suboption) -> String {
    match suboption.value {
        suboptions::Value::None => suboption.name.to_owned(),
        suboptions::Value::Optional => format!("{}[=VALUE]", suboption.name),
        suboptions::Value::Required => format!("{}=VALUE", suboption.name),
    }
}

/// A name and its explanation, which stands below where the name is long.
fn line(text: &mut String, name: &str, help: &str) {
    text.push_str(name);
    if name.len() + 1 < COLUMN {
        text.push_str(&" ".repeat(COLUMN - name.len()));
    } else {
        text.push('\n');
        text.push_str(&" ".repeat(COLUMN));
    }
    let mut rest = String::new();
    wrap(&mut rest, help, COLUMN);
    text.push_str(rest.trim_start());
}

/// Adds words in lines that are indented and at most [`WIDTH`] wide.
fn wrap(text: &mut String, words: &str, indent: usize) {
    let mut width = 0;
    for word in words.split(' ') {
        if width > 0 && indent + width + 1 + word.len() > WIDTH {
            text.push('\n');
            width = 0;
        }
        if width == 0 {
            text.push_str(&" ".repeat(indent));
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += word.len();
    }
    text.push('\n');
}
