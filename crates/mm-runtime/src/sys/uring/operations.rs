//! The operations that the driver needs.

use std::io;

use io_uring::{IoUring, opcode};

use super::step;

/// By the names that the kernel's manual has for them.
const NEEDED: [(&str, u8); 6] = [
    ("accept", opcode::AcceptMulti::CODE),
    ("recv", opcode::RecvMulti::CODE),
    ("send", opcode::Send::CODE),
    ("poll", opcode::PollAdd::CODE),
    ("cancel", opcode::AsyncCancel::CODE),
    ("nop", opcode::Nop::CODE),
];

/// What the driver asks of the kernel must be known to it.
pub(super) fn check(queues: &IoUring) -> io::Result<()> {
    let mut probe = io_uring::Probe::new();
    queues.submitter().register_probe(&mut probe).map_err(|error| step("io_uring_register", &error))?;
    check_all(|code| probe.is_supported(code))
}

/// The same, of a kernel that has these operations.
fn check_all(is_there: impl Fn(u8) -> bool) -> io::Result<()> {
    match NEEDED.iter().find(|(_, code)| !is_there(*code)) {
        Some((name, _)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this kernel's io_uring has no operation for {name}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_lacks_one_operation_is_refused_by_its_name() {
        for (name, missing) in NEEDED {
            let error = check_all(|code| code != missing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert_eq!(error.to_string(), format!("this kernel's io_uring has no operation for {name}"));
        }
        check_all(|code| NEEDED.iter().any(|(_, needed)| *needed == code)).unwrap();
        check_all(|_| false).unwrap_err();
    }
}
