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
//! - A segment is reset only through `&mut Arena`, and only while it has neither pins nor open records, so no slice
//!   of it is alive: slices borrow the arena, or belong to a pin.

#![expect(unsafe_code, reason = "mapping memory and reading records in it; see the module documentation")]

mod arena;
mod pins;
mod prefetch;
mod record;
mod region;
mod table;

pub(crate) use arena::{Arena, ArenaConfig, Location, OpenRecord, SegmentId};
pub(crate) use pins::Pins;
pub(crate) use prefetch::prefetch_read;
pub(crate) use record::{EXTENT_HEADER_BYTES, Head, Record, RecordKind, flag};
pub(crate) use table::{Bucket, GHOSTS, GhostLine, SLOTS, Table};
