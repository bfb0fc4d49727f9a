//! Which driver a server gets.

use std::io;

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
    choose_with(choice, probe)
}

/// The same, where this finds out whether `io_uring` can be used.
fn choose_with(choice: DriverChoice, probe: impl FnOnce() -> io::Result<()>) -> Chosen {
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
pub(crate) fn instead(error: &io::Error) -> String {
    format!("io_uring cannot be used here ({error}); using epoll instead")
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn probe() -> io::Result<()> {
    mm_runtime::driver::uring::probe()
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn probe() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there is no driver for this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_chosen_in_place_of_a_ring_that_lacks_something() {
        let lacking = || Err(io::Error::new(io::ErrorKind::Unsupported, "no operation for recv"));
        let notice = "io_uring cannot be used here (no operation for recv); using epoll instead";
        let chosen = Chosen { kind: Kind::Epoll, notice: Some(notice.to_owned()) };
        assert_eq!(choose_with(DriverChoice::Uring, lacking), chosen);
        assert_eq!(choose_with(DriverChoice::Uring, || Ok(())), Chosen { kind: Kind::Uring, notice: None });
        let unasked = || panic!("nobody has asked for io_uring");
        assert_eq!(choose_with(DriverChoice::Epoll, unasked), Chosen { kind: Kind::Epoll, notice: None });
    }
}
