//! SIEVE (Zhang et al., NSDI 2024): like CLOCK, but the hand walks on through the queue and what it spares stays
//! where it is, so that new items are judged soon.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, NONE, Queue};
use crate::trace::request::Request;

#[derive(Debug)]
pub(crate) struct Sieve {
    resident: Resident,
    links: Links,
    queue: Queue,
    visited: Vec<bool>,
    hand: u32,
}

impl Sieve {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queue: Queue::new(),
            visited: vec![false; objects as usize],
            hand: NONE,
        }
    }

    fn evict(&mut self) {
        loop {
            if self.hand == NONE {
                self.hand = self.queue.oldest();
            }
            let object = self.hand;
            if !std::mem::take(&mut self.visited[object as usize]) {
                return self.remove(object);
            }
            self.hand = self.links.newer(object);
        }
    }
}

impl Policy for Sieve {
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
            if self.hand == object {
                self.hand = self.links.newer(object);
            }
            let charge = self.resident.remove(object);
            self.links.remove(&mut self.queue, object, charge);
        }
    }
}
