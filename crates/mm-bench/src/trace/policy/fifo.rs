//! First in, first out: the oldest write goes first, reads change nothing.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, Queue};
use crate::trace::request::Request;

#[derive(Debug)]
pub(crate) struct Fifo {
    resident: Resident,
    links: Links,
    queue: Queue,
}

impl Fifo {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queue: Queue::new(),
        }
    }
}

impl Policy for Fifo {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        self.resident.holds(object)
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
