//! `cargo xtask compat`: memcached's own tests, unmodified, against mmem.
//!
//! The tests come from Debian's source package of memcached. They start `memcached-debug` in the folder above theirs,
//! which here is mmem under that name, or a script that starts it with the driver asked for.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use crate::command::{Command, Failure, Outcome};
use crate::process::{cargo, release, root, run as run_program, title};
use crate::server::{self, Server};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "compat",
    arguments: "[TEST...]",
    summary: "run the tests of Debian's memcached source package against mmem, with the driver of MMEM_DRIVER",
    run,
};

/// Seconds that one test may take.
const TEST_SECONDS: &str = "300";

/// The tests that pass whole.
const WHOLE: [&str; 38] = [
    "00-startup",
    "binary",
    "binary-get",
    "bogus-commands",
    "daemonize",
    "dash-M",
    "evictions",
    "expirations",
    "flags",
    "getandtouch",
    "getset",
    "idle-timeout",
    "incrdecr",
    "issue_104",
    "issue_108",
    "issue_14",
    "issue_152",
    "issue_163",
    "issue_183",
    "issue_192",
    "issue_29",
    "issue_41",
    "issue_42",
    "issue_50",
    "issue_61",
    "issue_67",
    "issue_68",
    "issue_70",
    "malicious-commands",
    "maxconns",
    "multiversioning",
    "noreply",
    "quit",
    "stats-conns",
    "stats-detail",
    "strtol-testing",
    "touch",
    "udp",
];

/// Tests of the second kind and the assertions that fail in them: Debian's 1.6.18 behaves otherwise there than the
/// version we follow. docs/memcached.md gives the reason for each.
const WITH_DIFFERENCES: [(&str, &[&str]); 10] = [
    ("unixsocket", &[]),
    ("cas", &["cas empty, throw error"]),
    ("chunked-items", &[]),
    ("flush-all", &["failed to set value after flush with no CAS at least once"]),
    ("issue_3", &["invalid delete", "Failed to add after failed silent delete."]),
    ("item_size_max", &[]),
    ("metaget", &["error from blank command"]),
    ("shutdown", &["error when shutdown is not enabled"]),
    ("stats", &["expected count of stats values"]),
    (
        "conn-limits",
        &[
            "OOM'ed multiget",
            "non zero response object OOM counter: 0",
            "sock disconnected after overflow",
            "another OOM recorded",
        ],
    ),
];

