//! The rare paths that simulations have to reach.

use crate::limits::MARK_MIN;

/// Every mark in the code, by the crate it is in.
pub const MARKS: &[&str] = &[
    // mm-server
    "address limit reached",
    "connection broken",
    "connection handed to another shard",
    "connection limit reached",
    "connection moved to another shard",
    "connection put off to the next turn",
    "connection refused",
    "connection taken over",
    "connection waits for memory",
    "cut request moved to a large buffer",
    "cut request moved to a small buffer",
    "descriptors exhausted",
    "drain deadline passed",
    "idle time-out",
    "output waits for its reader",
    "place given back by another shard",
    "reply in datagrams refused",
    "request cut",
    "service stopped at the output's cap",
    "slowest connection closed for want of memory",
    "slowest sender closed for want of the service's memory",
    "too much to be handed over",
    "write time-out",
    // mm-memcached
    "batch stopped at the output's cap",
    "delayed flush carried out",
    "dump stopped at the output's cap",
    "line for a watcher skipped",
    "no memory for a value",
    "refused value skipped",
    "short value waited for",
    "upload begun",
    "upload ended with its connection",
    "upload put off for memory",
    "upload with a bad end",
    "value too large",
    // mm-store
    "emptied segment waits for readers",
    "expired or flushed item removed",
    "extent moved",
    "flush",
    "index resized",
    "item evicted",
    "memory above the limit given back",
    "record moved",
    "upload ended after a flush",
    "value goes on in an extent",
    "values joined",
    "write put off for readers",
];

/// How often each mark has been reached in this process, the least first, and whether that is too rarely. Nothing
/// without the feature `marks`.
#[must_use]
pub fn reached() -> Vec<(&'static str, u64, bool)> {
    if !cfg!(feature = "marks") {
        return Vec::new();
    }
    let count = |&name| {
        let times = mm_base::marks::reached(name);
        (name, times, times < MARK_MIN)
    };
    let mut counts: Vec<_> = MARKS.iter().map(count).collect();
    counts.sort_by_key(|(_, times, _)| *times);
    counts
}
