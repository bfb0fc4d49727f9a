//! The bounds of a run.

/// Requests that are executed in a run, at least.
pub const OPS_MIN: u64 = 10_000;

/// Kinds of fault that happen in a run, at least.
pub const FAULT_KINDS_MIN: usize = 3;

/// Clients of a run, at most.
pub const CLIENTS_MAX: usize = 24;

/// Keys of a run, at most.
pub const KEYS_MAX: usize = 2000;

/// Keys of a run in which the index has to grow.
pub const MANY_KEYS: usize = 10_000;

/// Keys of a run in which answers hold memory that is wanted.
pub const HELD_KEYS: usize = 200;

/// The longest values of such a run, in bytes: several segments of the least size, and sent from where they lie.
pub const HELD_BYTES_MAX: usize = 48 * 1024;

/// Pieces of its client's choice that a value comes in, at most.
pub const PIECES_MAX: usize = 200;

/// Keys of a run whose requests are written down: half of them are about an eighth of these.
pub const RECORDED_KEYS: usize = 40;

/// Its clients, at most: the more there are, the longer an order is looked for.
pub const RECORDED_CLIENTS_MAX: usize = 5;

/// The memory limit of runs in which it changes, in megabytes.
pub const LARGE_LIMIT_MB: u64 = 64;

/// The highest to which it is raised: no address space is reserved for more where addresses have 32 bits.
pub const RAISED_LIMIT_MB: u64 =
    if cfg!(target_pointer_width = "64") { 2 * LARGE_LIMIT_MB } else { LARGE_LIMIT_MB };

/// What a connection may hold beyond its output's cap, in bytes: a buffer of input, and the answer that went over it.
pub const CONNECTION_SLACK_BYTES: usize = 256 * 1024;

/// Datagrams whose replies are waited for.
pub const LETTERS_OPEN_MAX: usize = 32;

/// How long it may take until a lower memory limit is kept, in milliseconds of virtual time.
pub const SHRINK_MS_MAX: u64 = 60_000;

/// Pieces of one output that the checks look at.
pub const GATHER_MAX: usize = 1024;

/// How long the server may leave something lying that it could do, in milliseconds of virtual time.
pub const STALL_MS: u64 = 300;

/// How often whoever watches looks before it ends that. Where it is alone, nothing else happens meanwhile: in seed 395
/// one has no luck for 86 looks, and where machines stand still for 14 s between two of them, every other look is that
/// late. Twenty are over before [`PROGRESS_MS_MAX`].
pub const LOOKS_MAX: u32 = 20;

/// How long nothing may happen at all, in milliseconds of virtual time: more than every time-out and pause.
pub const PROGRESS_MS_MAX: u64 = 200_000;

/// The same in steps: both have to be exceeded.
pub const PROGRESS_STEPS_MIN: u64 = 2000;

/// Seeds within which each mistake made on purpose has to show.
pub const CANARY_SEEDS: u64 = 200;

/// The length of the run about expired items, in seconds of virtual time.
pub const HOUR_S: u64 = 3600;

/// How often it is looked at, in seconds of virtual time: no divisor of the times to live, nor they of it.
pub const SAMPLE_S: u64 = 7;

/// Its memory limit, in bytes.
pub const HOUR_LIMIT_BYTES: usize = 16 << 20;

/// Shards of the hours on a shared store.
pub const HOUR_SHARDS: usize = 2;

/// Values stored in each second of it.
pub const HOUR_SETS_PER_S: u64 = 500;

/// How long items have to be dead to count in it, in seconds.
pub const DEAD_S: u32 = 10;

/// The share of the limit that they may hold, in thousandths.
pub const DEAD_SHARE_MAX: u64 = 50;

/// Turns in a row that may pass neither time nor a byte, once many have passed no time.
pub const SPINS_MAX: u32 = 10_000;

/// At most one request in so many may be refused for want of memory where clients hold the memory of a store that
/// evicts. Seed 411, where they hold most, sees one in 30.
pub const REFUSED_SHARE: u64 = 10;

/// One server in so many that takes over fails when it has opened the store.
pub const FAILED_TAKE_OVERS: u64 = 3;

/// How often each marked path is reached in a run of a thousand seeds, at least.
pub const MARK_MIN: u64 = 100;

/// Steps after which the search for an order of a history is given up: a hundred for each call of a long one.
pub const LINEAR_STEPS_MAX: usize = 20_000_000;

/// Calls without explanation that are shown.
pub const LINEAR_SHOWN: usize = 16;

/// At most one in so many searches for an order of what clients have seen may be given up over a run of seeds.
pub const GIVEN_UP_SHARE: u64 = 20;

/// How many more connections than there are clients a server may count: those that it has not closed yet. In 600 seeds
/// that is one, four times.
pub const CONNECTIONS_BESIDE_MAX: u64 = 8;
