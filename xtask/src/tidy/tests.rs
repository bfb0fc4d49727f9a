//! Each rule is shown a bad piece, and a good one beside it.

use super::source::Source;
use super::tree::Tree;
use super::{Violation, check_rust, documents, layers, text, unsafety};

/// What is wrong with one file, as `line: what`, without the rules that need the whole tree.
fn faults(path: &str, code: &str) -> Vec<String> {
    let source = Source::new(path, code);
    let mut violations = Vec::new();
    text::check(&source, &mut violations);
    if source.is_rust() {
        check_rust(&source, &mut violations);
    }
    show(violations)
}

/// What is wrong with a tree of files by one rule, as `path:line: what`.
fn tree_faults(rule: fn(&Tree, &mut Vec<Violation>), files: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    rule(&Tree::of(files), &mut violations);
    violations.iter().map(ToString::to_string).collect()
}

fn show(mut violations: Vec<Violation>) -> Vec<String> {
    violations.sort();
    violations.iter().map(|v| format!("{}: {}", v.line, v.what)).collect()
}

/// Asserts that the code has exactly one fault, on this line, whose text contains `part`.
#[track_caller]
fn caught(path: &str, code: &str, line: usize, part: &str) {
    let found = faults(path, code);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{line}: ")) && found[0].contains(part), "{found:?}");
}

#[track_caller]
fn clean(path: &str, code: &str) {
    assert_eq!(faults(path, code), Vec::<String>::new());
}

#[test]
fn a_module_says_what_it_is_for() {
    caught("a.rs", "fn a() {}\n", 1, "no //!");
    clean("a.rs", "//! Adds.\nfn a() {}\n");
}

#[test]
fn files_and_functions_and_arguments_are_bounded() {
    let long_file = format!("//! Long.\n{}", "// a\n".repeat(499));
    caught("a.rs", &long_file, 500, "500 lines");
    let example = |lines: usize| format!("//! Long.\n{}", "// a\n".repeat(lines - 1));
    caught("crates/mainmemory/examples/a.rs", &example(101), 101, "101 lines");
    clean("crates/mainmemory/examples/a.rs", &example(100));
    let long_function =
        |lines: usize| format!("//! Long.\nfn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2));
    caught("a.rs", &long_function(71), 2, "a has 71 lines");
    clean("a.rs", &long_function(70));
    let in_impl = format!("//! Long.\nimpl A {{\n    fn a() {{\n{}    }}\n}}\n", "        b();\n".repeat(69));
    caught("a.rs", &in_impl, 3, "a has 71 lines");
    caught("a.rs", "//! Wide.\nfn a(b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) {}\n", 2, "6 arguments");
    clean("a.rs", "//! Wide.\nfn a(b: u8, c: u8, d: u8, e: u8, f: u8) {}\n");
}

#[test]
fn lines_are_clean() {
    caught("a.sh", "echo \n", 1, "white space at the end");
    caught("a.sh", "\techo\n", 1, "a tab");
    caught("a.rs", "//! A caf\u{e9}.\n", 1, "write ASCII");
    clean("a.md", "A caf\u{e9}.\n");
    caught("a.rs", &format!("//! {}\n", "a".repeat(117)), 1, "121 characters");
    clean("a.rs", &format!("//! {}\n", "a".repeat(116)));
}

#[test]
fn unfinished_work_is_caught() {
    for marker in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")] {
        caught("a.rs", &format!("//! A.\n// {marker}: later\n"), 2, "unfinished");
    }
    clean("a.rs", &format!("//! A{}B.\n", concat!("TO", "DO")));
    caught("a.rs", "//! A.\nfn a() {\n    todo!()\n}\n", 3, "todo!");
    caught("a.rs", "//! A.\nfn a() {\n    unimplemented!();\n}\n", 3, "unimplemented!");
    caught("a.rs", "//! A.\n#[ignore]\n#[test]\nfn a() {}\n", 2, "switched off");
    caught("a.rs", "//! A.\n#[cfg_attr(unix, ignore)]\n#[test]\nfn a() {}\n", 2, "switched off");
    clean("a.rs", "//! A.\n#[cfg_attr(miri, ignore = \"no epoll there\")]\n#[test]\nfn a() {}\n");
}

#[test]
fn lints_are_not_silenced_without_a_reason() {
    caught("a.rs", "//! A.\n#[allow(dead_code)]\nfn a() {}\n", 2, "#[allow]");
    caught("a.rs", "//! A.\n#![expect(dead_code)]\nfn a() {}\n", 2, "#[expect]");
    caught("a.rs", "//! A.\n#[cfg_attr(test, allow(dead_code))]\nfn a() {}\n", 2, "#[allow]");
    clean("a.rs", "//! A.\n#[expect(dead_code, reason = \"shown to the test\")]\nfn a() {}\n");
}

#[test]
fn modules_are_where_their_names_say() {
    caught("a/mod.rs", "//! A.\n", 1, "mod.rs");
    clean("crates/a/tests/examples.rs", "//! A.\n#[path = \"../examples/c.rs\"]\nmod b;\n");
    caught("a.rs", "//! A.\n#[path = \"c.rs\"]\nmod b;\n", 2, "#[path]");
}

#[test]
fn words_of_one_machine_are_caught() {
    caught("a.md", concat!("See /wo", "rk/main.\n"), 1, "one machine");
    caught("a.md", concat!("See https://pypi", ".org/simple.\n"), 1, "registry's host");
}

