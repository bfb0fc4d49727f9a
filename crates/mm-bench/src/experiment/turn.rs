//! The staged turn: is it worth receiving for all ready connections, preparing all, running all and flushing all,
//! instead of serving one after the other?
//!
//! The servers here answer memcached's `get` from a table of a million items that is far larger than the caches.
//! Each way of serving is a [`Way`] in a process of its own. All run all the time with their connections open; a round
//! loads one after the other for a tenth of a second, each just after the canned epoll floor. The figure is the median
//! over the rounds of its processor time per request as a multiple of the floor's just before.

mod epoll;
mod measure;
mod session;
mod table;
mod uring;
mod ways;

use std::convert::Infallible;
use std::process::ExitCode;

use clap::Args;

use table::Table;
use ways::Way;

/// Arguments of the experiment.
#[derive(Args, Debug)]
pub(crate) struct TurnArguments {
    /// Connections to measure with, each in turn.
    #[arg(long, value_delimiter = ',', default_value = "50,200")]
    connections: Vec<usize>,
    /// How often each way is measured.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How long each measurement takes. Short ones meet the same weather: what else the host does changes slowly.
    #[arg(long, default_value_t = 0.1)]
    seconds: f64,
    /// Only ways whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Let the load watch for answers without sleeping, so that servers need not wake it.
    #[arg(long)]
    spin: bool,
}

/// Arguments of one of the servers.
#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// The name of the way.
    way: String,
    /// TCP port on loopback.
    #[arg(long)]
    port: u16,
}

/// Measures the ways and prints a table.
///
/// # Errors
/// A server does not start or answers wrongly.
pub(crate) fn run(arguments: &TurnArguments) -> Result<ExitCode, String> {
    measure::run(arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// Serves in one way until the process is killed.
///
/// # Errors
/// There is no such way, or the kernel refuses it.
pub(crate) fn serve(arguments: &ServeArguments) -> Result<Infallible, String> {
    let way = ways::find(&arguments.way)?;
    let table = Table::fill();
    match way {
        Way::Epoll(way) => epoll::serve(arguments.port, &table, way),
        Way::Uring(way) => uring::serve(arguments.port, &table, way),
    }
}
