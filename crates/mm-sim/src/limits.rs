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

/// Seeds within which each mistake made on purpose has to show.
pub const CANARY_SEEDS: u64 = 50;

/// The length of the run about expired items, in seconds of virtual time.
pub const HOUR_S: u64 = 3600;

/// How often it is looked at, in seconds of virtual time: no divisor of the times to live, nor they of it.
pub const SAMPLE_S: u64 = 7;

/// Its memory limit, in bytes.
pub const HOUR_LIMIT_BYTES: usize = 16 << 20;

/// Values stored in each second of it.
pub const HOUR_SETS_PER_S: u64 = 500;

/// How long items have to be dead to count in it, in seconds.
pub const DEAD_S: u32 = 10;

/// The share of the limit that they may hold, in thousandths.
pub const DEAD_SHARE_MAX: u64 = 50;

/// Turns in a row that may pass neither time nor a byte, once many have passed no time.
pub const SPINS_MAX: u32 = 10_000;

/// How often each marked path is reached in a run of a thousand seeds, at least.
pub const MARK_MIN: u64 = 100;
