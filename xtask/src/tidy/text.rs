//! Rules on lines and words, for every text file.

use super::Violation;
use super::source::Source;

/// The widest line of code, in characters. rustfmt breaks statements at 110, but neither strings nor comments.
const WIDTH_MAX: usize = 120;
/// The longest Rust file, in lines.
const FILE_LINES_MAX: usize = 500;
/// The longest example of the front door, in lines: it is read as a whole.
const EXAMPLE_LINES_MAX: usize = 100;
/// Where those examples are.
const EXAMPLES: &str = "crates/mainmemory/examples/";

/// Words that mark unfinished work. Written in halves, so that this file does not break its own rule.
const MARKERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

/// Text that means something on one machine only, or names a registry's host, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "name no folder of one machine"),
    (concat!("/wo", "rk/"), "name no folder of one machine"),
    (concat!("/tmp", "/mm"), "name no folder of one machine"),
    (concat!("/tmp", "/wt"), "name no folder of one machine"),
    (concat!("sha", "red/bench"), "name no folder outside the repository"),
    (concat!("sha", "red/reference"), "name no folder outside the repository"),
    (concat!("sha", "red/traces"), "name no folder outside the repository; say 'the folder given by --dir'"),
    (concat!("sha", "red/design"), "name no folder outside the repository; name ARCHITECTURE.md"),
    (concat!("index.cra", "tes.io"), "name no registry's host; cargo knows it"),
    (concat!("static.cra", "tes.io"), "name no registry's host; cargo knows it"),
    (concat!("registry.npm", "js.org"), "name no registry's host; npm knows it"),
    (concat!("pypi", ".org"), "name no registry's host; pip knows it"),
    (concat!("deb.deb", "ian.org"), "name no registry's host; apt knows it"),
];

/// Checks one file.
pub(super) fn check(source: &Source, violations: &mut Vec<Violation>) {
    let mut add = |line, what: String| violations.push(Violation::new(source.path(), line, what));
    let count = source.lines().count();
    if source.is_rust() && count >= FILE_LINES_MAX {
        add(
            FILE_LINES_MAX,
            format!("{count} lines; split the file so that each part has fewer than {FILE_LINES_MAX}"),
        );
    }
    if source.is_rust() && source.path().starts_with(EXAMPLES) && count > EXAMPLE_LINES_MAX {
        let what = format!("{count} lines; an example shows one thing in at most {EXAMPLE_LINES_MAX}");
        add(EXAMPLE_LINES_MAX + 1, what);
    }
    if source.path().ends_with("/mod.rs") {
        add(1, "module file named mod.rs; name it after its module, beside the folder".to_owned());
    }
    for (number, line) in source.lines() {
        for what in line_faults(source, line) {
            add(number, what);
        }
    }
}

fn line_faults(source: &Source, line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (word, instead) in BANNED {
        if line.contains(word) {
            faults.push(format!("'{word}' in a committed file; {instead}"));
        }
    }
    if line.ends_with([' ', '\t', '\r']) {
        faults.push("white space at the end of the line; delete it".to_owned());
    }
    if !source.is_code() {
        return faults;
    }
    if line.contains('\t') {
        faults.push("a tab; indent by spaces, write \\t in strings".to_owned());
    }
    if let Some(found) = line.chars().find(|c| !c.is_ascii()) {
        faults.push(format!("the character '{found}'; write ASCII, or \\u{{..}} in strings"));
    }
    let width = line.chars().count();
    if width > WIDTH_MAX {
        faults.push(format!("{width} characters wide; break the line at {WIDTH_MAX}"));
    }
    if let Some(word) = MARKERS.iter().find(|word| has_word(line, word)) {
        faults.push(format!("{word} marks unfinished work; do it, or open an issue"));
    }
    faults
}

/// Whether `word` occurs in the line with no letter, digit or underscore beside it.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
