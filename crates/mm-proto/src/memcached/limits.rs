//! The bounds of the protocol. All are memcached's, except where a line says otherwise.

/// The longest key in bytes.
pub const KEY_MAX_BYTES: usize = 250;

/// The longest command line in bytes, line end not counted. A connection that sends more without a line end
/// is closed, unless it is fetching: the keys of get, gets, gat and gats may go on for as long as they like.
pub const LINE_MAX_BYTES: usize = 2048;

/// A command line shorter than this, line end counted, is malformed whatever it says.
pub const LINE_MIN_BYTES: usize = 4;

/// The largest length that a data block can be announced with.
pub const VALUE_MAX_BYTES: u32 = i32::MAX as u32 - 2;

/// The most words on the line of a meta command, the command and the key counted.
pub const META_WORDS_MAX: usize = 20;

/// The longest opaque token of a meta command, its letter counted.
pub const OPAQUE_MAX_BYTES: usize = 32;

/// The most characters of a 32-bit number.
pub const NUMBER_32_MAX_BYTES: usize = 11;

/// The most characters of a 64-bit number.
pub const NUMBER_64_MAX_BYTES: usize = 22;
