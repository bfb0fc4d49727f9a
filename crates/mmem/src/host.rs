//! What memcached's commands can learn from the process and do to it.

use std::io::Write;

use mainmemory::server::{Handle, Stop, process};
use mm_memcached::{Host, Shutdown};

use crate::memory::Memory;

/// This process, and the server in it.
#[derive(Debug)]
pub(crate) struct ThisProcess {
    server: Handle,
    memory: Memory,
}

impl ThisProcess {
    /// The process that runs this server, and the memory that its items are in.
    pub(crate) fn new(server: Handle, memory: Memory) -> Self {
        Self { server, memory }
    }
}

impl Host for ThisProcess {
    fn process_id(&self) -> u32 {
        std::process::id()
    }

    fn processor_us(&self) -> (u64, u64) {
        process::processor_us()
    }

    fn shut_down(&self, mode: Shutdown) {
        if mode == Shutdown::Graceful {
            self.memory.save_at_end();
        }
        self.server.stop(Stop::Gracefully);
    }

    fn has_room(&self, limit_bytes: u64) -> bool {
        self.memory.has_room(limit_bytes)
    }

    fn say(&self, lines: &str) {
        // That it may be closed must not matter.
        drop(std::io::stderr().write_all(lines.as_bytes()));
    }
}