#[test]
fn unsafe_stays_in_the_places_named_for_it() {
    let block = "//! A.\nfn a() {\n    // SAFETY: b asks for nothing.\n    unsafe { b() }\n}\n";
    caught("crates/mm-proto/src/lib.rs", block, 4, "outside the places");
    clean("crates/mm-runtime/src/sys/epoll.rs", block);
    let in_macro =
        "//! A.\nmacro_rules! a {\n    () => {\n        // SAFETY: b.\n        unsafe { b() }\n    };\n}\n";
    caught("crates/mm-proto/src/lib.rs", in_macro, 5, "outside the places");
    clean("crates/mm-proto/src/lib.rs", "//! Says unsafe.\n// unsafe\nconst A: &str = \"unsafe {}\";\n");
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let place = "crates/mm-runtime/src/sys/epoll.rs";
    caught(place, "//! A.\nfn a() {\n    unsafe { b() }\n}\n", 3, "without a comment");
    caught(
        place,
        "//! A.\n// SAFETY: no.\nfn c() {}\nfn a() {\n    unsafe { b() }\n}\n",
        5,
        "without a comment",
    );
    caught(place, "//! A.\nunsafe impl Send for A {}\n", 2, "without a comment");
    clean(place, "//! A.\nstruct A {\n    call: unsafe fn(u8),\n}\n");
    clean(place, "//! A.\nfn a() {\n    // SAFETY: yes.\n    let c =\n        unsafe { b() };\n}\n");
}

#[test]
fn a_crate_without_unsafe_forbids_it() {
    let found = tree_faults(unsafety::check_roots, &[("crates/mm-proto/src/lib.rs", "//! A.\n")]);
    assert_eq!(found.len(), 1, "{found:?}");
    let forbids = "//! A.\n#![forbid(unsafe_code)]\n";
    assert!(tree_faults(unsafety::check_roots, &[("crates/mm-proto/src/lib.rs", forbids)]).is_empty());
    assert!(tree_faults(unsafety::check_roots, &[("crates/mm-runtime/src/lib.rs", "//! A.\n")]).is_empty());
}

#[test]
fn layers_know_only_what_is_below_them() {
    let manifest = |rest: &str| format!("[dependencies]\n{rest}\n[lints]\nworkspace = true\n");
    let check = |folder: &str, rest: &str| {
        let path = format!("{folder}/Cargo.toml");
        tree_faults(layers::check, &[(&path, &manifest(rest))])
    };
    assert!(check("crates/mm-proto", "mm-base.workspace = true").is_empty());
    let upward = check("crates/mm-proto", "mm-base.workspace = true\nmm-server.workspace = true");
    assert_eq!(upward.len(), 1);
    assert!(
        upward[0].starts_with("crates/mm-proto/Cargo.toml:3: mm-proto may not use mm-server"),
        "{upward:?}"
    );
    assert_eq!(check("crates/mm-memcached", "rustix.workspace = true").len(), 1);
    assert_eq!(check("crates/mm-store", "rustix = \"1\"").len(), 1);
    assert_eq!(check("crates/mm-store", "proptest.workspace = true").len(), 1);
    assert!(check("crates/mm-store", "[dev-dependencies]\nproptest.workspace = true").is_empty());
    assert_eq!(
        check("crates/mm-store", "[target.'cfg(unix)'.dependencies]\nmm-proto.workspace = true").len(),
        1
    );
    assert!(check("crates/mm-store", "[target.'cfg(loom)'.dependencies]\nloom.workspace = true").is_empty());
    assert_eq!(check("crates/mm-surprise", "").len(), 1);
    assert_eq!(tree_faults(layers::check, &[("crates/mm-base/Cargo.toml", "[package]\n")]).len(), 1);
}

#[test]
fn decision_pages_are_numbered_and_listed() {
    let index = "[One](0001-one.md)\n[Two](0002-two.md)\n";
    let page = |name: &'static str| (name, "# A\n");
    let good = [
        page("docs/decisions/0001-one.md"),
        page("docs/decisions/0002-two.md"),
        ("docs/decisions/README.md", index),
    ];
    assert!(tree_faults(documents::check, &good).is_empty());
    let gap = [page("docs/decisions/0002-two.md"), ("docs/decisions/README.md", "[Two](0002-two.md)\n")];
    assert_eq!(tree_faults(documents::check, &gap).len(), 1);
    let unlisted = [page("docs/decisions/0001-one.md"), ("docs/decisions/README.md", "None.\n")];
    assert_eq!(tree_faults(documents::check, &unlisted).len(), 1);
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = "[workspace.dependencies]\nmm-base = { path = \"crates/mm-base\" }\nclap = \"4\"\n";
    let index = ("docs/decisions/README.md", "[A](0001-a.md)");
    let without = [("Cargo.toml", manifest), ("docs/decisions/0001-a.md", "clapping"), index];
    let found = tree_faults(documents::check, &without);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("Cargo.toml:3: clap has no decision page"), "{found:?}");
    let with = [("Cargo.toml", manifest), ("docs/decisions/0001-a.md", "We use clap."), index];
    assert!(tree_faults(documents::check, &with).is_empty());
}

#[test]
fn pages_show_commands_and_files_that_exist() {
    let page = |text: &'static str| [("README.md", text), ("docs/a.md", "A.\n")];
    assert_eq!(tree_faults(documents::check, &page("    cargo xtask frobnicate\n")).len(), 1);
    assert!(tree_faults(documents::check, &page("`cargo xtask tidy` and cargo xtask NAME\n")).is_empty());
    assert_eq!(tree_faults(documents::check, &page("See [b](docs/b.md).\n")).len(), 1);
    assert!(tree_faults(documents::check, &page("See [a](docs/a.md#top) and [docs](docs/).\n")).is_empty());
}