fn run(arguments: &[String]) -> Outcome {
    let whole = WHOLE.iter().map(|&name| (name, [].as_slice()));
    let all: Vec<(&str, &[&str])> = whole.chain(WITH_DIFFERENCES).collect();
    if let Some(unknown) = arguments.iter().find(|&name| !all.iter().any(|(known, _)| known == name)) {
        return Err(Failure::Usage(format!("'{unknown}' is not one of the tests run here")));
    }
    let folder = prepare()?;
    let mut failed = Vec::new();
    for (name, differences) in all {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        match run_test(&folder, name, differences) {
            Ok(said) => println!("{name:20} {said}"),
            Err(said) => {
                println!("{name:20} FAILED: {said}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(format!("failed: {}", failed.join(" ")))) }
}

/// Makes the folder that the tests run in.
fn prepare() -> Result<PathBuf, Failure> {
    run_program(&mut cargo(&["build", "--quiet", "--release", "--package", "mmem"]))?;
    let folder = root().join("target/compat");
    let source = fetch(&folder)?;
    let program = folder.join("memcached-debug");
    drop(fs::remove_file(&program));
    match server::driver() {
        Some(driver) => {
            // One that is not there, or stands back for another, would be tested in vain.
            Server::start("compat", &[])?.stop()?;
            driven(&program, &driver)?;
        }
        None => link(&release().join("mmem"), &program)?,
    }
    for part in ["t", "doc"] {
        link(&source.join(part), &folder.join(part))?;
    }
    let timed_run = source.join("timedrun.c");
    run_program(Program::new("cc").arg("-o").arg(folder.join("timedrun")).arg(timed_run))?;
    Ok(folder)
}

/// Makes a script that starts mmem, by the script's own name, with a driver.
fn driven(script: &Path, driver: &str) -> Outcome {
    let folder = script.with_file_name("driven");
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let program = folder.join("memcached-debug");
    link(&release().join("mmem"), &program)?;
    let text = format!("#!/bin/sh\nexec '{}' --driver '{driver}' \"$@\"\n", program.display());
    let written = fs::write(script, text);
    written
        .and_then(|()| fs::set_permissions(script, fs::Permissions::from_mode(0o755)))
        .map_err(|error| failed(script, &error))
}

/// Makes a symbolic link, in the place of what is there.
fn link(target: &Path, path: &Path) -> Outcome {
    drop(fs::remove_file(path));
    symlink(target, path).map_err(|error| failed(path, &error))
}

/// The folder of the unpacked source package, fetched where it is not there yet.
///
/// apt's own lists are left alone: most machines have no source packages in them.
fn fetch(folder: &Path) -> Result<PathBuf, Failure> {
    let unpacked = || -> Option<PathBuf> {
        let entries = fs::read_dir(folder).ok()?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.find(|path| path.join("timedrun.c").is_file())
    };
    if let Some(source) = unpacked() {
        return Ok(source);
    }
    let line = source_line()?;
    for part in ["apt/lists/partial", "apt/cache/archives/partial", "apt/sources"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
    }
    let list = folder.join("apt/sources/source.list");
    fs::write(&list, line).map_err(|error| failed(&list, &error))?;
    for action in [["--quiet", "update"].as_slice(), &["--quiet", "source", "memcached"]] {
        run_program(apt(folder).args(action).stdout(Stdio::null()))?;
    }
    unpacked().ok_or_else(|| Failure::Failed("the source package has no timedrun.c".to_owned()))
}

/// Where the source packages of this system are: where its packages come from, by apt's own word.
fn source_line() -> Result<String, Failure> {
    let format = "deb-src $(REPO_URI) $(CODENAME) $(COMPONENT)";
    let targets = ["indextargets", "--format", format, "Created-By: Packages", "Component: main"];
    let listed = Program::new("apt-get").args(targets).output();
    let listed = listed.map_err(|error| Failure::Failed(format!("the tests come by apt-get: {error}")))?;
    let lines = String::from_utf8_lossy(&listed.stdout);
    let line = lines.lines().find(|line| !line.contains("-security") && !line.contains("-updates"));
    line.map(|line| format!("{line}\n")).ok_or_else(|| Failure::Failed("apt knows of no packages".to_owned()))
}

/// apt-get with lists and caches of its own.
fn apt(folder: &Path) -> Program {
    let mut apt = Program::new("apt-get");
    apt.current_dir(folder);
    for (option, value) in [
        ("Dir::Etc::SourceList", "/dev/null".to_owned()),
        ("Dir::Etc::SourceParts", folder.join("apt/sources").display().to_string()),
        ("Dir::State::Lists", folder.join("apt/lists").display().to_string()),
        ("Dir::Cache", folder.join("apt/cache").display().to_string()),
    ] {
        apt.args(["-o", &format!("{option}={value}")]);
    }
    apt
}

/// Runs one test. Returns what is to be said about it.
fn run_test(folder: &Path, name: &str, differences: &[&str]) -> Result<String, String> {
    let mut test = Program::new(folder.join("timedrun"));
    test.args([TEST_SECONDS, "perl", &format!("t/{name}.t")]).current_dir(folder).stderr(Stdio::null());
    // A test on a busy machine may end before the server that it started knows: what it writes is not waited for, and
    // its group is ended.
    let written = folder.join("written");
    let spawned = fs::File::create(&written).and_then(|file| test.stdout(file).process_group(0).spawn());
    let ended = spawned.and_then(|mut child| {
        let ended = child.wait();
        let group = format!("-{}", child.id());
        drop(Program::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        ended.and_then(|status| Ok((status.code(), fs::read(&written)?)))
    });
    let (code, written) = ended.map_err(|error| format!("cannot run `{}`: {error}", title(&test)))?;
    judge(&String::from_utf8_lossy(&written), code, differences)
}

/// Judges a test by what it has written, in the Test Anything Protocol, and by its exit code (none after a signal),
/// which is the number of assertions that failed.
fn judge(written: &str, code: Option<i32>, differences: &[&str]) -> Result<String, String> {
    let mut passed = 0;
    let mut planned = None;
    let mut differing = Vec::new();
    for line in written.lines() {
        if let Some(plan) = line.strip_prefix("1..") {
            planned = plan.split(' ').next().and_then(|count| count.parse::<usize>().ok());
        } else if line.starts_with("ok ") {
            passed += 1;
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            let what = rest.split_once(" - ").map_or(rest, |(_, what)| what);
            if !differences.contains(&what) {
                return Err(format!("not ok {rest}"));
            }
            differing.push(what);
        }
    }
    let Some(planned) = planned else { return Err("it ended without a plan".to_owned()) };
    if passed + differing.len() != planned {
        return Err(format!("{passed} of {planned} assertions passed, then it ended"));
    }
    if passed == 0 {
        return Err(format!("nothing was asserted: {}", written.trim()));
    }
    if code.and_then(|code| usize::try_from(code).ok()) != Some(differing.len()) {
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(format!("{passed} passed and {} differed, but it ended with {code}", differing.len()));
    }
    match differing[..] {
        [] => Ok(format!("{passed} passed")),
        _ => Ok(format!("{passed} passed; otherwise than 1.6.18, as documented: {}", differing.join("; "))),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_documented_assertions_may_fail() {
        let differing = |written, differences: &[&str]| judge(written, Some(1), differences);
        let whole = |written| judge(written, Some(0), &[]);
        assert_eq!(whole("1..2\nok 1 - a\nok 2\n"), Ok("2 passed".to_owned()));
        assert_eq!(differing("ok 1 - a\nnot ok 2 - b\n1..2\n", &[]), Err("not ok 2 - b".to_owned()));
        assert!(differing("1..2\nok 1\nnot ok 2 - b\n", &["b"]).is_ok());
        assert_eq!(whole("1..3\nok 1\n"), Err("1 of 3 assertions passed, then it ended".to_owned()));
        assert_eq!(whole(""), Err("it ended without a plan".to_owned()));
    }

    #[test]
    fn a_test_that_asserts_nothing_or_ends_badly_has_not_passed() {
        let nothing = judge("1..0 # SKIP no\n", Some(0), &[]);
        assert_eq!(nothing, Err("nothing was asserted: 1..0 # SKIP no".to_owned()));
        let died = judge("1..1\nok 1\n", Some(255), &[]);
        assert_eq!(died, Err("1 passed and 0 differed, but it ended with exit code 255".to_owned()));
        assert!(judge("1..1\nok 1\n", None, &[]).is_err());
        assert!(judge("1..2\nok 1\nnot ok 2 - b\n", Some(2), &["b"]).is_err());
    }
}
