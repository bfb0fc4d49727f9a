//! The time, as everything above the runtime sees it: an argument.

/// One reading of the clocks.
///
/// A shard takes one at the start of each turn and hands it to whatever runs in that turn, so that nothing in
/// the depths asks the operating system for the time and a simulation can set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back and that starts at an arbitrary point. For time-outs and
    /// timers.
    pub monotonic_ms: u64,
    /// Seconds since 1970-01-01 00:00 UTC. May jump when an operator sets the clock. For what a protocol
    /// calls time.
    pub unix_s: u64,
}
