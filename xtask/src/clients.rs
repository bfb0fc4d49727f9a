//! Client libraries written by others, against the release build.

use std::fs;

use crate::checks::{Checks, Tally, count_tests};
use crate::command::{Command, Failure, Outcome, no_arguments};
use crate::process::{cargo, program, root, run};
use crate::server::{Server, with_client};
use crate::tools::{self, LIBMEMCACHED, NPM, text};
use crate::{memcached_tool, memslap, session};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "clients",
    arguments: "",
    summary: "run the tests of client libraries and tools alone, with the driver of MMEM_DRIVER",
    run: run_alone,
};

/// What the Python clients need.
const REQUIREMENTS: &str = "tests/clients/python/requirements.txt";
/// The folder with one script for each Python client.
const SCRIPTS: &str = "tests/clients/python";
/// The Python clients, each a script of unit tests `test_NAME.py`.
const PYTHON_CLIENTS: &[&str] = &["pymemcache", "pylibmc", "aiomcache", "emcache", "meta_memcache"];
/// What the Node clients need.
const NODE_PACKAGES: &str = "tests/clients/node/package.json";
/// The tests of the Node clients.
const NODE_TESTS: &[&str] = &["tests/clients/node/memcached.test.js"];
/// The package with the Rust clients' tests. It stands apart, so that normal builds know nothing of it.
const RUST_MANIFEST: &str = "tests/clients/rust/Cargo.toml";
/// Cases of memccapable that memcached 1.6.45 itself fails: it lets `delete` have further words, as older versions
/// did not.
const MEMCCAPABLE_EXCEPTIONS: &[&str] = &["ascii delete", "ascii delete noreply"];
/// How long memcaslap and memcslap run each, in seconds; `cargo xtask memslap` lets them run for a minute.
const MEMSLAP_SECONDS: u64 = 5;
/// How many cases of its text part and of its binary part memcached passes.
const MEMCCAPABLE_PASSES: [(&str, usize); 2] = [("-a", 25), ("-b", 27)];

fn run_alone(arguments: &[String]) -> Outcome {
    no_arguments("clients", arguments)?;
    run(&mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]))?;
    let mut checks = Checks::new();
    check(&mut checks);
    checks.finish()
}

/// Checks all clients. The release build must be there.
pub(crate) fn check(checks: &mut Checks) {
    checks.check("the README's session", session::readme);
    for client in PYTHON_CLIENTS {
        checks.check(client, || python(client));
    }
    checks.check("Rust clients", rust);
    checks.check("Node clients", node);
    checks.check("memccapable", memccapable);
    checks.check("memcaslap and memcslap", || memslap::load(MEMSLAP_SECONDS));
    checks.check("memcached-tool", memcached_tool::check);
}

fn python(client: &str) -> Result<Tally, Failure> {
    let python = tools::python(REQUIREMENTS)?;
    let name = format!("test_{client}");
    let mut tests = program(&text(&python), &["-W", "ignore", "-m", "unittest", "--quiet", &name]);
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

fn node() -> Result<Tally, Failure> {
    tools::need(&[NPM])?;
    let folder = tools::folder().join("node");
    install_packages(&folder).map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
    run(program("npm", &install).current_dir(&folder))?;
    let mut tests = program("node", &["--test"]);
    tests.args(NODE_TESTS).env("NODE_PATH", folder.join("node_modules"));
    with_client("node", &mut tests, run)?;
    Ok(Tally::ONE_PASSED)
}

/// Puts the list of packages where they are to be installed: outside the sources.
fn install_packages(folder: &std::path::Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(root().join(NODE_PACKAGES), folder.join("package.json")).map(|_| ())
}

/// libmemcached's own conformance test, its text part.
fn memccapable() -> Result<Tally, Failure> {
    tools::need(&[LIBMEMCACHED])?;
    let server = Server::start("memccapable", &[])?;
    let port = server.port().to_string();
    let judged = MEMCCAPABLE_PASSES.iter().try_for_each(|(part, passes)| {
        // It says on its standard output what passed, and on the other what did not.
        let output =
            program("sh", &["-c", &format!("memccapable {part} -h 127.0.0.1 -p {port} 2>&1")]).output();
        let output = output.map_err(|error| Failure::Failed(format!("memccapable: {error}")))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        print!("{printed}");
        judge_memccapable(&printed, *passes)
    });
    server.stop()?;
    judged.map(|()| Tally::ONE_PASSED)
}

/// Passes if no case has failed that memcached passes, and as many have passed as it does.
fn judge_memccapable(printed: &str, passes: usize) -> Outcome {
    let cases: Vec<(&str, &str)> = printed.lines().filter_map(|line| line.split_once('[')).collect();
    let passed = cases.iter().filter(|(_, verdict)| verdict.starts_with("pass")).count();
    let failed =
        cases.iter().filter(|(_, verdict)| !verdict.starts_with("pass")).map(|(name, _)| name.trim());
    let failed: Vec<&str> = failed.filter(|name| !MEMCCAPABLE_EXCEPTIONS.contains(name)).collect();
    if failed.is_empty() && passed >= passes {
        return Ok(());
    }
    Err(Failure::Failed(format!("memccapable: {passed} cases passed, of the others these count: {failed:?}")))
}

#[cfg(test)]
mod tests {
    use super::judge_memccapable;

    #[test]
    fn a_case_that_memcached_passes_must_pass() {
        let line = |name: &str, verdict: &str| format!("{name:40}[{verdict}]\n");
        let passes = line("ascii get", "pass").repeat(25);
        assert!(judge_memccapable(&passes, 25).is_ok());
        assert!(judge_memccapable(&(passes.clone() + &line("ascii delete", "FAIL")), 25).is_ok());
        assert!(judge_memccapable(&(passes + &line("ascii set", "FAIL")), 25).is_err());
        assert!(judge_memccapable(&line("ascii get", "pass"), 25).is_err());
    }
}
