//! Why the program does not start: one line for the operator and an exit code.

use std::fmt;

/// Exit codes, as memcached and sysexits.h have them.
pub(crate) mod exit {
    /// A flag that does not exist, one without its value, and a value that memcached refuses so.
    pub(crate) const FAILURE: u8 = 1;
    /// Flags that do not go together, a flag that cannot be honoured, a value that memcached refuses so or that belongs
    /// to a flag which memcached does not have.
    pub(crate) const USAGE: u8 = 64;
    /// A user who does not exist.
    pub(crate) const NO_USER: u8 = 67;
    /// The system refuses: a port in use, a limit that cannot be raised.
    pub(crate) const SYSTEM: u8 = 71;
}

/// What is said to everything that asks for TLS.
pub(crate) const NO_TLS: &str =
    "TLS is not supported; leave it out, and put a proxy before the server that ends TLS";

/// Why the program does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    message: String,
    code: u8,
}

impl Refusal {
    /// A refusal with its sentence, which names the flag or address at fault, and one of the codes in
    /// [`exit`].
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), code }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
