//! Programs that the checks need besides the Rust toolchain.

use std::process::Stdio;

use crate::process::program;

/// Whether a command can be run and exits with 0. Its output is thrown away.
pub(crate) fn works(command: &[&str]) -> bool {
    let Some((name, arguments)) = command.split_first() else {
        return false;
    };
    let mut program = program(name, arguments);
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    program.status().is_ok_and(|status| status.success())
}
