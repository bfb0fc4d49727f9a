//! S3-FIFO (Yang et al., SOSP 2023): a small queue that new items must survive by being read, a main queue, and a
//! ghost queue that lets what was dropped too early into the main queue at once.

use super::ghost::Ghosts;
use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, Queue};
use crate::trace::number::{permille, to_u32, to_usize};
use crate::trace::request::Request;

/// The small queue's share of the memory, in thousandths.
const SMALL_PERMILLE: u64 = 100;
/// Reads counted at most.
const FREQUENCY_MAX: u8 = 3;
/// Reads that take an item from the small queue to the main one.
const PROMOTE_AT: u8 = 2;

#[derive(Debug)]
pub(crate) struct S3Fifo {
    resident: Resident,
    links: Links,
    small: Queue,
    main: Queue,
    main_count: u32,
    in_main: Vec<bool>,
    frequency: Vec<u8>,
    ghosts: Ghosts,
}

impl S3Fifo {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            small: Queue::new(),
            main: Queue::new(),
            main_count: 0,
            in_main: vec![false; objects as usize],
            frequency: vec![0; objects as usize],
            ghosts: Ghosts::new(objects),
        }
    }

    /// How many items the main queue would hold when full of ones like those there now.
    fn main_capacity(&self) -> u32 {
        let main_bytes = self.resident.limit_bytes() - permille(self.resident.limit_bytes(), SMALL_PERMILLE);
        let mean = self.main.bytes.checked_div(u64::from(self.main_count)).unwrap_or(1).max(1);
        to_u32(to_usize(main_bytes / mean))
    }

    fn evict(&mut self) {
        let small_bytes = permille(self.resident.limit_bytes(), SMALL_PERMILLE);
        if self.small.bytes > small_bytes || self.main.bytes == 0 {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    /// Promotes the oldest of the small queue or drops it.
    fn evict_small(&mut self) {
        let object = self.small.oldest();
        if self.frequency[object as usize] < PROMOTE_AT {
            self.remove(object);
            return self.ghosts.remember(object);
        }
        let charge = self.resident.charge(object);
        self.links.remove(&mut self.small, object, charge);
        self.enter_main(object, charge);
    }

    /// Drops the first of the main queue that was not read since its last chance.
    fn evict_main(&mut self) {
        loop {
            let object = self.main.oldest();
            let frequency = &mut self.frequency[object as usize];
            if *frequency == 0 {
                return self.remove(object);
            }
            *frequency -= 1;
            self.links.renew(&mut self.main, object);
        }
    }

    /// A new value for an item that is there: it keeps its place.
    fn overwrite(&mut self, request: &Request) {
        let (old, new) = self.resident.update(request);
        let queue = if self.in_main[request.object as usize] { &mut self.main } else { &mut self.small };
        queue.bytes = queue.bytes - old + new;
        while self.resident.lacks(0) {
            self.evict();
        }
    }

    fn enter_main(&mut self, object: u32, charge: u64) {
        self.in_main[object as usize] = true;
        self.frequency[object as usize] = 0;
        self.main_count += 1;
        self.links.push(&mut self.main, object, charge);
    }
}

impl Policy for S3Fifo {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        let hit = self.resident.holds(object);
        if hit {
            let frequency = &mut self.frequency[object as usize];
            *frequency = (*frequency + 1).min(FREQUENCY_MAX);
        }
        hit
    }

    fn put(&mut self, at: u32, request: &Request) {
        let Some(charge) = self.resident.fits(request) else { return self.remove(request.object) };
        if self.get(at, request.object) {
            return self.overwrite(request);
        }
        while self.resident.lacks(charge) {
            self.evict();
        }
        self.resident.insert(request);
        if self.ghosts.recall(request.object, self.main_capacity()) {
            self.enter_main(request.object, charge);
        } else {
            self.in_main[request.object as usize] = false;
            self.frequency[request.object as usize] = 0;
            self.links.push(&mut self.small, request.object, charge);
        }
    }

    fn remove(&mut self, object: u32) {
        if !self.resident.holds(object) {
            return;
        }
        let charge = self.resident.remove(object);
        if self.in_main[object as usize] {
            self.main_count -= 1;
            self.links.remove(&mut self.main, object, charge);
        } else {
            self.links.remove(&mut self.small, object, charge);
        }
    }
}
