//! What can be typed after `mm-bench`.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::compare::{self, CompareArguments};
use crate::density::{self, DensityArguments};
use crate::experiment::{self, Experiment};
use crate::floor::{self, Floor};
use crate::framework::{self, EchoArguments, FrameworkArguments};
use crate::instructions::{self, InstructionsArguments};
use crate::load::{self, LoadArguments};
use crate::neighbours::{self, NeighboursArguments};
use crate::store::{self, StoreArguments};
use crate::trace::{self, TraceArguments};

/// Load generator, floors and experiments of MainMemory.
#[derive(Debug, Parser)]
#[command(name = "mm-bench", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server that does nothing but the system calls and the copying.
    Floor(FloorArguments),
    /// Load a server, check every value it returns, report rate and latency.
    Load(Box<LoadArguments>),
    /// Compare mmem with the floors, memcached and redis.
    Compare(CompareArguments),
    /// Measure what caches need beside keys and values.
    Density(DensityArguments),
    /// Count the instructions of a request.
    Instructions(InstructionsArguments),
    /// Load the store in process, by one shard and by two.
    Store(StoreArguments),
    /// Run an echo server to be measured.
    Echo(EchoArguments),
    /// Measure the framework: echo, idle connections, instructions of tasks and timers.
    Framework(FrameworkArguments),
    /// Measure what well-behaved connections feel while others misbehave.
    Neighbours(NeighboursArguments),
    /// Run a throw-away experiment that decided a question of design.
    #[command(subcommand)]
    Experiment(Experiment),
    /// Replay traces and generated workloads against eviction policies.
    Trace(TraceArguments),
}

#[derive(Debug, Args)]
struct FloorArguments {
    /// What it answers, and through which interface of the kernel.
    floor: Floor,
    /// TCP port on loopback; 0 picks a free one. The line printed at start names it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Bytes in the value of every answer (canned floors).
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
}

/// Does what the arguments ask for.
///
/// # Errors
/// One line that names what was wrong.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, String> {
    match arguments.command {
        Command::Floor(floor) => match floor::serve(floor.floor, floor.port, floor.value_bytes)? {},
        Command::Load(arguments) => load::command(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Density(arguments) => density::command(&arguments),
        Command::Instructions(arguments) => instructions::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Echo(arguments) => framework::serve(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Framework(arguments) => framework::run(&arguments),
        Command::Neighbours(arguments) => neighbours::run(&arguments),
        Command::Experiment(experiment) => experiment::run(experiment),
        Command::Trace(arguments) => trace::command(&arguments),
    }
}
