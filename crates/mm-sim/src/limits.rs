//! The bounds of a run.

/// Requests that are executed in a run, at least.
pub const OPS_MIN: u64 = 10_000;

/// Kinds of fault that happen in a run, at least.
pub const FAULT_KINDS_MIN: usize = 3;

/// Clients of a run, at most.
pub const CLIENTS_MAX: usize = 24;

/// Keys of a run, at most.
pub const KEYS_MAX: usize = 2000;

/// Pieces of one output that the checks look at.
pub const GATHER_MAX: usize = 1024;

/// How long the server may leave something lying that it could do, in milliseconds of virtual time.
pub const STALL_MS: u64 = 300;

/// How long nothing may happen at all, in milliseconds of virtual time: more than every time-out and pause.
pub const PROGRESS_MS_MAX: u64 = 200_000;

/// How often each marked path is reached in a run of a thousand seeds, at least.
pub const MARK_MIN: u64 = 100;
