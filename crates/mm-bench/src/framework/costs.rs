//! Instructions of tasks and timers, counted by callgrind.

use std::path::Path;
use std::process::Command;

use super::print;
use crate::machine::tell;

/// What is counted, with two numbers of times, and what it shall cost at most.
const THINGS: [(&str, [u64; 2], Option<u64>); 10] = [
    ("spawn", [1_000, 4_000], Some(150)),
    ("fresh", [10_000, 20_000], None),
    ("life", [10_000, 20_000], None),
    ("switch", [10_000, 20_000], Some(100)),
    ("yield", [10_000, 20_000], None),
    ("rearm", [10_000, 20_000], Some(40)),
    ("later", [10_000, 20_000], Some(40)),
    ("earlier", [10_000, 20_000], Some(40)),
    ("slots", [10_000, 20_000], Some(40)),
    ("placed", [10_000, 20_000], None),
];

/// Counts and prints a line for each.
///
/// # Errors
/// valgrind or the program is missing.
pub(super) fn run(program: &Path) -> Result<(), String> {
    let mut text = String::from("instructions (docs/runtime.md says of what)\n");
    for (what, times, aim) in THINGS {
        tell(&format!("counting {what}"));
        let counts = [count(program, what, times[0])?, count(program, what, times[1])?];
        let each = (counts[1] - counts[0]) / (times[1] - times[0]);
        let aim = aim.map_or_else(String::new, |aim| format!("  aim {aim}"));
        text.push_str(&format!("  {what:<10} {each:>6}{aim}\n"));
    }
    tell("");
    print(&text)
}

fn count(program: &Path, what: &str, times: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args([what, &times.to_string()]);
    let advice = "install it with `apt-get install valgrind`";
    let output = command.output().map_err(|error| format!("cannot run valgrind: {error}; {advice}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    counted.ok_or_else(|| format!("{} under valgrind counted nothing: {text}", program.display()))
}
