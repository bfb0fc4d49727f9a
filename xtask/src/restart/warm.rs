//! A warm restart of many items: how long it takes, and whether they are all there.

use std::fmt::Write;
use std::time::Instant;

use super::{Client, MemoryFile, PATIENCE, failed};
use crate::command::{Failure, Outcome};
use crate::server::Server;

/// Keys of 10 bytes, values of 32.
const VALUE_BYTES: usize = 32;
/// Bytes beside key and value that a store of this size is allowed, index included.
const OVERHEAD_BYTES: u64 = 40;
/// Requests in one write.
const BATCH: usize = 1000;
/// Every so many items one is looked at.
const SAMPLE_STEP: usize = 97;

pub(super) fn run(memory: &MemoryFile, items: u64) -> Outcome {
    let mib = ((items * (10 + VALUE_BYTES as u64 + OVERHEAD_BYTES)) >> 20) + 64;
    let (limit, path) = (mib.to_string(), memory.path());
    let arguments = ["-m", &limit, "-t", "2", "-e", &path];
    let mut server = Server::start("restart-warm", &arguments)?;
    let mut client = Client::connect(&server.address()).map_err(failed)?;
    fill(&mut client, items).map_err(failed)?;
    let before = client.stat("curr_items").map_err(failed)?;
    let began = Instant::now();
    server.signal("USR1")?;
    server.wait(PATIENCE)?;
    let saved = began.elapsed();
    let began = Instant::now();
    let server = Server::start("restart-warm", &arguments)?;
    let mut client = Client::connect(&server.address()).map_err(failed)?;
    client.ask("version\r\n").map_err(failed)?;
    let warm = began.elapsed();
    let after = client.stat("curr_items").map_err(failed)?;
    let began = Instant::now();
    let wrong = count_wrong(&mut client, items).map_err(failed)?;
    println!(
        "warm restart at -m {mib}: {before} items; left in order after {:.3} s, answered {:.3} s after the start; \
         {after} items are back; of {} looked at ({:.1} s) {wrong} are missing or wrong",
        saved.as_secs_f64(),
        warm.as_secs_f64(),
        items.div_ceil(SAMPLE_STEP as u64),
        began.elapsed().as_secs_f64(),
    );
    server.stop()?;
    memory.forget();
    if before == after && before == items.to_string() && wrong == 0 {
        return Ok(());
    }
    Err(Failure::Failed("a warm restart has lost items".to_owned()))
}

fn value(number: u64) -> String {
    format!("{:0width$}", number.wrapping_mul(0x9e37_79b9), width = VALUE_BYTES)
}

fn fill(client: &mut Client, items: u64) -> std::io::Result<()> {
    let mut text = String::new();
    for first in (0..items).step_by(BATCH) {
        text.clear();
        for number in first..items.min(first + BATCH as u64) {
            let value = value(number);
            let _infallible = write!(text, "set k{number:09} 0 0 {VALUE_BYTES} noreply\r\n{value}\r\n");
        }
        client.send(text.as_bytes())?;
    }
    client.ask("version\r\n").map(drop)
}

fn count_wrong(client: &mut Client, items: u64) -> std::io::Result<u64> {
    let mut wrong = 0;
    for number in (0..items).step_by(SAMPLE_STEP) {
        let head = client.ask(&format!("get k{number:09}\r\n"))?;
        if head == "END" {
            wrong += 1;
            continue;
        }
        let found = client.line()?;
        client.line()?;
        wrong += u64::from(found != value(number));
    }
    Ok(wrong)
}
