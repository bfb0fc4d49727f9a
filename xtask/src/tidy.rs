//! `cargo xtask tidy`: the rules of CONTRIBUTING.md that neither rustc nor clippy can check.
//!
//! A rule is a function from a [`Source`] or the whole [`Tree`] to [`Violation`]s. Each has a test that shows
//! it a bad piece of code.

mod documents;
mod layers;
mod source;
mod syntax;
mod text;
mod tree;
mod unsafety;

use std::fmt;
use std::path::Path;

use crate::checks::Tally;
use crate::command::{Command, Failure, Outcome, no_arguments};
use crate::process::root;
use source::Source;
use tree::Tree;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "tidy",
    arguments: "",
    summary: "check layers, unsafe, sizes, documents and words over the whole tree",
    run,
};

fn run(arguments: &[String]) -> Outcome {
    no_arguments("tidy", arguments)?;
    all().map(|_| ())
}

/// Checks every rule on the workspace and prints what it finds.
///
/// # Errors
/// [`Failure::Failed`] if a rule is broken anywhere, or a file cannot be read.
pub(crate) fn all() -> Result<Tally, Failure> {
    let violations = check(&root())?;
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(Tally::ONE_PASSED),
        count => Err(Failure::Failed(format!("tidy found {count} violations"))),
    }
}

/// One place where the tree breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Relative to the workspace's root.
    path: String,
    /// From 1.
    line: usize,
    /// What is wrong and what to do about it.
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Checks every rule on the tree below `root`; the violations come sorted by place.
///
/// # Errors
/// [`Failure::Failed`] if a file cannot be read.
fn check(root: &Path) -> Result<Vec<Violation>, Failure> {
    let tree = Tree::read(root)?;
    let mut violations = Vec::new();
    for source in tree.sources() {
        text::check(source, &mut violations);
        if source.is_rust() {
            check_rust(source, &mut violations);
        }
    }
    layers::check(&tree, &mut violations);
    unsafety::check_roots(&tree, &mut violations);
    documents::check(&tree, &mut violations);
    violations.sort();
    violations.dedup();
    Ok(violations)
}

fn check_rust(source: &Source, violations: &mut Vec<Violation>) {
    match syn::parse_file(source.text()) {
        Ok(file) => {
            syntax::check(source, &file, violations);
            unsafety::check(source, violations);
        }
        Err(error) => {
            let what = format!("this is not Rust as tidy reads it ({error}); mend it");
            violations.push(Violation::new(source.path(), error.span().start().line, what));
        }
    }
}

#[cfg(test)]
mod tests;
