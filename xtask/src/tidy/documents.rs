//! Rules on documents: decision pages, links to them, commands that exist.

use toml::{Table, Value};

use super::Violation;
use super::layers::line_of;
use super::source::Source;
use super::text::has_word;
use super::tree::Tree;
use crate::COMMANDS;

/// Where the decision pages are.
const DECISIONS: &str = "docs/decisions/";
/// The page that lists them.
const INDEX: &str = "docs/decisions/README.md";

/// Checks the whole tree.
pub(super) fn check(tree: &Tree, violations: &mut Vec<Violation>) {
    check_decisions(tree, violations);
    check_dependencies(tree, violations);
    for page in tree.sources().iter().filter(|source| source.is_markdown()) {
        check_commands(page, violations);
        check_links(tree, page, violations);
    }
}

/// Decision pages are numbered from 0001 without gaps, and the index links to each.
fn check_decisions(tree: &Tree, violations: &mut Vec<Violation>) {
    let pages: Vec<&Source> =
        tree.below(DECISIONS).filter(|page| page.is_markdown() && page.path() != INDEX).collect();
    let index = tree.find(INDEX).map_or("", Source::text);
    for (position, page) in pages.iter().enumerate() {
        let name = page.path().trim_start_matches(DECISIONS);
        let expected = format!("{:04}-", position + 1);
        if !name.starts_with(&expected) {
            let what =
                format!("decision pages are numbered without gaps; this one should begin with {expected}");
            violations.push(Violation::new(page.path(), 1, what));
        }
        if !index.contains(&format!("({name})")) {
            let what = format!("no link to this page in {INDEX}; add one");
            violations.push(Violation::new(page.path(), 1, what));
        }
    }
}

/// Every dependency of the workspace that is not a crate of it has its reason in a decision page.
fn check_dependencies(tree: &Tree, violations: &mut Vec<Violation>) {
    let Some(manifest) = tree.find("Cargo.toml") else {
        return;
    };
    let Ok(table) = manifest.text().parse::<Table>() else {
        violations.push(Violation::new(manifest.path(), 1, "not a manifest; mend it"));
        return;
    };
    let workspace = table.get("workspace").and_then(|w| w.get("dependencies")).and_then(Value::as_table);
    for (name, value) in workspace.into_iter().flatten() {
        let outside = value.get("path").is_none();
        let named = tree.below(DECISIONS).any(|page| page.path() != INDEX && has_word(page.text(), name));
        if outside && !named {
            let what =
                format!("{name} has no decision page; write why it is used in {DECISIONS}NNNN-title.md");
            violations.push(Violation::new(manifest.path(), line_of(manifest, name), what));
        }
    }
}

/// Every `cargo xtask NAME` that a page shows exists.
fn check_commands(page: &Source, violations: &mut Vec<Violation>) {
    for (number, line) in page.lines() {
        for (start, found) in line.match_indices("cargo xtask ") {
            let rest = &line[start + found.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
            let name = &rest[..end];
            // Capitals stand for any command.
            let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
            if is_name && !COMMANDS.iter().any(|command| command.name == name) {
                let what = format!("there is no command `cargo xtask {name}`; mend the page or the command");
                violations.push(Violation::new(page.path(), number, what));
            }
        }
    }
}

/// Every relative link of a page leads to a file or folder of the tree.
fn check_links(tree: &Tree, page: &Source, violations: &mut Vec<Violation>) {
    let folder = page.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    for (number, line) in page.lines() {
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            let target = rest.split([')', '#']).next().unwrap_or("");
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = resolve(folder, target);
            let exists = tree.find(&path).is_some()
                || tree.below(&format!("{}/", path.trim_end_matches('/'))).next().is_some()
                || path.starts_with("LICENSE-");
            if !exists {
                let what = format!("the link to {target} leads nowhere; mend it");
                violations.push(Violation::new(page.path(), number, what));
            }
        }
    }
}

/// The path that a link in a page of `folder` means, relative to the root.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}
