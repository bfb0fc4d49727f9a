//! The arguments of commands about the server.

use super::number::{parse_i32, parse_i64, parse_u32};
use super::{lines, tokens};

/// Whether `word` means `name`: memcached takes any beginning of a name for it, and the first name that fits.
#[must_use]
pub fn is_abbreviation(word: &[u8], name: &[u8]) -> bool {
    !word.is_empty() && name.starts_with(word)
}

/// The delay of `flush_all`; 0 where none is given.
///
/// # Errors
///
/// The line to be sent where the delay is no number.
pub fn parse_flush_all(arguments: &[u8], noreply: bool) -> Result<i32, &'static [u8]> {
    let mut words = tokens(arguments);
    match (words.next(), words.next()) {
        (None, _) => Ok(0),
        (Some(_), None) if noreply => Ok(0),
        (Some(delay), _) => parse_i32(delay).ok_or(lines::BAD_EXPTIME),
    }
}

/// The level of `verbosity`.
///
/// # Errors
///
/// The line to be sent where it is missing or no number.
pub fn parse_verbosity(arguments: &[u8]) -> Result<u32, &'static [u8]> {
    tokens(arguments).next().and_then(parse_u32).ok_or(lines::BAD_FORMAT)
}

/// The limit of `cache_memlimit` in megabytes.
///
/// # Errors
///
/// The line to be sent where it is missing, no number, or not within reason.
pub fn parse_cache_memlimit(arguments: &[u8]) -> Result<u32, &'static [u8]> {
    match tokens(arguments).next().and_then(parse_u32) {
        None => Err(lines::ERROR),
        Some(..8) => Err(lines::MEMLIMIT_TOO_SMALL),
        Some(1_000_000_001..) => Err(lines::MEMLIMIT_IN_BYTES),
        Some(megabytes) => Ok(megabytes),
    }
}

/// How `shutdown` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop.
    Plain,
    /// Stop, and save what can be saved.
    Graceful,
}

/// The mode of `shutdown`.
///
/// # Errors
///
/// The line to be sent where there is no such mode.
pub fn parse_shutdown(arguments: &[u8]) -> Result<Shutdown, &'static [u8]> {
    let mut words = tokens(arguments);
    match (words.next(), words.next()) {
        (None, _) => Ok(Shutdown::Plain),
        (Some(mode), None) if is_abbreviation(mode, b"graceful") => Ok(Shutdown::Graceful),
        _ => Err(lines::SHUTDOWN_MODE),
    }
}

/// What `debugtime` does to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugTime {
    /// Stop it.
    Pause,
    /// Let it go on.
    Resume,
    /// Move it by so many seconds.
    Move(i64),
}

/// The argument of `debugtime`.
///
/// # Errors
///
/// The line to be sent where there is no such thing.
pub fn parse_debug_time(arguments: &[u8]) -> Result<DebugTime, &'static [u8]> {
    match tokens(arguments).next() {
        Some(b"p") => Ok(DebugTime::Pause),
        Some(b"r") => Ok(DebugTime::Resume),
        Some(word) => parse_i64(word).map(DebugTime::Move).ok_or(lines::ERROR),
        None => Err(lines::ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_their_faults() {
        assert_eq!(parse_flush_all(b"", false), Ok(0));
        assert_eq!(parse_flush_all(b"noreply", true), Ok(0));
        assert_eq!(parse_flush_all(b"10 noreply", true), Ok(10));
        assert_eq!(parse_flush_all(b"-5", false), Ok(-5));
        assert_eq!(parse_flush_all(b"x", false), Err(lines::BAD_EXPTIME));
        assert_eq!(parse_verbosity(b"1"), Ok(1));
        assert_eq!(parse_verbosity(b""), Err(lines::BAD_FORMAT));
        assert_eq!(parse_verbosity(b"noreply"), Err(lines::BAD_FORMAT));
        assert_eq!(parse_cache_memlimit(b"8"), Ok(8));
        assert_eq!(parse_cache_memlimit(b"7"), Err(lines::MEMLIMIT_TOO_SMALL));
        assert_eq!(parse_cache_memlimit(b"1000000001"), Err(lines::MEMLIMIT_IN_BYTES));
        assert_eq!(parse_cache_memlimit(b"x"), Err(lines::ERROR));
        assert_eq!(parse_shutdown(b""), Ok(Shutdown::Plain));
        assert_eq!(parse_shutdown(b"graceful"), Ok(Shutdown::Graceful));
        assert_eq!(parse_shutdown(b"now"), Err(lines::SHUTDOWN_MODE));
        assert_eq!(parse_debug_time(b"-20"), Ok(DebugTime::Move(-20)));
        assert_eq!(parse_debug_time(b"p"), Ok(DebugTime::Pause));
        assert_eq!(parse_debug_time(b"q"), Err(lines::ERROR));
    }

    #[test]
    fn beginnings_of_names() {
        assert!(is_abbreviation(b"s", b"settings"));
        assert!(is_abbreviation(b"settings", b"settings"));
        assert!(!is_abbreviation(b"settingsx", b"settings"));
        assert!(!is_abbreviation(b"", b"settings"));
    }
}
