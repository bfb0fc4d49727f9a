//! CLOCK: first in, first out with a second chance for what was read since it came or was last spared.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, Queue};
use crate::trace::request::Request;

#[derive(Debug)]
pub(crate) struct Clock {
    resident: Resident,
    links: Links,
    queue: Queue,
    visited: Vec<bool>,
}

impl Clock {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queue: Queue::new(),
            visited: vec![false; objects as usize],
        }
    }

    fn evict(&mut self) {
        loop {
            let oldest = self.queue.oldest();
            if !std::mem::take(&mut self.visited[oldest as usize]) {
                return self.remove(oldest);
            }
            self.links.renew(&mut self.queue, oldest);
        }
    }
}

impl Policy for Clock {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        let hit = self.resident.holds(object);
        if hit {
            self.visited[object as usize] = true;
        }
        hit
    }

    fn put(&mut self, at: u32, request: &Request) {
        let Some(charge) = self.resident.fits(request) else { return self.remove(request.object) };
        if self.get(at, request.object) {
            let (old, new) = self.resident.update(request);
            self.queue.bytes = self.queue.bytes - old + new;
            while self.resident.lacks(0) {
                self.evict();
            }
            return;
        }
        while self.resident.lacks(charge) {
            self.evict();
        }
        self.resident.insert(request);
        self.visited[request.object as usize] = false;
        self.links.push(&mut self.queue, request.object, charge);
    }

    fn remove(&mut self, object: u32) {
        if self.resident.holds(object) {
            let charge = self.resident.remove(object);
            self.links.remove(&mut self.queue, object, charge);
        }
    }
}
