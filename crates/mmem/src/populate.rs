//! The thread that has memory populated before the shards come to use it.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use mainmemory::server::process;
use mainmemory::store::Untouched;

use crate::limits::POPULATE_QUEUE_MAX;

static QUEUE: OnceLock<SyncSender<Untouched>> = OnceLock::new();

/// Starts the thread, once for the process. Without one, memory becomes resident as it is used.
///
/// Called before shards are pinned: whoever starts a thread gives it the processors that it may use itself.
pub(crate) fn start() {
    QUEUE.get_or_init(|| {
        let (sender, receiver) = sync_channel(POPULATE_QUEUE_MAX);
        let _started = thread::Builder::new().name("mm-populate".to_owned()).spawn(|| serve(receiver));
        sender
    });
}

/// Has the thread populate memory. What it has no time for becomes resident as it is used.
pub(crate) fn beside(memory: Untouched) {
    if let Some(queue) = QUEUE.get() {
        let _busy = queue.try_send(memory);
    }
}

fn serve(receiver: Receiver<Untouched>) {
    // A shard that shares its processor with this thread waits for large values only.
    let _refused = process::give_way();
    let _shared = process::leave_descriptors();
    for memory in receiver {
        // What the system refuses now it is asked for again when the memory is used.
        let _refused = memory.populate();
    }
}
