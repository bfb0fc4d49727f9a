//! Which driver a server gets.

use mm_runtime::driver::{DEFAULT_KIND, Kind};

use crate::DriverChoice;

/// A driver, and why it is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) kind: Kind,
    pub(crate) notice: Option<String>,
}

/// Finds out what works here.
pub(crate) fn choose(choice: DriverChoice) -> Chosen {
    match choice {
        DriverChoice::Auto => Chosen { kind: DEFAULT_KIND, notice: None },
        DriverChoice::Epoll => Chosen { kind: Kind::Epoll, notice: None },
        DriverChoice::Kqueue => Chosen { kind: Kind::Kqueue, notice: None },
        DriverChoice::Poll => Chosen { kind: Kind::Poll, notice: None },
        DriverChoice::Uring => match probe() {
            Ok(()) => Chosen { kind: Kind::Uring, notice: None },
            Err(error) => Chosen { kind: Kind::Epoll, notice: Some(instead(&error)) },
        },
    }
}

/// What an operator is told when io_uring cannot be used.
pub(crate) fn instead(error: &std::io::Error) -> String {
    format!("io_uring cannot be used here ({error}); using epoll instead")
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn probe() -> std::io::Result<()> {
    mm_runtime::driver::uring::probe()
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn probe() -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "there is no driver for this system"))
}
