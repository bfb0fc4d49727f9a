//! What becomes of tasks that nobody may be waiting for: counted, and said in the log.

use std::sync::Arc;

use mm_runtime::executor::{Executor, Mishap};
use mm_runtime::task::Name;

use crate::Log;
use crate::control::Control;
use crate::handler::TASK;

/// Has a shard's executor tell of them. Handlers' own panics are counted where handlers are.
pub(crate) fn attend(executor: &Executor, shard: usize, control: &Control, log: &Log) {
    let (stats, log, connection) = (Arc::clone(&control.stats), log.clone(), Name::new(TASK));
    executor.set_mishap_hook(move |mishap| match mishap {
        Mishap::Panicked(name, _) if name == connection => {}
        Mishap::Panicked(name, message) => {
            stats[shard].task_panics.add(1);
            let text = message.unwrap_or("(no message)");
            log.write_beside(vec![format!("shard {shard}: the task {name} has panicked: {text}")]);
        }
        // Where there are too many tasks, one that writes is one more.
        Mishap::Refused(_) => stats[shard].tasks_refused.add(1),
    });
}
