//! Serving in the background.
//!
//! The process that was called starts itself once more with the same arguments, waits until that one serves
//! or ends, and ends with its verdict. So whoever called knows by the exit code whether there is a server,
//! and every complaint about the start is still seen.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Set for the process in the background.
const MARK: &str = "MM_BACKGROUND";
/// What it writes on its standard output when it serves.
const READY: u8 = b'+';

/// Whether the caller still waits: until all threads have let go of its descriptors.
static IS_AWAITED: AtomicBool = AtomicBool::new(false);

/// Whether this process is in the background and its caller still waits for it to be [`ready`].
pub(super) fn is_awaited() -> bool {
    IS_AWAITED.load(Ordering::Relaxed)
}

/// Which of the two processes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that was called; it ends now with this exit code.
    Caller(u8),
    /// The one in the background; it goes on and says [`ready`] when it serves.
    Background,
}

/// Goes into the background. Call it before anything else is done: the work is done in the other process.
///
/// # Errors
/// If the other process cannot be started, or no session can be opened in it.
pub fn enter() -> io::Result<Role> {
    if env::var_os(MARK).is_some() {
        setsid()?;
        IS_AWAITED.store(true, Ordering::Relaxed);
        return Ok(Role::Background);
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut program = Command::new(env::current_exe()?);
    program.arg0(name).args(arguments).env(MARK, "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = program.spawn()?;
    let mut said = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut said)?;
    }
    if said.last() == Some(&READY) {
        return Ok(Role::Caller(0));
    }
    let status = child.wait()?;
    // One that ends in order before it serves is no server either.
    let ended = status.code().filter(|code| *code != 0);
    let code = ended.or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Role::Caller(u8::try_from(code).unwrap_or(1)))
}

/// How a process in the background lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detachment {
    /// Whether it still writes on the caller's standard error.
    pub keeps_stderr: bool,
    /// Whether it stays in the caller's working folder; otherwise it [leaves](leave_folder) it.
    pub keeps_folder: bool,
}

/// Goes to `/`, so as to hold no file system.
///
/// # Errors
/// If the system refuses.
pub fn leave_folder() -> io::Result<()> {
    env::set_current_dir("/")
}

/// In the background: lets the caller go, and its terminal.
///
/// # Errors
/// If the system refuses.
pub fn ready(detachment: Detachment) -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    if !detachment.keeps_folder {
        leave_folder()?;
    }
    let mut output = io::stdout();
    output.write_all(&[READY])?;
    output.flush()?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    if !detachment.keeps_stderr {
        dup2_stderr(&nothing)?;
    }
    IS_AWAITED.store(false, Ordering::Relaxed);
    Ok(())
}
