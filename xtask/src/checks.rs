//! A run of many checks that goes on after a failure, shows progress and counts.

use std::io::{BufRead, BufReader};
use std::process::{Command as Program, Stdio};
use std::time::Instant;

use crate::command::{Failure, Outcome};
use crate::process::title;

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// One check that passed.
    pub(crate) const ONE_PASSED: Self = Self { passed: 1, failed: 0 };
}

/// The checks of one run.
#[derive(Debug)]
pub(crate) struct Checks {
    total: Tally,
    failures: Vec<String>,
    skipped: Vec<String>,
    /// Parts of names; a check with none of them is passed over. None at all: every check is done.
    wanted: Vec<String>,
    count: usize,
    started: Instant,
}

impl Checks {
    /// A run of all checks, in which nothing has been checked yet.
    pub(crate) fn new() -> Self {
        Self::named(&[])
    }

    /// A run of the checks whose names contain one of these; of all, if there are none.
    pub(crate) fn named(wanted: &[String]) -> Self {
        Self {
            total: Tally { passed: 0, failed: 0 },
            failures: Vec::new(),
            skipped: Vec::new(),
            wanted: wanted.to_vec(),
            count: 0,
            started: Instant::now(),
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|part| name.contains(part.as_str()))
    }

    /// Does one check, if it is wanted; says how it went and how long it took, and whether nothing failed.
    pub(crate) fn check(&mut self, name: &str, work: impl FnOnce() -> Result<Tally, Failure>) -> bool {
        if !self.is_wanted(name) {
            return true;
        }
        self.count += 1;
        println!("== {} {name}", self.count);
        let started = Instant::now();
        let result = work();
        let seconds = started.elapsed().as_secs_f64();
        let tally = result.as_ref().copied().unwrap_or(Tally { passed: 0, failed: 1 });
        self.total.passed += tally.passed;
        self.total.failed += tally.failed;
        let passed = tally.failed == 0;
        match result {
            Ok(_) if passed => println!("== {} {name}: passed, {seconds:.1} s", self.count),
            Ok(tally) => self.failed(name, &format!("{} tests failed", tally.failed)),
            Err(failure) => self.failed(name, &failure.to_string()),
        }
        passed
    }

    /// Does one check that is one program: it passes if the program exits with 0.
    pub(crate) fn program(&mut self, name: &str, program: &mut Program) -> bool {
        self.check(name, || crate::process::run(program).map(|()| Tally::ONE_PASSED))
    }

    /// Notes a check that cannot be done here, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        if !self.is_wanted(name) {
            return;
        }
        println!("== {name}: not run, {why}");
        self.skipped.push(format!("{name}: {why}"));
    }

    fn failed(&mut self, name: &str, why: &str) {
        println!("== {} {name}: FAILED, {why}", self.count);
        self.failures.push(format!("{name}: {why}"));
    }

    /// Prints what was not run, what failed, and as the last line the counts.
    ///
    /// # Errors
    /// [`Failure::Failed`] if any check failed; [`Failure::Usage`] if no check has a name that was wanted.
    pub(crate) fn finish(self) -> Outcome {
        if self.count == 0 && self.skipped.is_empty() {
            return Err(Failure::Usage(format!("no check has a name with {}", self.wanted.join(" or "))));
        }
        println!("== {:.0} s in all", self.started.elapsed().as_secs_f64());
        for line in &self.skipped {
            println!("not run: {line}");
        }
        for line in &self.failures {
            println!("failed: {line}");
        }
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        match self.failures.len() {
            0 => Ok(()),
            count => Err(Failure::Failed(format!("{count} checks failed"))),
        }
    }
}

/// Runs `cargo test`, its output on our terminal, and counts the tests of all its programs.
///
/// # Errors
/// [`Failure::Failed`] if it cannot be started, fails without a failed test, or has no test to run: what selects tests
/// by name would then check nothing.
pub(crate) fn count_tests(program: &mut Program) -> Result<Tally, Failure> {
    let title = title(program);
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot run `{title}`: {error}"));
    let mut child = program.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut tally = Tally { passed: 0, failed: 0 };
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(failed)?;
            println!("{line}");
            if let Some(found) = parse_result(&line) {
                tally.passed += found.passed;
                tally.failed += found.failed;
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    judge(tally, status.success()).map_err(|what| Failure::Failed(format!("`{title}` {what}: {status}")))
}

/// What the counts of all test programs mean.
fn judge(tally: Tally, succeeded: bool) -> Result<Tally, &'static str> {
    match (tally, succeeded) {
        (Tally { failed: 0, .. }, false) => Err("failed"),
        (Tally { passed: 0, failed: 0 }, true) => Err("ran no test"),
        _ => Ok(tally),
    }
}

/// The counts in the line with which a test program ends.
fn parse_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

#[cfg(test)]
mod tests {
    use super::{Checks, Tally, judge, parse_result};
    use crate::command::Failure;

    #[test]
    fn the_last_line_of_a_test_program_is_counted() {
        let line = "test result: FAILED. 17 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out";
        assert_eq!(parse_result(line), Some(Tally { passed: 17, failed: 2 }));
        assert_eq!(parse_result("test a::b ... ok"), None);
    }

    #[test]
    fn a_run_of_no_tests_is_no_success() {
        let (none, one) = (Tally { passed: 0, failed: 0 }, Tally { passed: 1, failed: 0 });
        assert_eq!(judge(none, true), Err("ran no test"));
        assert_eq!(judge(one, true), Ok(one));
        assert_eq!(judge(one, false), Err("failed"));
        let failed = Tally { passed: 0, failed: 2 };
        assert_eq!(judge(failed, false), Ok(failed));
    }

    #[test]
    fn a_check_is_done_if_its_name_has_a_wanted_part() {
        let mut checks = Checks::named(&["loom".to_owned(), "Miri".to_owned()]);
        assert!(checks.check("fuzzing", || Ok(Tally { passed: 0, failed: 1 })));
        assert!(checks.check("loom on a crate", || Ok(Tally { passed: 2, failed: 0 })));
        assert_eq!(checks.total, Tally { passed: 2, failed: 0 });
        assert!(Checks::named(&["no such".to_owned()]).finish().is_err());
    }

    #[test]
    fn a_failure_is_counted_and_does_not_stop_the_run() {
        let mut checks = Checks::new();
        assert!(!checks.check("bad", || Err(Failure::Failed("broken".to_owned()))));
        assert!(!checks.check("worse", || Ok(Tally { passed: 1, failed: 2 })));
        assert!(checks.check("good", || Ok(Tally { passed: 4, failed: 0 })));
        assert_eq!(checks.total, Tally { passed: 5, failed: 3 });
        assert_eq!(checks.finish().unwrap_err().to_string(), "2 checks failed");
    }
}
