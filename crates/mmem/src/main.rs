//! `mmem`, a complete replacement for memcached: arguments, configuration, start.

#![forbid(unsafe_code)]

mod arguments;
mod config;
mod host;
mod limits;
mod listen;
mod memory;
mod pid_file;
mod populate;
mod refusal;
mod settings;
#[cfg(not(feature = "smp"))]
mod single;
mod start;
mod upgrade;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use arguments::{Request, Surroundings, name_of};
use mainmemory::server::process;
use refusal::{Refusal, exit};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let surroundings = Surroundings {
        is_root: process::is_root(),
        port_file: std::env::var_os("MEMCACHED_PORT_FILENAME").map(Into::into),
    };
    match arguments::parse(&arguments, &surroundings).and_then(fulfil) {
        Ok(code) => ExitCode::from(code),
        Err(refusal) => {
            let program =
                arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            say(&format!("{}: {refusal}", name_of(&program).as_str()));
            ExitCode::from(refusal.code())
        }
    }
}

/// Does what was asked for; the exit code.
fn fulfil(request: Request) -> Result<u8, Refusal> {
    match request {
        Request::Serve(config) => start::serve(&config),
        Request::Print(text) => {
            let printed = std::io::stdout().write_all(text.as_bytes());
            printed.map(|()| 0).map_err(|error| Refusal::new(exit::FAILURE, format!("cannot print: {error}")))
        }
    }
}

/// One line on the standard error. That it may be closed must not matter.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
