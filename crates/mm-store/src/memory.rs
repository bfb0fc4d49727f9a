//! Raw memory of the store: the only place of this crate with `unsafe`.
//!
//! Three parts, each with a safe interface that keeps its own promises: [`Arena`] (segments of records), [`Table`]
//! (the index's buckets, the ghosts) and [`Pins`] (values that outlive a call).
//!
//! What makes it sound:
//! - A byte of a segment is handed out for writing only once between two resets of that segment, to the holder of
//!   an [`OpenRecord`], which cannot be copied. After `publish` it is only read.
//! - An open record belongs to one arena, which looks at its number before it hands bytes out.
//! - Every access through `&self` to something that changes later is an atomic load or store of one fixed size.
//! - A segment is appended to by one [`Writer`], which cannot be copied and is in the hands of one thread.
//! - Behind the region of records a guard is mapped that is longer than any record's first word can say. So a record
//!   that begins in the region is memory to its end, whatever that word says, and one look at where it begins will do.
//! - Memory of a file belongs to one process at a time: whoever gives the store a file sees to that (a lock). What the
//!   file holds is looked at only after its digest was found to be that of what a store left there.
//! - A segment is reset only when it has neither pins nor open records nor a writer, and every shard that worked on the
//!   store when the last of its records left the index has rested since (`epoch`). A shard finds records while it works
//!   and keeps no slice of them, save by a pin, when it rests: slices borrow its handle, and resting takes the handle
//!   by `&mut`. So no slice of the segment is alive.

#![expect(unsafe_code, reason = "mapping memory and reading records in it; see the module documentation")]

mod arena;
mod epoch;
mod lanes;
#[cfg(not(loom))]
mod lines;
#[cfg(loom)]
mod modelled;
#[cfg(all(test, loom))]
mod models;
mod pins;
mod prefetch;
mod record;
mod region;
mod table;
mod untouched;

pub(crate) use arena::keep::MARK_AT;
pub(crate) use arena::{Arena, ArenaConfig, Location, OpenRecord, SEGMENT_FILL_BYTES, SegmentId, Writer};
#[cfg(not(loom))]
pub(crate) use lines::Table;
#[cfg(loom)]
pub(crate) use modelled::Table;
pub(crate) use pins::Pins;
pub(crate) use prefetch::{prefetch_read, prefetch_write};
pub(crate) use record::{EXTENT_HEADER_BYTES, Head, Record, RecordKind, flag};
pub(crate) use region::Ground;
pub(crate) use table::{Bucket, GHOSTS, GhostLine, SLOTS};
pub use untouched::Untouched;

/// A hash of bytes that are kept over a restart, by which damage to them is noticed.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    rapidhash::v3::rapidhash_v3(bytes)
}
