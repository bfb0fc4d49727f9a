//! Programs that the checks need besides the Rust toolchain, and how to get them.

use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use crate::command::{Failure, Outcome};
use crate::process::{program, root, run};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Arguments with which the program does nothing and exits with 0, itself first.
    probe: &'static [&'static str],
    /// The package.
    package: &'static str,
}

/// Python with virtual environments.
pub(crate) const PYTHON: Tool =
    Tool { probe: &["python3", "-c", "import ensurepip, venv"], package: "python3-venv" };
/// A netcat, as the README's session uses it.
pub(crate) const NETCAT: Tool = Tool { probe: &["sh", "-c", "command -v nc"], package: "netcat-openbsd" };

/// Node's package manager, and Node with it.
pub(crate) const NPM: Tool = Tool { probe: &["sh", "-c", "npm --version && node --version"], package: "npm" };
/// Where Debian's memcached package puts memcached-tool.
pub(crate) const MEMCACHED_TOOL_PATH: &str = "/usr/share/memcached/scripts/memcached-tool";
/// memcached-tool, a Perl script.
pub(crate) const MEMCACHED_TOOL: Tool = Tool {
    probe: &["sh", "-c", "command -v perl && test -e /usr/share/memcached/scripts/memcached-tool"],
    package: "memcached",
};
/// libmemcached's programs.
pub(crate) const LIBMEMCACHED: Tool =
    Tool { probe: &["sh", "-c", "command -v memccapable"], package: "libmemcached-tools" };

/// Makes sure that all of these can be run, installing what is missing when we are root on a machine with
/// apt-get.
///
/// # Errors
/// [`Failure::Failed`] with the command to type, if something is missing and cannot be installed.
pub(crate) fn need(tools: &[Tool]) -> Outcome {
    let packages: Vec<&str> =
        tools.iter().filter(|tool| !works(tool.probe)).map(|tool| tool.package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !works(&["sh", "-c", "test $(id -u) = 0 && command -v apt-get"]) {
        return Err(Failure::Failed(format!(
            "something is missing here: apt-get install {list}, or what provides it"
        )));
    }
    println!("installing {list}");
    run(apt(&["update", "-qq"]).stdout(Stdio::null()))?;
    let mut words = vec!["install", "-qq", "-y", "--no-install-recommends"];
    words.extend(&packages);
    run(apt(&words).stdout(Stdio::null()))?;
    match tools.iter().find(|tool| !works(tool.probe)) {
        None => Ok(()),
        Some(tool) => Err(Failure::Failed(format!(
            "`{}` does not work although {list} is installed",
            tool.probe.join(" ")
        ))),
    }
}

fn apt(arguments: &[&str]) -> Program {
    let mut apt = program("apt-get", arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Whether a command can be run and exits with 0. Its output is thrown away.
pub(crate) fn works(command: &[&str]) -> bool {
    let Some((name, arguments)) = command.split_first() else {
        return false;
    };
    let mut program = program(name, arguments);
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    program.status().is_ok_and(|status| status.success())
}

/// Where the checks keep what they install and write; cargo ignores it and `cargo clean` empties it.
pub(crate) fn folder() -> PathBuf {
    root().join("target").join("checks")
}

/// A Python with the packages that a requirements file lists, in a virtual environment below [`folder`].
///
/// # Errors
/// [`Failure::Failed`] if Python is missing or pip cannot install the packages.
pub(crate) fn python(requirements: &str) -> Result<PathBuf, Failure> {
    need(&[PYTHON])?;
    let environment = folder().join("venv");
    let python = environment.join("bin").join("python");
    if !python.exists() {
        run(&mut program("python3", &["-m", "venv", &text(&environment)]))?;
    }
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements];
    run(&mut program(&text(&python), &pip))?;
    Ok(python)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
