//! A dump: what a shard does, in lines for a person.

use std::collections::BTreeMap;
use std::hint::cold_path;

use mm_base::Now;
use mm_runtime::driver::{Address, Driver};
use mm_runtime::task;

use super::{Connection, Engine, Marks};
use crate::Service;
use crate::connection::Want;
use crate::limits::DUMP_CONNECTIONS_MAX;

impl<S: Service, D: Driver> Engine<S, D> {
    /// Writes a dump to the log, if one has been asked for.
    pub(super) fn dump_if_asked(&mut self, driver: &D, now: Now) {
        let asked = self.control.dumps();
        if std::mem::replace(&mut self.dumps, asked) != asked {
            cold_path();
            self.config.log.write_beside(self.dump(driver, now));
        }
    }

    fn dump(&self, driver: &D, now: Now) -> Vec<String> {
        let mut tasks = BTreeMap::new();
        let mut task_count = 0_usize;
        task::for_each(|task| {
            task_count += 1;
            *tasks.entry(task.name.text()).or_insert(0_usize) += 1;
        });
        let shard = self.shard;
        let handled = self.handled.as_ref().map_or(0, |handled| handled.entries.len());
        let connections = self.connections.len() + handled;
        let mut lines = vec![format!(
            "dump: shard {shard}: {} driver, {connections} connections, {task_count} tasks, {} bytes in buffers, \
             {} turns",
            driver.kind(),
            self.buffered_bytes(),
            self.stats().turns.get(),
        )];
        lines.extend(tasks.iter().map(|(name, count)| format!("dump: shard {shard}: {count} x task {name}")));
        let served = self.connections.iter().map(|(_, connection)| describe(connection, driver, now));
        let handled = self.handled.iter().flat_map(|handled| handled.entries.iter()).map(|entry| {
            let is_blocked = entry.watch.is_blocked();
            let does = match (is_blocked, entry.watch.is_busy()) {
                (true, _) => "its peer takes no output",
                (_, true) => "a request is under way",
                _ => "waits for a request",
            };
            line(entry.watch.peer(), entry.watch.progress_ms().unwrap_or(now.monotonic_ms), now, does)
        });
        let all = served.chain(handled).take(DUMP_CONNECTIONS_MAX);
        lines.extend(all.map(|line| format!("dump: shard {shard}: {line}")));
        if let Some(more @ 1..) = connections.checked_sub(DUMP_CONNECTIONS_MAX) {
            lines.push(format!("dump: shard {shard}: and {more} connections more"));
        }
        lines
    }
}

/// One connection of a service.
fn describe<C>(connection: &Connection<C>, driver: &impl Driver, now: Now) -> String {
    let does = match connection.machine.want() {
        _ if connection.marks.has(Marks::LINGERS) => "has ended and lingers",
        _ if connection.marks.has(Marks::QUEUED) => "is to be served",
        _ if connection.marks.has(Marks::STARVED) => "waits for memory",
        Want::Input if connection.machine.has_carry() => "waits for the rest of a request",
        Want::Input => "waits for a request",
        _ => "waits for its service",
    };
    let output = connection.output.as_ref().map_or_else(String::new, |output| {
        let blocked = if connection.marks.has(Marks::BLOCKED) { ", its peer takes none" } else { "" };
        format!(", {} bytes of output{blocked}", output.len())
    });
    let origin = driver.peer(connection.stream);
    let listener = connection.listener;
    line(origin, connection.progress_ms, now, &format!("{does}{output} (listener {listener})"))
}

fn line(peer: Option<Address>, progress_ms: u64, now: Now, does: &str) -> String {
    let peer = peer.map_or_else(|| "a peer that has gone".to_owned(), |peer| peer.to_string());
    let quiet_ms = now.monotonic_ms.saturating_sub(progress_ms);
    format!("connection from {peer}: quiet for {quiet_ms} ms, {does}")
}
