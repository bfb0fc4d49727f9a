//! Running other programs, and where the workspace is.

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

/// A program and its arguments as one would type them.
pub(crate) fn title(program: &Program) -> String {
    let name = Path::new(program.get_program()).file_name().unwrap_or_default();
    let mut words = vec![name.to_string_lossy().into_owned()];
    words.extend(program.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
