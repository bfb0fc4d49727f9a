//! The operations that the driver needs.

use std::io;

use io_uring::{IoUring, opcode};

use super::step;

/// What the driver asks of the kernel must be known to it.
pub(super) fn check(queues: &IoUring) -> io::Result<()> {
    let mut probe = io_uring::Probe::new();
    queues.submitter().register_probe(&mut probe).map_err(|error| step("io_uring_register", &error))?;
    let needed = [
        ("accept", opcode::AcceptMulti::CODE),
        ("recv", opcode::RecvMulti::CODE),
        ("send", opcode::Send::CODE),
        ("poll", opcode::PollAdd::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
    ];
    match needed.iter().find(|(_, code)| !probe.is_supported(*code)) {
        Some((name, _)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this kernel's io_uring has no operation for {name}"),
        )),
        None => Ok(()),
    }
}
