//! Running other programs, and where the workspace is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use crate::command::{Failure, Outcome};

/// The workspace's root folder: of the tree that cargo runs us for, as trees may share a target folder.
pub(crate) fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(manifest);
    root.pop();
    root
}

/// Where the release builds of cargos that we run go.
pub(crate) fn release() -> PathBuf {
    release_in(&root(), std::env::var_os("CARGO_TARGET_DIR"))
}

/// The folder of release builds of a tree, with `CARGO_TARGET_DIR`; a relative one counts from where cargo runs.
fn release_in(root: &Path, target: Option<OsString>) -> PathBuf {
    root.join(target.unwrap_or_else(|| "target".into())).join("release")
}

/// A program that will run in the workspace's root folder.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Program {
    let mut program = Program::new(name);
    program.args(arguments).current_dir(root());
    program
}

/// The cargo that runs us, so that a toolchain chosen by the caller stays chosen.
pub(crate) fn cargo(arguments: &[&str]) -> Program {
    let name = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&name, arguments)
}

/// Runs a program to its end, its output on our terminal.
///
/// # Errors
/// [`Failure::Failed`] if it cannot be started or does not exit with 0.
pub(crate) fn run(program: &mut Program) -> Outcome {
    let title = title(program);
    match program.status() {
        Err(error) => Err(Failure::Failed(format!("cannot run `{title}`: {error}"))),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Failed(format!("`{title}` failed: {status}"))),
    }
}

/// Runs a program to its end and gives what it has printed on its standard output.
///
/// # Errors
/// [`Failure::Failed`] if it cannot be started or does not exit with 0.
pub(crate) fn printed(program: &mut Program) -> Result<String, Failure> {
    let title = title(program);
    match program.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(Failure::Failed(format!("`{title}` failed: {}", output.status))),
        Err(error) => Err(Failure::Failed(format!("cannot run `{title}`: {error}"))),
    }
}

/// A program and its arguments as one would type them.
pub(crate) fn title(program: &Program) -> String {
    let name = Path::new(program.get_program()).file_name().unwrap_or_default();
    let mut words = vec![name.to_string_lossy().into_owned()];
    words.extend(program.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_builds_are_where_cargo_puts_them() {
        let folder = |target: Option<&str>| release_in(Path::new("/tree"), target.map(OsString::from));
        assert_eq!(folder(None), Path::new("/tree/target/release"));
        assert_eq!(folder(Some("/elsewhere")), Path::new("/elsewhere/release"));
        assert_eq!(folder(Some("near")), Path::new("/tree/near/release"));
    }
}
