//! CLOCK and SIEVE: first in, first out, where what was read since it came or was last spared is spared once more.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, NONE, Queue};
use crate::trace::request::Request;

#[derive(Debug)]
pub(crate) struct Spared {
    resident: Resident,
    links: Links,
    queue: Queue,
    visited: Vec<bool>,
    hand: Hand,
}

/// Where the next object to be judged stands, and where one that is spared goes.
#[derive(Clone, Copy, Debug)]
enum Hand {
    /// At the oldest, which becomes the newest.
    Stays,
    /// At this object, which stays where it is; at the oldest where there is none.
    Walks(u32),
}

impl Spared {
    /// CLOCK: a second chance at the end of the queue.
    pub(crate) fn clock(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queue: Queue::new(),
            visited: vec![false; objects as usize],
            hand: Hand::Stays,
        }
    }

    /// SIEVE (Zhang et al., NSDI 2024): the hand walks on through the queue and what it spares stays where it is, so
    /// that new objects are judged soon.
    pub(crate) fn sieve(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self { hand: Hand::Walks(NONE), ..Self::clock(objects, limit_bytes, overhead) }
    }

    fn evict(&mut self) {
        loop {
            let object = match self.hand {
                Hand::Stays | Hand::Walks(NONE) => self.queue.oldest(),
                Hand::Walks(object) => object,
            };
            if !std::mem::take(&mut self.visited[object as usize]) {
                if let Hand::Walks(at) = &mut self.hand {
                    *at = object;
                }
                return self.remove(object);
            }
            match &mut self.hand {
                Hand::Stays => self.links.renew(&mut self.queue, object),
                Hand::Walks(at) => *at = self.links.newer(object),
            }
        }
    }
}

impl Policy for Spared {
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
        if !self.resident.holds(object) {
            return;
        }
        match &mut self.hand {
            Hand::Walks(at) if *at == object => *at = self.links.newer(object),
            _ => {}
        }
        let charge = self.resident.remove(object);
        self.links.remove(&mut self.queue, object, charge);
    }
}
