//! memcached-tool, which Debian's memcached package brings, against the release build: what operators type.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::checks::Tally;
use crate::command::{Failure, Outcome};
use crate::process::program;
use crate::server::Server;
use crate::tools::{self, MEMCACHED_TOOL, MEMCACHED_TOOL_PATH};

/// Items of two sizes, one with flags, one with a time, one with a key that has to be encoded.
const ITEMS: &str = "set plain 5 0 3\r\nabc\r\nset timed 0 1000 1000\r\nVALUE\r\nset per%20cent 0 0 2\r\nhi\r\n\
                     get plain\r\nquit\r\n";

/// What each mode prints: its name, words of lines that must be there (in this order within a line), and the fewest
/// lines.
const MODES: &[(&str, &[&[&str]], usize)] = &[
    (
        "display",
        &[
            &["#", "Item_Size", "Max_age", "Pages", "Count", "Full?", "Evicted", "Evict_Time", "OOM"],
            &["1", "96B", "1", "2", "no", "0"],
            &["12", "1.2K", "1", "1", "no", "0"],
        ],
        3,
    ),
    ("stats", &[&["curr_items", "3"], &["cmd_set", "3"], &["get_hits", "1"], &["version", "1.6.45"]], 93),
    ("settings", &[&["maxconns", "1024"], &["item_size_max", "1048576"], &["track_sizes", "yes"]], 50),
    ("sizes", &[&["1088", "1"], &["96", "2"]], 3),
    ("keys", &[&["key=plain", "exp=-1", "fetch=yes", "cls=1"], &["key=per%2520cent"], &["key=timed"]], 3),
    (
        "dump",
        &[
            &["add", "plain", "5", "0", "3"],
            &["abc"],
            &["add", "timed", "0", "1000"],
            &["add", "per%20cent", "0", "0", "2"],
        ],
        6,
    ),
];

/// Runs every mode.
pub(crate) fn check() -> Result<Tally, Failure> {
    tools::need(&[MEMCACHED_TOOL])?;
    let server = Server::start("memcached-tool", &["-o", "track_sizes"])?;
    let address = server.address();
    fill(&address).map_err(|error| Failure::Failed(format!("memcached-tool: {error}")))?;
    for (mode, lines, fewest) in MODES {
        let output = program("perl", &[MEMCACHED_TOOL_PATH, &address, mode]).output();
        let output = output.map_err(|error| Failure::Failed(format!("memcached-tool {mode}: {error}")))?;
        judge(mode, &String::from_utf8_lossy(&output.stdout), lines, *fewest)?;
    }
    server.stop()?;
    Ok(Tally::ONE_PASSED)
}

fn fill(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(ITEMS.replace("VALUE", &"v".repeat(1000)).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map(|_| ())
}

fn judge(mode: &str, printed: &str, lines: &[&[&str]], fewest: usize) -> Outcome {
    let failed = |what: String| Failure::Failed(format!("memcached-tool {mode}: {what} in:\n{printed}"));
    for &words in lines {
        if !printed.lines().any(|line| has_words(line, words)) {
            return Err(failed(format!("no line with {words:?}")));
        }
    }
    let count = printed.lines().count();
    if count < fewest {
        return Err(failed(format!("{count} lines, not {fewest},")));
    }
    Ok(())
}

/// Whether these words are in a line, in their order.
fn has_words(line: &str, words: &[&str]) -> bool {
    let mut there = line.split_whitespace();
    words.iter().all(|word| there.any(|other| other == *word))
}

#[cfg(test)]
mod tests {
    use super::has_words;

    #[test]
    fn words_are_found_in_their_order() {
        assert!(has_words("  1   96B  2s  no", &["1", "96B", "no"]));
        assert!(!has_words("1 96B", &["96B", "1"]));
        assert!(!has_words("11 96B", &["1"]));
    }
}
