//! Where `unsafe` may stand, and that each use says why it is sound.

use proc_macro2::{TokenStream, TokenTree};

use super::Violation;
use super::layers::{LAYERS, Layer};
use super::source::Source;
use super::tree::Tree;

/// The files, and folders (ending in `/`) with the file of that name, which may hold `unsafe`.
const UNSAFE_PLACES: &[&str] = &[
    "crates/mm-base/src/buffer/pinned.rs",
    "crates/mm-base/src/mailbox.rs",
    "crates/mm-base/src/scan/block.rs",
    "crates/mm-base/src/wake_list.rs",
    "crates/mm-base/tests/loom.rs",
    "crates/mm-bench/src/floor/",
    "crates/mm-runtime/src/sys/",
    "crates/mm-runtime/src/task/raw/",
    "crates/mm-store/src/memory/",
];

/// How many lines of comment or attribute may stand between a SAFETY line and the `unsafe` it is about.
const SAFETY_REACH: usize = 12;

/// Checks the uses of `unsafe` in one Rust file. That public unsafe functions say what they ask for is
/// clippy's to check.
pub(super) fn check(source: &Source, violations: &mut Vec<Violation>) {
    let Ok(tokens) = source.text().parse::<TokenStream>() else {
        return;
    };
    let mut uses = Vec::new();
    collect(tokens, &mut uses);
    let named = UNSAFE_PLACES.iter().any(|place| is_in(source.path(), place));
    for found in uses {
        if !named {
            let what = "unsafe outside the places named for it; use a safe call, or move it there";
            violations.push(Violation::new(source.path(), found.line, what));
        }
        if found.needs_comment && !has_safety(source, found.line) {
            let what = "unsafe without a comment; state the fact that makes it sound after the word SAFETY";
            violations.push(Violation::new(source.path(), found.line, what));
        }
    }
}

/// Checks that every crate without a named place forbids `unsafe` at its root.
pub(super) fn check_roots(tree: &Tree, violations: &mut Vec<Violation>) {
    for Layer { name, folder, .. } in LAYERS {
        let source_folder = format!("{folder}/src/");
        if UNSAFE_PLACES.iter().any(|place| place.starts_with(&source_folder)) {
            continue;
        }
        for root in ["lib.rs", "main.rs"] {
            let Some(source) = tree.find(&format!("{source_folder}{root}")) else {
                continue;
            };
            if !source.lines().any(|(_, line)| line.trim() == "#![forbid(unsafe_code)]") {
                let what = format!("{name} has no file named for unsafe; write #![forbid(unsafe_code)] here");
                violations.push(Violation::new(source.path(), 1, what));
            }
        }
    }
}

fn is_in(path: &str, place: &str) -> bool {
    match place.strip_suffix('/') {
        Some(module) => path.starts_with(place) || path.strip_suffix(".rs") == Some(module),
        None => path == place,
    }
}

/// One word `unsafe` in the code.
struct Use {
    line: usize,
    /// A block or an implementation: the writer must say why it is sound.
    needs_comment: bool,
}

fn collect(tokens: TokenStream, uses: &mut Vec<Use>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), uses),
            TokenTree::Ident(word) if word == "unsafe" => {
                let next = tokens.peek();
                let is_block = matches!(next, Some(TokenTree::Group(_)));
                let is_impl = matches!(next, Some(TokenTree::Ident(word)) if word == "impl");
                let line = word.span().start().line;
                uses.push(Use { line, needs_comment: is_block || is_impl });
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether the line, or the comments and the beginning of its statement above, speak of safety.
fn has_safety(source: &Source, line: usize) -> bool {
    let says = |text: &str| text.contains("SAFETY:") || text.contains("# Safety");
    if says(source.line(line)) {
        return true;
    }
    let first = line.saturating_sub(SAFETY_REACH).max(1);
    for number in (first..line).rev() {
        let text = source.line(number).trim();
        if says(text) {
            return true;
        }
        let goes_on = text.starts_with("//") || text.starts_with("#[") || !text.ends_with([';', '}', '{']);
        if !goes_on || text.is_empty() {
            return false;
        }
    }
    false
}
