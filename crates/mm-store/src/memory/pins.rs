//! Values that are being sent: their segments stay as they are until the last byte is out.

use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use mm_base::buffer::{PinOwner, Pinned};

use super::arena::{Arena, Location, Mapping};
use crate::primitive::AtomicU32;
use crate::sharing::{Sharing, add, subtract};

/// The pins of one shard, which keep the mapping alive.
#[derive(Debug)]
pub(crate) struct Pins {
    mapping: Arc<Mapping>,
    add: fn(&AtomicU32, u32),
    subtract: fn(&AtomicU32, u32),
}

impl Pins {
    pub(crate) fn new<S: Sharing>(arena: &Arena) -> Self {
        Self { mapping: Arc::clone(arena.mapping()), add: add::<S>, subtract: subtract::<S> }
    }

    /// Pins the value bytes of the published record at `location`; its segment is not reset before the release.
    pub(crate) fn pin(self: &Rc<Self>, arena: &Arena, location: Location) -> Pinned {
        debug_assert!(Arc::ptr_eq(&self.mapping, arena.mapping()), "pins belong to one arena");
        let segment = arena.segment_of(location).index();
        (self.add)(&self.mapping.pins[segment], 1);
        (self.add)(&self.mapping.pinned, 1);
        let owner: Rc<dyn PinOwner> = Rc::<Self>::clone(self);
        let bytes = NonNull::from(arena.record(location).value());
        // SAFETY: value bytes of a published record are not written before its segment is reset, which the count
        // prevents; `self` keeps the mapping.
        unsafe { Pinned::new(bytes, owner, segment as u64) }
    }
}

impl PinOwner for Pins {
    unsafe fn release(&self, token: u64) {
        let segment = usize::try_from(token).ok();
        if let Some(count) = segment.and_then(|segment| self.mapping.pins.get(segment)) {
            (self.subtract)(count, 1);
            (self.subtract)(&self.mapping.pinned, 1);
        }
    }
}
