//! Client libraries written by others, against the release build.

use crate::checks::{Checks, Tally, count_tests};
use crate::command::Failure;
use crate::process::{cargo, program, run};
use crate::server::with_client;
use crate::session;
use crate::tools::{self, text};

/// What the Python clients need.
const REQUIREMENTS: &str = "tests/clients/python/requirements.txt";
/// The folder with one script for each Python client.
const SCRIPTS: &str = "tests/clients/python";
/// The Python clients, each a script of unit tests `test_NAME.py`.
const PYTHON_CLIENTS: &[&str] = &["pymemcache"];
/// The package with the Rust clients' tests. It stands apart, so that normal builds know nothing of it.
const RUST_MANIFEST: &str = "tests/clients/rust/Cargo.toml";

/// Checks all clients. The release build must be there.
pub(crate) fn check(checks: &mut Checks) {
    checks.check("the README's session", session::readme);
    for client in PYTHON_CLIENTS {
        checks.check(client, || python(client));
    }
    checks.check("Rust clients", rust);
}

fn python(client: &str) -> Result<Tally, Failure> {
    let python = tools::python(REQUIREMENTS)?;
    let name = format!("test_{client}");
    let mut tests = program(&text(&python), &["-m", "unittest", "--quiet", &name]);
    tests.env("PYTHONPATH", SCRIPTS).env("PYTHONDONTWRITEBYTECODE", "1");
    with_client(client, &mut tests, run)?;
    Ok(Tally::ONE_PASSED)
}

fn rust() -> Result<Tally, Failure> {
    let target = tools::folder().join("rust");
    let mut tests =
        cargo(&["test", "--quiet", "--manifest-path", RUST_MANIFEST, "--target-dir", &text(&target)]);
    with_client("rust", &mut tests, count_tests)
}
