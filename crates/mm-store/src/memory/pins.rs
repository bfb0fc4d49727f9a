//! Values that are being sent: their segments stay as they are until the last byte is out.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mm_base::buffer::{PinOwner, Pinned};

use super::arena::{Arena, Location, Mapping};

/// The pins of one shard, which keep the mapping alive.
#[derive(Debug)]
pub(crate) struct Pins {
    mapping: Arc<Mapping>,
    count: Cell<usize>,
}

impl Pins {
    pub(crate) fn new(arena: &Arena) -> Self {
        Self { mapping: Arc::clone(arena.mapping()), count: Cell::new(0) }
    }

    /// How many ranges are pinned.
    pub(crate) fn len(&self) -> usize {
        self.count.get()
    }

    /// Pins the value bytes of the published record at `location`; its segment is not reset before the release.
    pub(crate) fn pin(self: &Rc<Self>, arena: &Arena, location: Location) -> Pinned {
        debug_assert!(Arc::ptr_eq(&self.mapping, arena.mapping()), "pins belong to one arena");
        let segment = arena.segment_of(location).index();
        let count = &self.mapping.pins[segment];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.count.set(self.count.get() + 1);
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
            count.store(count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            self.count.set(self.count.get() - 1);
        }
    }
}
