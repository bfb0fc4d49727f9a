//! The fixed lines of the protocol, line end included.
//!
//! Clients compare some of them letter by letter (libmemcached knows the errors by their beginnings), so they
//! are memcached's own.

/// A storage command has stored.
pub const STORED: &[u8] = b"STORED\r\n";
/// The condition of an add, replace, append or prepend did not hold.
pub const NOT_STORED: &[u8] = b"NOT_STORED\r\n";
/// A cas found the item changed.
pub const EXISTS: &[u8] = b"EXISTS\r\n";
/// There is no such item.
pub const NOT_FOUND: &[u8] = b"NOT_FOUND\r\n";
/// A delete has deleted.
pub const DELETED: &[u8] = b"DELETED\r\n";
/// A touch has set the time.
pub const TOUCHED: &[u8] = b"TOUCHED\r\n";
/// The end of the values of a get, and of statistics.
pub const END: &[u8] = b"END\r\n";
/// An administrative command has been carried out.
pub const OK: &[u8] = b"OK\r\n";
/// The statistics have been set back.
pub const RESET: &[u8] = b"RESET\r\n";
/// The answer to a meta no-op.
pub const META_NOOP: &[u8] = b"MN\r\n";

/// No such command.
pub const ERROR: &[u8] = b"ERROR\r\n";
/// The line does not have the shape of its command.
pub const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
/// A statistics command lacks a word.
pub const BAD_LINE: &[u8] = b"CLIENT_ERROR bad command line\r\n";
/// A data block does not end where it should.
pub const BAD_DATA_CHUNK: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";
/// The expiration time of touch, gat or `flush_all` is no number.
pub const BAD_EXPTIME: &[u8] = b"CLIENT_ERROR invalid exptime argument\r\n";
/// The amount of incr or decr is no number.
pub const BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta argument\r\n";
/// incr or decr of something that is no number.
pub const NON_NUMERIC: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
/// The item would exceed the item size limit.
pub const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";
/// There is no memory for the item.
pub const NO_MEMORY_STORING: &[u8] = b"SERVER_ERROR out of memory storing object\r\n";
/// There is no memory for the result of an incr, decr or md.
pub const NO_MEMORY: &[u8] = b"SERVER_ERROR out of memory\r\n";
/// There is no memory for the item that a ma would create.
pub const NO_MEMORY_VIVIFY: &[u8] = b"SERVER_ERROR Out of memory allocating new item\r\n";
/// Memory ran out while a data block was coming in.
pub const NO_MEMORY_READING: &[u8] = b"SERVER_ERROR Out of memory during read\r\n";
/// Shutdown was asked for and is not enabled. The colon is memcached's.
pub const SHUTDOWN_DISABLED: &[u8] = b"SERVER_ERROR: shutdown not enabled\r\n";
/// Shutdown was asked for in an unknown way.
pub const SHUTDOWN_MODE: &[u8] = b"CLIENT_ERROR invalid shutdown mode\r\n";
/// `flush_all` is disabled.
pub const FLUSH_DISABLED: &[u8] = b"CLIENT_ERROR flush_all not allowed\r\n";
/// Watching is disabled or not to be had.
pub const WATCH_DISABLED: &[u8] = b"CLIENT_ERROR watch commands not allowed\r\n";

/// A flag of a meta command came twice, or is no letter.
pub const META_DUPLICATE_FLAG: &[u8] = b"CLIENT_ERROR duplicate flag\r\n";
/// A flag of a meta command is unknown.
pub const META_INVALID_FLAG: &[u8] = b"CLIENT_ERROR invalid flag\r\n";
/// What ma says to any fault of its flags.
pub const META_INVALID_OR_DUPLICATE: &[u8] = b"CLIENT_ERROR invalid or duplicate flag\r\n";
/// A meta command has too many words.
pub const META_TOO_MANY_FLAGS: &[u8] = b"CLIENT_ERROR options flags are too long\r\n";
/// The number of a flag is missing or none.
pub const META_BAD_TOKEN: &[u8] = b"CLIENT_ERROR bad token in command line format\r\n";
/// The initial value of ma is no number.
pub const META_BAD_INITIAL: &[u8] = b"CLIENT_ERROR invalid numeric initial value\r\n";
/// The amount of ma is no number.
pub const META_BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta value\r\n";
/// The key is not base64.
pub const META_BAD_KEY: &[u8] = b"CLIENT_ERROR error decoding key\r\n";
/// The opaque token is too long.
pub const META_OPAQUE_TOO_LONG: &[u8] = b"CLIENT_ERROR opaque token too long\r\n";
/// The mode of ms is unknown.
pub const META_BAD_SET_MODE: &[u8] = b"CLIENT_ERROR invalid mode for ms M token\r\n";
/// The mode of ma is unknown.
pub const META_BAD_ARITHMETIC_MODE: &[u8] = b"CLIENT_ERROR invalid mode for ma M token\r\n";

/// The memory limit asked for is too small.
pub const MEMLIMIT_TOO_SMALL: &[u8] = b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n";
/// The same where the least that it can be is more.
#[must_use]
pub fn memlimit_too_small(least_mib: u64) -> String {
    format!("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than {least_mib}m\r\n")
}
/// The memory limit asked for is meant in bytes, it seems.
pub const MEMLIMIT_IN_BYTES: &[u8] = b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n";
/// The memory limit cannot be changed.
pub const MEMLIMIT_FAILED: &[u8] = b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n";
