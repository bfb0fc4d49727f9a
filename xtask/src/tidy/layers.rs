//! Who may depend on whom: the table of ARCHITECTURE.md, held against the manifests.

use toml::{Table, Value};

use super::Violation;
use super::source::Source;
use super::tree::Tree;

/// One crate of the workspace and what it may know.
pub(super) struct Layer {
    /// The package's name.
    pub(super) name: &'static str,
    /// Its folder in the workspace.
    pub(super) folder: &'static str,
    /// Crates of the workspace that it may use.
    inner: Inner,
    /// Crates from outside that it may use.
    outer: &'static [&'static str],
}

/// Which crates of the workspace a crate may use.
enum Inner {
    /// These.
    Some(&'static [&'static str]),
    /// Any: it stands above all others.
    All,
}

/// Crates that only tests use: any crate may have them as dev-dependencies.
const TEST_CRATES: &[&str] = &["arbitrary", "loom", "proptest", "seccompiler", "stats_alloc"];

/// Every crate of the workspace, lowest first.
pub(super) const LAYERS: &[Layer] = &[
    Layer {
        name: "mm-base",
        folder: "crates/mm-base",
        inner: Inner::Some(&[]),
        outer: &["foldhash", "itoa", "memchr", "rapidhash"],
    },
    Layer {
        name: "mm-proto",
        folder: "crates/mm-proto",
        inner: Inner::Some(&["mm-base"]),
        outer: &["itoa", "memchr"],
    },
    Layer {
        name: "mm-store",
        folder: "crates/mm-store",
        inner: Inner::Some(&["mm-base"]),
        outer: &["rapidhash", "rustix"],
    },
    Layer {
        name: "mm-runtime",
        folder: "crates/mm-runtime",
        inner: Inner::Some(&["mm-base"]),
        outer: &["io-uring", "libc", "rustix", "socket2"],
    },
    Layer {
        name: "mm-server",
        folder: "crates/mm-server",
        inner: Inner::Some(&["mm-base", "mm-runtime"]),
        outer: &[
            "listenfd",
            "nix",
            "rustix",
            "rustls",
            "sd-notify",
            "serde",
            "signal-hook",
            "socket2",
            "toml",
            "tracing",
        ],
    },
    Layer {
        name: "mainmemory",
        folder: "crates/mainmemory",
        inner: Inner::Some(&["mm-base", "mm-runtime", "mm-server", "mm-store"]),
        outer: &[],
    },
    Layer {
        name: "mm-memcached",
        folder: "crates/mm-memcached",
        inner: Inner::Some(&["mainmemory", "mm-base", "mm-proto", "mm-runtime", "mm-server", "mm-store"]),
        outer: &["arrayvec", "itoa", "memchr", "tracing"],
    },
    Layer {
        name: "mmem",
        folder: "crates/mmem",
        inner: Inner::Some(&["mainmemory", "mm-memcached"]),
        outer: &["clap", "serde", "toml", "tracing"],
    },
    Layer {
        name: "mm-sim",
        folder: "crates/mm-sim",
        inner: Inner::Some(&["mm-base", "mm-memcached", "mm-proto", "mm-runtime", "mm-server", "mm-store"]),
        outer: &[],
    },
    Layer {
        name: "mm-bench",
        folder: "crates/mm-bench",
        inner: Inner::All,
        outer: &[
            "clap",
            "flate2",
            "io-uring",
            "libc",
            "lzma-rust2",
            "memchr",
            "rustix",
            "ruzstd",
            "socket2",
            "tokio",
        ],
    },
    Layer {
        name: "xtask",
        folder: "xtask",
        inner: Inner::All,
        outer: &["proc-macro2", "rustix", "syn", "toml"],
    },
];

/// Where this table is, for messages.
const TABLE: &str = "the table in xtask/src/tidy/layers.rs";

/// Checks every manifest of the workspace.
pub(super) fn check(tree: &Tree, violations: &mut Vec<Violation>) {
    for manifest in tree.below("crates/").chain(tree.below("xtask/")) {
        let Some(folder) = manifest.path().strip_suffix("/Cargo.toml") else {
            continue;
        };
        match LAYERS.iter().find(|layer| layer.folder == folder) {
            Some(layer) => check_manifest(layer, manifest, violations),
            None => {
                let what = format!("a crate without a place; add it to {TABLE} and to ARCHITECTURE.md");
                violations.push(Violation::new(manifest.path(), 1, what));
            }
        }
    }
}

fn check_manifest(layer: &Layer, manifest: &Source, violations: &mut Vec<Violation>) {
    let mut add = |line, what: String| violations.push(Violation::new(manifest.path(), line, what));
    let table: Table = match manifest.text().parse() {
        Ok(table) => table,
        Err(error) => {
            add(1, format!("not a manifest ({error}); mend it"));
            return;
        }
    };
    for (name, value, is_test) in dependencies(&table) {
        let line = line_of(manifest, name);
        if value.get("workspace") != Some(&Value::Boolean(true)) {
            add(line, format!("{name} has a version of its own; write {name}.workspace = true"));
        }
        if !layer.may_use(name, is_test) {
            add(line, format!("{} may not use {name}: see {TABLE} and ARCHITECTURE.md", layer.name));
        }
    }
    if !table.get("lints").is_some_and(|lints| lints.get("workspace") == Some(&Value::Boolean(true))) {
        add(1, "without the workspace's lints; write [lints] workspace = true".to_owned());
    }
}

impl Layer {
    fn may_use(&self, name: &str, is_test: bool) -> bool {
        let inner = match self.inner {
            Inner::Some(names) => names.contains(&name),
            Inner::All => LAYERS.iter().any(|layer| layer.name == name),
        };
        inner || self.outer.contains(&name) || (is_test && TEST_CRATES.contains(&name))
    }
}

/// Every dependency in a manifest: its name, what is said of it, and whether only tests have it.
fn dependencies(table: &Table) -> Vec<(&str, &Value, bool)> {
    let mut found = Vec::new();
    add_sections(table, false, &mut found);
    if let Some(targets) = table.get("target").and_then(Value::as_table) {
        for (name, target) in targets.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
            // What only `--cfg loom` brings in is for its models.
            add_sections(target, name == "cfg(loom)", &mut found);
        }
    }
    found
}

fn add_sections<'a>(table: &'a Table, for_tests: bool, found: &mut Vec<(&'a str, &'a Value, bool)>) {
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let is_test = for_tests || section == "dev-dependencies";
        let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
        found.extend(entries.map(|(name, value)| (name.as_str(), value, is_test)));
    }
}

/// The line that first names a dependency; 1 if none does.
pub(super) fn line_of(manifest: &Source, name: &str) -> usize {
    let names_it = |line: &str| {
        let rest = line.trim_start().trim_start_matches('[').strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    manifest.lines().find(|(_, line)| names_it(line)).map_or(1, |(number, _)| number)
}
