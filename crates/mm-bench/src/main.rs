//! Load generator, floors and experiments: how MainMemory is measured.
//!
//! - `mm-bench floor`: servers that do nothing but the system calls and the copying. They are the yardstick.
//! - `mm-bench load`: a closed-loop or fixed-rate client that checks every value it gets back.
//! - `mm-bench compare`: the floors, mmem and its peers side by side, as multiples of the floor.
//! - `mm-bench instructions`: instructions per request, counted by callgrind.
//! - `mm-bench store`: the store in process, by one shard and by two.
//! - `mm-bench framework`: echo on the framework beside tokio, State Threads and the floors; idle connections; costs of
//!   tasks.
//! - `mm-bench neighbours`: what well-behaved connections feel while others misbehave.
//! - `mm-bench echo`: an echo server of ours, or on tokio, to be measured.
//! - `mm-bench density`: what caches need beside keys and values.
//! - `mm-bench experiment`: throw-away servers that decided a question of design.
//! - `mm-bench trace`: how many requests each eviction policy would have answered.

mod cli;
mod compare;
mod density;
mod experiment;
mod floor;
mod framework;
mod instructions;
mod limits;
mod load;
mod machine;
mod neighbours;
mod peer;
mod store;
mod trace;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => code,
        Err(message) => {
            // Nothing is left to tell if standard error is gone.
            drop(writeln!(std::io::stderr(), "mm-bench: {message}"));
            ExitCode::FAILURE
        }
    }
}
