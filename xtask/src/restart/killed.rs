//! Servers that are killed at random points, while they serve and while they leave their items in order: afterwards
//! an item is the one that was stored last, or there is none.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use super::{Choice, Client, MemoryFile, PATIENCE, failed};
use crate::command::{Failure, Outcome};
use crate::server::Server;

const KEYS: u64 = 5000;
/// Longest time before a kill, in microseconds.
const DELAY_US_MAX: u64 = 60_000;
/// How much shorter the time is in which items are left in order.
const SAVING_IS_SHORTER: u32 = 40;
const SEED: u64 = 20_261_128;

/// What happens to the server in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is killed while it is written to.
    Serving,
    /// It is killed while it leaves its items in order, or has done so.
    Saving,
    /// It leaves them in order.
    InOrder,
}

pub(super) fn run(memory: &MemoryFile, rounds: u64) -> Outcome {
    let mut choice = Choice(SEED);
    // What each key was last given, and whether the server must have it.
    let (mut version, mut last_end) = (0, End::Serving);
    let (mut warm, mut cold, mut kills) = (0, 0, 0);
    while kills < rounds {
        let shards = (1 + choice.below(2)).to_string();
        let mut server = Server::start("restart-killed", &["-m", "16", "-t", &shards, "-e", &memory.path()])?;
        let mut client = Client::connect(&server.address()).map_err(failed)?;
        let found = look(&mut client, version).map_err(failed)?;
        let must = match last_end {
            End::Serving => 0,
            End::Saving if found == 0 => 0,
            End::Saving | End::InOrder => KEYS,
        };
        if must != found {
            return Err(Failure::Failed(format!("after {last_end:?}: {found} of {KEYS} items are there")));
        }
        if last_end != End::Serving {
            (warm, cold) = if found == 0 { (warm, cold + 1) } else { (warm + 1, cold) };
        }
        version += 1;
        store(&mut client, version).map_err(failed)?;
        last_end = [End::Serving, End::Saving, End::InOrder][usize::try_from(choice.below(3)).unwrap_or(0)];
        let delay = Duration::from_micros(choice.below(DELAY_US_MAX));
        match last_end {
            End::Serving => {
                let writer = thread::spawn(move || while store(&mut client, version + 1).is_ok() {});
                thread::sleep(delay);
                server.signal("KILL")?;
                drop(writer.join());
            }
            End::Saving => {
                server.signal("USR1")?;
                thread::sleep(delay / SAVING_IS_SHORTER);
                // It may have ended.
                drop(server.signal("KILL"));
            }
            End::InOrder => server.signal("USR1")?,
        }
        kills += u64::from(last_end != End::InOrder);
        server.wait(PATIENCE)?;
    }
    memory.forget();
    println!(
        "{kills} kills at random points (seed {SEED}): no wrong value; of the restarts after a stop in order or its \
         attempt {warm} were warm and whole, {cold} cold"
    );
    Ok(())
}

fn value(key: u64, version: u64) -> String {
    format!("{version}-").repeat(1 + usize::try_from(key % 50).unwrap_or(0))
}

fn store(client: &mut Client, version: u64) -> std::io::Result<()> {
    let mut text = String::new();
    for key in 0..KEYS {
        let value = value(key, version);
        let _infallible = write!(text, "set k{key} 0 0 {} noreply\r\n{value}\r\n", value.len());
    }
    client.send(text.as_bytes())?;
    client.ask("version\r\n").map(drop)
}

/// How many of the items are there. Each that is must be of this version.
fn look(client: &mut Client, version: u64) -> std::io::Result<u64> {
    let mut found = 0;
    for key in 0..KEYS {
        if client.ask(&format!("get k{key}\r\n"))? == "END" {
            continue;
        }
        let text = client.line()?;
        client.line()?;
        if text != value(key, version) {
            return Err(std::io::Error::other(format!(
                "k{key} is {text:?}, version {version} was stored last"
            )));
        }
        found += 1;
    }
    Ok(found)
}
