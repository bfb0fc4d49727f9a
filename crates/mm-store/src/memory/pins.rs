//! Values that are being sent: their segments stay as they are until the last byte is out.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mm_base::buffer::{PinId, PinSource};

use super::arena::{Arena, Location, Mapping};

/// The table's entry of a pin. A number that is no entry's is nobody's pin.
fn entry_of(pin: PinId) -> usize {
    usize::try_from(pin.0).unwrap_or(usize::MAX)
}

/// One pinned value range.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Pinned {
        offset: usize,
        len: usize,
        segment: usize,
    },
    /// An unused entry and the next one of the free list.
    Free {
        next: Option<usize>,
    },
}

#[derive(Debug, Default)]
struct Entries {
    entries: Vec<Entry>,
    first_free: Option<usize>,
    pinned: usize,
}

/// The pins of one shard. An output holds it beside the pinned ranges, so that they outlive the call which made them.
#[derive(Debug)]
pub struct Pins {
    mapping: Arc<Mapping>,
    entries: RefCell<Entries>,
}

impl Pins {
    pub(crate) fn new(arena: &Arena) -> Self {
        Self { mapping: Arc::clone(arena.mapping()), entries: RefCell::default() }
    }

    /// How many ranges are pinned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().pinned
    }

    /// Whether nothing is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pins the value bytes of the published record at `location`; its segment is not reset before the unpin.
    pub(crate) fn pin(&self, arena: &Arena, location: Location) -> PinId {
        debug_assert!(Arc::ptr_eq(&self.mapping, arena.mapping()), "pins belong to one arena");
        let segment = arena.segment_of(location).index();
        let count = &self.mapping.pins[segment];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let (offset, len) = arena.record(location).value_range();
        let entry = Entry::Pinned { offset, len, segment };
        let mut table = self.entries.borrow_mut();
        table.pinned += 1;
        let Some(free) = table.first_free else {
            table.entries.push(entry);
            return PinId(table.entries.len() as u64 - 1);
        };
        if let Entry::Free { next } = std::mem::replace(&mut table.entries[free], entry) {
            table.first_free = next;
        }
        PinId(free as u64)
    }
}

impl PinSource for Pins {
    fn bytes(&self, pin: PinId) -> &[u8] {
        match self.entries.borrow().entries.get(entry_of(pin)) {
            // SAFETY: the value bytes of a published record are never written again while its segment is not reset,
            // and the pin's count keeps it from that. A pin that was given back is no longer in the table.
            Some(&Entry::Pinned { offset, len, .. }) => unsafe { self.mapping.region.bytes(offset, len) },
            _ => &[],
        }
    }

    fn unpin(&self, pin: PinId) {
        let mut table = self.entries.borrow_mut();
        let free = Entry::Free { next: table.first_free };
        let Some(entry @ Entry::Pinned { .. }) = table.entries.get_mut(entry_of(pin)) else { return };
        if let Entry::Pinned { segment, .. } = std::mem::replace(entry, free) {
            let count = &self.mapping.pins[segment];
            count.store(count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            table.first_free = Some(entry_of(pin));
            table.pinned -= 1;
        }
    }
}
