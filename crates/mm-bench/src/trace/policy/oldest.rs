//! FIFO and LRU: the object that came, or was used, longest ago goes first.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, Queue};
use crate::trace::request::Request;

#[derive(Debug)]
pub(crate) struct Oldest {
    resident: Resident,
    links: Links,
    queue: Queue,
    /// A hit makes the object the newest.
    renews: bool,
}

impl Oldest {
    /// First in, first out: the oldest write goes first, reads change nothing.
    pub(crate) fn fifo(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queue: Queue::new(),
            renews: false,
        }
    }

    /// Least recently used: a hit renews, the object not used longest goes first.
    pub(crate) fn lru(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self { renews: true, ..Self::fifo(objects, limit_bytes, overhead) }
    }
}

impl Policy for Oldest {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        let hit = self.resident.holds(object);
        if hit && self.renews {
            self.links.renew(&mut self.queue, object);
        }
        hit
    }

    fn put(&mut self, _at: u32, request: &Request) {
        self.remove(request.object);
        let Some(charge) = self.resident.fits(request) else { return };
        while self.resident.lacks(charge) {
            self.remove(self.queue.oldest());
        }
        self.resident.insert(request);
        self.links.push(&mut self.queue, request.object, charge);
    }

    fn remove(&mut self, object: u32) {
        if self.resident.holds(object) {
            let charge = self.resident.remove(object);
            self.links.remove(&mut self.queue, object, charge);
        }
    }
}
